// Scores by rows. The kernel declares the parameters `cols` and `scores_row`, the first row of the scores in their
// panel.

//!include scores

fn scores_start(row: u32) -> u32 {
    return (p.scores_row + row) * p.cols;
}
