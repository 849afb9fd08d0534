//! The tables and sentences that `host prune` prints.

use super::super::table;
use espalier_base::profile::{Clock, Trace};
use espalier_model::{archive::is_archive_name, checkpoint::ADAPTER};
use espalier_prune::Manifest;
use std::path::Path;

/// Where the time went and by whose clock: kernels, transfers, files and waits, the longest first; then what went on in
/// the background.
pub(super) fn time_table(trace: &Trace) -> String {
    let rows = trace.totals().into_iter().map(|total| {
        let rate = |amount: f64, unit: &str| match amount {
            0.0 => "-".to_owned(),
            amount => format!("{:.1} {unit}", amount / total.seconds / 1e9),
        };
        let name = match total.track {
            Some(_) => format!("{} (in the background)", total.name),
            None => total.name.clone(),
        };
        vec![
            name,
            total.count.to_string(),
            format!("{:.2}", total.seconds),
            match total.track {
                Some(_) => "-".to_owned(),
                None => format!("{:.2}%", 100.0 * total.seconds / trace.seconds()),
            },
            match total.clock {
                Clock::Host => "host",
                Clock::Device => "device",
            }
            .to_owned(),
            rate(total.work.flops, "GFLOP/s"),
            rate(total.work.bytes, "GB/s"),
        ]
    });
    let header = ["where the time went", "calls", "seconds", "share", "clock", "", ""];
    table::render(&header, &rows.collect::<Vec<_>>())
}

/// The layers of a finished run as a table, and the run in a sentence.
pub(super) fn summary(manifest: &Manifest, out: &Path) -> String {
    let damped = manifest.layers.iter().any(|layer| layer.numbers.contains_key("damping"));
    let mut header = vec!["layer", "sparsity", "error", "seconds"];
    if damped {
        header.insert(3, "damping");
    }
    let rows: Vec<_> = manifest
        .layers
        .iter()
        .map(|layer| {
            let name = layer.name.trim_start_matches("model.").trim_end_matches(".weight").to_owned();
            let error = layer.error.map_or_else(|| "-".to_owned(), |error| format!("{error:.4e}"));
            let mut row =
                vec![name, format!("{:.4}", layer.sparsity), error, format!("{:.2}", layer.seconds)];
            if damped {
                row.insert(3, layer.numbers.get("damping").map_or_else(|| "-".to_owned(), f64::to_string));
            }
            row
        })
        .collect();
    let low_rank = match manifest.layers.iter().filter_map(|layer| layer.rank).max() {
        Some(rank) if is_archive_name(out) => {
            format!("; low-rank parts of up to rank {rank} are in it")
        }
        Some(rank) => {
            format!(
                "; low-rank parts of up to rank {rank} are in {}, a PEFT adapter",
                out.join(ADAPTER).display()
            )
        }
        None => String::new(),
    };
    let left_out =
        manifest.left_out.as_ref().map_or_else(String::new, |left_out| format!(", {left_out} left out"));
    format!(
        "{}\n\n{}: {} layers of {} pruned to sparsity {:.4}{left_out} in {:.1} s on {}\nwritten to {}{low_rank}",
        table::render(&header, &rows),
        manifest.method.name,
        manifest.layers.len(),
        manifest.model,
        manifest.reached,
        manifest.seconds,
        manifest.device.name,
        out.display()
    )
}
