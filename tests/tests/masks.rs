//! Pruning the trained checkpoint in `tests/models`, against masks and perplexities that the PyTorch
//! reference recorded (`tests/scripts/make_masks.py`), on the CPU and on the GPU.

use espalier_tests::{agreement, host, path, said};
use serde_json::Value;
use std::path::Path;

/// Entries of a mask that must agree.
const AGREEMENT: f64 = 0.999;

/// Where SparseGPT's statistics are taken behind blocks that it pruned itself, a single near tie that falls the other
/// way changes whole rows, and with them the statistics of all blocks behind; without propagation, [`AGREEMENT`] holds.
const PROPAGATED_AGREEMENT: f64 = 0.99;

struct Case {
    plugin: &'static str,
    recorded: &'static str,
    sparsity: &'static str,
    flags: &'static [&'static str],
    /// The share of the mask that must agree.
    agreement: f64,
    /// Relative difference of perplexity that is let pass.
    perplexity: f64,
}

const fn case(plugin: &'static str, recorded: &'static str, sparsity: &'static str) -> Case {
    Case { plugin, recorded, sparsity, flags: &[], agreement: AGREEMENT, perplexity: 0.001 }
}

/// SparseGPT's updates amplify an entry that falls the other way, so its perplexity may differ more.
const fn sparsegpt(recorded: &'static str, sparsity: &'static str) -> Case {
    Case { perplexity: 0.005, agreement: PROPAGATED_AGREEMENT, ..case("sparsegpt", recorded, sparsity) }
}

const fn without_propagation(recorded: &'static str, sparsity: &'static str) -> Case {
    Case { flags: &["--no-propagate"], agreement: AGREEMENT, ..sparsegpt(recorded, sparsity) }
}

const CASES: [Case; 18] = [
    case("wanda", "wanda-0.5", "0.5"),
    case("wanda", "wanda-0.7", "0.7"),
    case("wanda", "wanda-2of4", "2:4"),
    case("wanda", "wanda-4of8", "4:8"),
    Case { flags: &["--option", "use_variant=true"], ..case("wanda", "wanda_variant-0.5", "0.5") },
    case("magnitude", "magnitude-0.5", "0.5"),
    case("magnitude", "magnitude-0.7", "0.7"),
    case("magnitude", "magnitude-2of4", "2:4"),
    case("magnitude", "magnitude-4of8", "4:8"),
    sparsegpt("sparsegpt-0.5", "0.5"),
    sparsegpt("sparsegpt-0.7", "0.7"),
    sparsegpt("sparsegpt-2of4", "2:4"),
    sparsegpt("sparsegpt-4of8", "4:8"),
    without_propagation("sparsegpt_no_propagation-0.5", "0.5"),
    without_propagation("sparsegpt_no_propagation-0.7", "0.7"),
    without_propagation("sparsegpt_no_propagation-2of4", "2:4"),
    without_propagation("sparsegpt_no_propagation-4of8", "4:8"),
    Case {
        flags: &["--option", "true_sequential=true"],
        ..sparsegpt("sparsegpt_true_sequential-0.5", "0.5")
    },
];

#[test]
fn masks_on_the_cpu_are_those_of_the_reference() {
    compare_all("cpu", &CASES.each_ref());
}

#[test]
fn masks_on_the_gpu_are_those_of_the_reference() {
    compare_all("gpu", &CASES.each_ref());
}

fn compare_all(device: &str, cases: &[&Case]) {
    let recorded: Value =
        serde_json::from_slice(&std::fs::read(path("fixtures/pruning/expected.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for case in cases {
        let out = folder.path().join(case.recorded);
        let mut command = host();
        command.args(["--plugin", case.plugin, "--sparsity", case.sparsity, "--device", device]);
        command.arg("--model").arg(path("models/tiny-instruct"));
        command.arg("--calibration").arg(path("fixtures/pruning/windows.jsonl"));
        command.arg("--out").arg(&out);
        command.args(case.flags);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}: {}", case.recorded, said(&output));

        let agreement = agreement(&out, case.recorded);
        // Magnitude has no statistics that could be rounded otherwise.
        assert!(case.plugin != "magnitude" || agreement == 1.0, "{}: {agreement}", case.recorded);
        assert!(agreement >= case.agreement, "{} on {device}: {agreement} of the mask agrees", case.recorded);
        let expected = recorded["cases"][case.recorded]["perplexity"].as_f64().unwrap();
        let found = perplexity(&out);
        let off = (found - expected).abs() / expected;
        assert!(
            off <= case.perplexity,
            "{} on {device}: perplexity {found}, recorded {expected}",
            case.recorded
        );
    }
}

/// Always on the CPU: what is under test is the pruned model.
fn perplexity(model: &Path) -> f64 {
    let mut command = host();
    command.args(["eval", "--json", "--seqlen", "128", "--device", "cpu"]);
    command.arg("--model").arg(model).arg("--perplexity").arg(path("models/data/text_evaluation.txt"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["perplexity"].as_f64().unwrap()
}
