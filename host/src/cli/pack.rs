//! `host pack` and `host unpack`.

use super::{CliError, args, print, print_json, progress};
use espalier_model::{
    Checkpoint,
    archive::{pack, unpack},
    checkpoint::Shard,
    resolve,
};
use espalier_prune::Size;

pub(super) fn run(command: &args::Pack, verbosity: args::Verbosity) -> Result<(), CliError> {
    let folder = resolve(&command.model)?;
    // Every tensor is read twice.
    let bar = progress::bar("packing", 2 * weights(&folder)?, verbosity.quiet);
    let packing = pack(&folder, &command.out, command.overwrite, |bytes| bar.inc(bytes as u64));
    bar.finish_and_clear();
    let packing = packing?;
    if command.json {
        return print_json(&packing);
    }
    let share = 100.0 * packing.packed_linear_bytes as f64 / packing.linear_bytes.max(1) as f64;
    print(&format!(
        "{}: {}, where the weights have {}; {} linear layers are packed, and all take {share:.1}% of their bytes",
        command.out.display(),
        Size(packing.bytes as u64),
        Size(packing.dense_bytes as u64),
        packing.tensors,
    ))
}

pub(super) fn undo(command: &args::Unpack, verbosity: args::Verbosity) -> Result<(), CliError> {
    let bytes = {
        let checkpoint = Checkpoint::open(&command.archive)?;
        checkpoint.names().map(|name| checkpoint.tensor_bytes(name)).sum()
    };
    let bar = progress::bar("unpacking", bytes, verbosity.quiet);
    let unpacked = unpack(&command.archive, &command.out, |bytes| bar.inc(bytes as u64));
    bar.finish_and_clear();
    unpacked?;
    print(&format!("written to {}", command.out.display()))
}

/// The bytes of a model's shards.
fn weights(folder: &std::path::Path) -> Result<usize, CliError> {
    Ok(Checkpoint::open(folder)?.shards().iter().map(Shard::file_bytes).sum())
}
