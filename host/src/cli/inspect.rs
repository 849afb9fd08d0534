//! `host inspect`.

use super::{CliError, args, print, print_json, table};
use espalier_model::{Checkpoint, LlamaConfig, resolve};
use espalier_prune::{
    Size,
    inspect::{Inspection, inspect},
};

pub(super) fn run(command: &args::Inspect) -> Result<(), CliError> {
    let folder = resolve(&command.model)?;
    let config = LlamaConfig::read(&folder)?;
    let checkpoint = Checkpoint::open(&folder)?;
    let inspection = inspect(&checkpoint, &config)?;
    if command.json {
        return print_json(&inspection);
    }
    let mut text = render(&inspection);
    let (packed, bytes, dense) = checkpoint.packing();
    if packed > 0 {
        let (bytes, dense) = (Size(bytes as u64), Size(dense as u64));
        text += &format!("\n\n{packed} of them are packed: {bytes} instead of {dense}");
    }
    print(&text)
}

fn render(inspection: &Inspection) -> String {
    let row = |name: &str, shape: String, zeros: usize, sparsity: f64, patterns: &[String]| {
        vec![
            name.to_owned(),
            shape,
            zeros.to_string(),
            format!("{:.2}%", 100.0 * sparsity),
            patterns.join(" "),
        ]
    };
    let mut rows: Vec<_> = inspection
        .tensors
        .iter()
        .map(|tensor| {
            let shape = format!("{} × {}", tensor.shape[0], tensor.shape[1]);
            row(&tensor.name, shape, tensor.zeros, tensor.sparsity, &tensor.patterns)
        })
        .collect();
    let weights = inspection.weights.to_string();
    rows.push(row("all linear layers", weights, inspection.zeros, inspection.sparsity, &inspection.patterns));
    let mut text = table::render(&["tensor", "shape", "zeros", "sparsity", "patterns"], &rows);
    let ranks: Vec<usize> = inspection.tensors.iter().filter_map(|tensor| tensor.rank).collect();
    if let Some(rank) = ranks.iter().max() {
        text += &format!("\n\nlow-rank parts of up to rank {rank} are added to {} of them", ranks.len());
    }
    text
}
