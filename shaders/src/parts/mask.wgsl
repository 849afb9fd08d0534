// Masks: a bit for every column, 32 to a word, and whole words for every row. The kernel declares the parameters
// `cols` and `mask_row`, the first row of the mask in its panel.

fn words() -> u32 {
    return (p.cols + 31u) / 32u;
}

fn mask_start(row: u32) -> u32 {
    return (p.mask_row + row) * words();
}

// The columns of a word.
fn columns_of(word: u32) -> u32 {
    return min(32u, p.cols - word * 32u);
}
