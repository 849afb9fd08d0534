//! Memory budgets: what lives where changes nothing about the result.

use espalier_host::{
    device::{Device, Op},
    model::{HiddenStates, Llama, ModelError, Placement},
};
use espalier_tests::{cpu, gpu, host, path, said};
use std::{path::Path, process::Command, sync::Arc};

/// The hidden states behind the first block, batch by batch.
fn states(device: Arc<dyn Device>, placement: &Placement) -> Vec<Vec<u8>> {
    let model = Llama::open(&path("models/tiny-instruct"), device).unwrap();
    let windows: Vec<Vec<u32>> =
        (0..5u32).map(|w| (0..40 + w).map(|i| (7 * i + w) % 1000).collect()).collect();
    let windows: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
    let mut hidden = HiddenStates::embed(&model, &windows, 100, placement).unwrap();
    assert_eq!(hidden.tokens(), 210);
    let block = model.load_block(0).unwrap();
    // Work on copies leaves no trace.
    let copies = hidden.visit_copies(&model, |_, states| {
        let zeros = model.device.zeros(states.dtype(), states.rows(), states.cols())?;
        model.device.execute(Op::CopyRows { x: &zeros, start: 0 }, states)?;
        Ok::<_, ModelError>(())
    });
    copies.unwrap();
    hidden.advance(&model, &block, |_| ()).unwrap();
    let mut seen = Vec::new();
    let visited = hidden.visit(&model, |_, states| {
        seen.push(model.device.read(states)?);
        Ok::<_, ModelError>(())
    });
    visited.unwrap();
    assert!(seen.len() > 2);
    seen
}

#[test]
fn hidden_states_are_the_same_wherever_they_wait() {
    let folder = tempfile::tempdir().unwrap();
    for device in [cpu(), gpu()] {
        let on_device = states(Arc::clone(&device), &Placement::Device);
        for placement in [Placement::Host, Placement::File(folder.path().to_owned())] {
            assert!(on_device == states(Arc::clone(&device), &placement), "{placement:?}");
        }
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "the temporary file has no name");
}

#[test]
fn a_block_that_cannot_be_loaded_is_named_in_its_turn() {
    let mut model = Llama::open(&path("models/tiny-instruct"), cpu()).unwrap();
    let blocks = model.config.num_hidden_layers;
    model.config.num_hidden_layers += 1;
    for ahead in [false, true] {
        let mut seen = Vec::new();
        let walked = model.each_block(0..blocks + 1, ahead, |index, _| {
            seen.push(index);
            Ok::<_, ModelError>(())
        });
        let error = walked.unwrap_err().to_string();
        assert!(error.contains(&format!("model.layers.{blocks}.")), "{error}");
        assert!(seen.into_iter().eq(0..blocks), "{ahead}");
    }
}

fn prune(out: &Path, flags: &[&str]) -> Command {
    let mut command = host();
    command.args(["--plugin", "sparsegpt", "--samples", "8", "--seqlen", "64", "--json"]).args(flags);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(path("models/data/c4.jsonl")).arg("--out").arg(out);
    command
}

#[test]
fn a_small_budget_prunes_as_a_large_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, flags: &[&str]| {
        let out = folder.path().join(name);
        let output = prune(&out, flags).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (std::fs::read(out.join("model.safetensors")).unwrap(), manifest["memory"].clone())
    };
    for (device, elsewhere) in [("cpu", "file"), ("gpu", "host")] {
        let (free, plan) = run(&format!("{device}-free"), &["--device", device]);
        assert_eq!(
            (&plan["plan"]["hidden_states"], &plan["plan"]["loads_ahead"]),
            (&"device".into(), &true.into())
        );
        // First the next block is loaded later, then the hidden states wait elsewhere.
        let mut peak = plan["plan"]["device_peak"].as_u64().unwrap();
        for (waiting, ahead) in [("device", Some(false)), (elsewhere, None)] {
            let budget = (peak - 1).to_string();
            let flags = ["--device", device, "--device-memory", &budget];
            let (small, plan) = run(&format!("{device}-{waiting}"), &flags);
            let plan = &plan["plan"];
            assert!(plan["hidden_states"].to_string().contains(waiting), "{plan}");
            assert!(ahead.is_none_or(|ahead| plan["loads_ahead"] == ahead), "{plan}");
            assert!(plan["device_peak"].as_u64().unwrap() < peak, "{plan}");
            assert!(free == small, "{device} {waiting}");
            peak = plan["device_peak"].as_u64().unwrap();
        }
    }
}

#[test]
fn a_budget_below_one_block_is_refused_with_what_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pruned");
    let output = prune(&out, &["--device", "cpu", "--device-memory", "100K"]).output().unwrap();
    let said = said(&output);
    assert!(!output.status.success() && said.contains("one block with one window takes"), "{said}");
    assert!(said.contains("100.0 KiB is the budget"), "{said}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}
