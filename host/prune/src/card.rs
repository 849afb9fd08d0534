//! The model card of a pruned model.

use super::{Manifest, Origin};
use espalier_base::text::markdown;
use std::{fmt::Write, path::Path};

/// A model card: what the model is, where it comes from, and the settings that made it.
pub fn model_card(manifest: &Manifest, origin: &Origin) -> String {
    // Cards are published: they name a local folder without the path to it.
    let folder = Path::new(&manifest.model);
    let name = if folder.is_dir() { folder.file_name() } else { None };
    let title = name.map_or_else(|| manifest.model.clone(), |name| name.to_string_lossy().into_owned());
    let left_out = manifest.left_out.as_ref().map_or_else(String::new, |left_out| {
        format!(" {left_out} are left out, and `config.json` has the sizes of what stays.")
    });
    let mut card = format!(
        "---\n{}tags:\n- pruning\n- {}\n---\n\n# {}, pruned\n\nPruned by [Espalier](espalier.json) {} with the method \
         **{}** to a sparsity of {:.4} over {} linear layers. Pruned weights are exactly 0; everything else is as it \
         was, down to files and types.{left_out}\n\n| setting | value |\n|---|---|\n",
        origin.lines(),
        tag(&manifest.method.name),
        markdown(&title),
        manifest.espalier,
        markdown(&manifest.method.name),
        manifest.reached,
        manifest.layers.len()
    );
    let mut row = |setting: &str, value: &str| {
        let _ = writeln!(card, "| {} | {} |", markdown(setting), markdown(value));
    };
    row("method", &format!("{} ({})", manifest.method.name, manifest.method.version));
    for (name, value) in manifest.method.options.values() {
        row(name, &value.to_string());
    }
    row("sparsity", &manifest.targets.sparsity.to_string());
    if let Some(calibration) = &manifest.calibration {
        for source in &calibration.sources {
            let file = source.path.file_name().unwrap_or_default().to_string_lossy();
            row("calibration", &format!("{file} (SHA-256 {})", source.sha256));
        }
        row("windows", &format!("{} of at most {} tokens", calibration.samples, calibration.seqlen));
        if let Some(selector) = &calibration.selector {
            row("selector", &format!("{}, seed {}", selector.name, calibration.seed));
        }
    }
    row("device", &format!("{} ({})", manifest.device.name, manifest.device.backend));
    if manifest.layers.iter().any(|layer| layer.rank.is_some()) {
        card.push_str(
            "\nThe weights are one of two parts. The other, of low rank, is the PEFT adapter in `adapter`, without which the \
             model is not what was measured: `PeftModel.from_pretrained(model, folder + \"/adapter\")`.\n",
        );
    }
    card.push_str("\n`espalier.json` holds every setting and what became of every layer.\n");
    card
}

/// A name as a tag of the hub: letters, digits and hyphens.
fn tag(name: &str) -> String {
    name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}
