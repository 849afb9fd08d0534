//! Published methods of every scope (`tests/plugins/published`) against PyTorch (`tests/scripts/make_published.py`).

use espalier_tests::{agreement, host, path, run, said};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn recorded() -> Value {
    serde_json::from_slice(&std::fs::read(path("fixtures/pruning/published.json")).unwrap()).unwrap()
}

/// Prunes the tiny model in these stages; gives back the folder and its manifest.
fn prune(folder: &Path, method: &str, flags: &[&str]) -> (PathBuf, Value) {
    let out = folder.join(method.replace(',', "-"));
    let mut command = host();
    command.args(["--plugin", "libpublished.so", "--plugin", "wanda", "--method", method]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(path("fixtures/pruning/windows.jsonl"));
    command.args(["--samples", "32", "--seqlen", "128", "--overwrite", "--out"]).arg(&out).args(flags);
    run(&mut command);
    let manifest = std::fs::read(out.join("espalier.json")).unwrap();
    (out, serde_json::from_slice(&manifest).unwrap())
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found}, recorded {expected}");
}

#[test]
fn ria_scores_layers() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        let (out, _) = prune(folder.path(), "ria", &["--sparsity", "0.5", "--device", device]);
        let agreement = agreement(&out, "ria-0.5");
        assert!(agreement >= 0.999, "{device}: {agreement}");
    }
}

#[test]
fn oats_splits_layers_into_two_parts() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--sparsity", "0.5", "--option", "iterations=10", "--device"];
    for device in ["cpu", "gpu"] {
        let (out, manifest) = prune(folder.path(), "oats", &[&flags[..], &[device]].concat());
        let agreement = agreement(&out, "oats-0.5");
        assert!(agreement >= 0.995, "{device}: {agreement}");
        let layers = manifest["layers"].as_array().unwrap();
        for (layer, expected) in layers.iter().zip(numbers(&recorded()["oats"])) {
            // Ten steps of choosing by rank magnify what the last bits of two devices differ in.
            assert_near(layer["error"].as_f64().unwrap(), expected, 5e-3, layer["name"].as_str().unwrap());
            // The weights that are kept, and the numbers of the low-rank part.
            let (rows, cols) = (layer["shape"][0].as_u64().unwrap(), layer["shape"][1].as_u64().unwrap());
            let kept = rows * cols - layer["zeros"].as_u64().unwrap();
            let all = kept + layer["rank"].as_u64().unwrap() * (rows + cols);
            assert!(2 * all <= rows * cols, "{layer}");
        }
        run(host().args(["verify", "--device", device]).arg(&out));
        // PEFT's layout: rank × inputs, and outputs × rank.
        let adapter = std::fs::read(out.join("adapter/adapter_model.safetensors")).unwrap();
        let adapter = SafeTensors::deserialize(&adapter).unwrap();
        let shape = |factor: &str| {
            let name = format!("base_model.model.model.layers.3.mlp.down_proj.lora_{factor}.weight");
            adapter.tensor(&name).unwrap().shape().to_vec()
        };
        assert_eq!((adapter.len(), shape("A"), shape("B")), (56, vec![8, 256], vec![96, 8]));
        let seen = run(host().arg("inspect").arg(&out));
        assert!(
            said(&seen).contains("low-rank parts of up to rank 8 are added to 28 of them"),
            "{}",
            said(&seen)
        );
    }
}

#[test]
fn gblm_sees_the_models_gradients() {
    let folder = tempfile::tempdir().unwrap();
    for (device, flags) in [("cpu", ""), ("cpu", "--no-propagate"), ("gpu", "")] {
        let mut all = vec!["--sparsity", "0.5", "--device", device];
        all.extend(Some(flags).filter(|flags| !flags.is_empty()));
        let (out, _) = prune(folder.path(), "gblm", &all);
        let agreement = agreement(&out, "gblm-0.5");
        let least = if flags.is_empty() { 0.999 } else { 0.9 };
        assert!(agreement >= least, "{device} {flags}: {agreement}");
    }
}

#[test]
fn shortened_removes_a_block_by_its_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let (out, manifest) = prune(folder.path(), "shortened", &["--device", "cpu"]);
    let importance = numbers(&recorded()["shortened"]);
    for (block, &expected) in importance.iter().enumerate() {
        let found = &manifest["decided"]["numbers"][format!("shortened.importance of block {block}")];
        assert_near(found.as_f64().unwrap(), expected, 1e-4, &format!("block {block}"));
    }
    let least = (0..importance.len()).min_by(|&a, &b| importance[a].total_cmp(&importance[b])).unwrap();
    assert_eq!(manifest["decided"]["removed"], serde_json::json!([least]));
    run(host().args(["verify", "--device", "cpu"]).arg(&out));
}

#[test]
fn dsnot_refines_the_mask_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (out, manifest) = prune(folder.path(), "wanda,dsnot", &["--sparsity", "0.6", "--device", "cpu"]);
    let agreement = agreement(&out, "dsnot-0.6");
    assert!(agreement >= 0.998, "{agreement}");
    assert_eq!(manifest["method"]["name"], "wanda,dsnot");
    assert_eq!(manifest["stages"].as_array().unwrap().len(), 2);
    run(host().args(["verify", "--device", "cpu"]).arg(&out));

    let mut alone = host();
    alone.args(["--plugin", "libpublished.so", "--method", "dsnot", "--device", "cpu", "--model"]);
    alone.arg(path("models/tiny-instruct"));
    alone.arg("--calibration").arg(path("fixtures/pruning/windows.jsonl"));
    let output = alone.arg("--out").arg(folder.path().join("alone")).output().unwrap();
    assert!(!output.status.success());
    assert!(said(&output).contains("name a stage before, such as wanda,dsnot"), "{}", said(&output));
}

#[test]
fn owl_sets_each_blocks_target() {
    let folder = tempfile::tempdir().unwrap();
    let (_, manifest) = prune(folder.path(), "owl,wanda", &["--sparsity", "0.5", "--device", "cpu"]);
    for (block, expected) in numbers(&recorded()["owl"]).into_iter().enumerate() {
        let found = &manifest["decided"]["numbers"][format!("owl.sparsity of block {block}")];
        assert_near(found.as_f64().unwrap(), expected, 0.01, &format!("block {block}"));
        let prefix = format!("model.layers.{block}.");
        let layers = manifest["layers"].as_array().unwrap().iter();
        for layer in layers.filter(|layer| layer["name"].as_str().unwrap().starts_with(&prefix)) {
            let reached = layer["sparsity"].as_f64().unwrap();
            // A row of 96 columns loses a whole number of weights.
            assert!((reached - expected).abs() < 0.02, "{layer}");
        }
    }
    let reached = manifest["reached"].as_f64().unwrap();
    assert!((reached - 0.5).abs() < 0.01, "{reached}");
}

#[test]
fn block_matching_learns_as_adam_does() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--sparsity", "0.5", "--device", "cpu"];
    let (out, manifest) = prune(folder.path(), "wanda,block_matching", &flags);
    let layers = manifest["layers"].as_array().unwrap();
    for (block, losses) in recorded()["matching"].as_array().unwrap().iter().enumerate() {
        for (step, expected) in numbers(losses).into_iter().enumerate() {
            let name = format!("block {block} loss {step}");
            let found = layers.iter().find_map(|layer| layer["numbers"][&name].as_f64()).unwrap();
            assert_near(found, expected, 0.01, &name);
        }
    }
    // The mask is Wanda's, and holds.
    let reached = manifest["reached"].as_f64().unwrap();
    assert!((reached - 0.5).abs() < 0.001, "{reached}");
    run(host().args(["verify", "--device", "cpu"]).arg(&out));
}

#[test]
fn shortgpt_removes_a_block() {
    let folder = tempfile::tempdir().unwrap();
    let (out, manifest) = prune(folder.path(), "shortgpt", &["--device", "cpu"]);
    let influence = numbers(&recorded()["shortgpt"]);
    for (block, &expected) in influence.iter().enumerate() {
        let found = &manifest["decided"]["numbers"][format!("shortgpt.influence of block {block}")];
        assert_near(found.as_f64().unwrap(), expected, 1e-4, &format!("block {block}"));
    }
    let least = (0..influence.len()).min_by(|&a, &b| influence[a].total_cmp(&influence[b])).unwrap();
    assert_eq!(manifest["decided"]["removed"], serde_json::json!([least]));
    let config: Value = serde_json::from_slice(&std::fs::read(out.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["num_hidden_layers"], 3);
    run(host().args(["verify", "--device", "cpu"]).arg(&out));
    // What is left can be pruned further, behind the block that is gone.
    let flags = ["--device", "cpu", "--sparsity", "0.5"];
    let (both, manifest) = prune(folder.path(), "shortgpt,wanda", &flags);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 21);
    run(host().args(["verify", "--device", "cpu"]).arg(&both));
}

#[test]
fn wanda_sp_leaves_neurons_and_heads_out() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--device", "cpu", "--option", "share=0.5"];
    let (out, manifest) = prune(folder.path(), "wanda_sp", &flags);
    for (block, expected) in recorded()["wanda_sp"].as_array().unwrap().iter().enumerate() {
        assert_eq!(&manifest["decided"]["narrow"][block.to_string()], expected, "block {block}");
    }
    let said =
        "128 of 256 neurons of each block, 1 of 2 key and value heads of each block, with their query heads";
    assert_eq!(manifest["left_out"], said);
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains(&format!("{said} are left out")), "{card}");
    let config = |folder: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
    };
    let (whole, narrow) = (config(&path("models/tiny-instruct")), config(&out));
    for key in ["intermediate_size", "num_attention_heads", "num_key_value_heads"] {
        assert_eq!(2 * narrow[key].as_u64().unwrap(), whole[key].as_u64().unwrap(), "{key}");
    }
    run(host().args(["verify", "--device", "cpu"]).arg(&out));

    // What stays is pruned further, and a run that is killed goes on with it.
    let flags = [&flags[..], &["--sparsity", "0.5", "--option", "wanda_sp.share=0.5"][2..]].concat();
    let (both, manifest) = prune(folder.path(), "wanda_sp,wanda", &flags);
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 28);
    assert!((manifest["reached"].as_f64().unwrap() - 0.5).abs() < 0.01, "{}", manifest["reached"]);
    run(host().args(["verify", "--device", "cpu"]).arg(&both));
}

#[test]
fn channels_are_permuted_with_their_producers() {
    let folder = tempfile::tempdir().unwrap();
    let perplexity = |model: &Path| {
        let mut eval = host();
        eval.args(["eval", "--json", "--device", "cpu", "--seqlen", "128", "--model"]).arg(model);
        let text = path("models/data/text_evaluation.txt");
        let found = run(eval.arg("--perplexity").arg(text)).stdout;
        let found: Value = serde_json::from_slice(&found).unwrap();
        found["perplexity"].as_f64().unwrap_or_else(|| panic!("{found}"))
    };
    // Blocks whose neurons are only in another order compute what they did.
    let flags = ["--sparsity", "0.001", "--option", "groups=4", "--device", "cpu"];
    let (moved, _) = prune(folder.path(), "ria_permuted", &flags);
    let whole = path("models/tiny-instruct");
    assert_near(perplexity(&moved), perplexity(&whole), 1e-5, "only permuted");
    let bytes = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    assert!(bytes(&moved) != bytes(&whole), "nothing moved");
    let flags = ["--sparsity", "2:4", "--device", "cpu"];
    let (plain, _) = prune(folder.path(), "ria", &flags);
    let (permuted, manifest) = prune(folder.path(), "ria_permuted", &flags);
    assert!((manifest["reached"].as_f64().unwrap() - 0.5).abs() < 1e-6, "{}", manifest["reached"]);
    run(host().args(["verify", "--device", "cpu"]).arg(&permuted));
    let (plain, permuted) = (perplexity(&plain), perplexity(&permuted));
    assert!(permuted < plain, "{permuted} {plain}");
}

#[test]
fn stages_that_do_not_fit_together_say_so() {
    // A model stage behind one that prunes, and a pattern for one that has none.
    let folder = tempfile::tempdir().unwrap();
    for (method, sparsity, words) in [
        ("wanda,owl", "0.5", "`owl` decides for the whole model, before layers are pruned"),
        ("owl,wanda", "2:4", "the method owl cannot prune to the pattern 2:4"),
    ] {
        let mut command = host();
        command.args(["--plugin", "libpublished.so", "--plugin", "wanda", "--method", method]);
        command.args(["--sparsity", sparsity, "--device", "cpu"]);
        command.arg("--model").arg(path("models/tiny-instruct"));
        command.arg("--calibration").arg(path("fixtures/pruning/windows.jsonl"));
        let output = command.arg("--out").arg(folder.path().join("out")).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

#[test]
fn evopress_tries_targets() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--sparsity", "0.5", "--device", "cpu", "--option", "generations=6"];
    let (_, manifest) = prune(folder.path(), "evopress,wanda", &flags);
    let number = |name: &str| manifest["decided"]["numbers"][format!("evopress.{name}")].as_f64().unwrap();
    assert_near(number("loss at first"), recorded()["trial"].as_f64().unwrap(), 1e-3, "the first trial");
    assert!(number("loss") <= number("loss at first"));
    let reached = manifest["reached"].as_f64().unwrap();
    assert!((reached - 0.5).abs() < 0.01, "{reached}");
}

#[test]
fn rows_lose_what_a_stage_before_has_set() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        let flags = ["--plugin", "libhostile.so", "--sparsity", "0.3", "--device", device];
        let (out, manifest) = prune(folder.path(), "alternates,wanda", &flags);
        let bytes = std::fs::read(out.join("model.safetensors")).unwrap();
        let weights = SafeTensors::deserialize(&bytes).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let weight = weights.tensor(layer["name"].as_str().unwrap()).unwrap();
            let cols = weight.shape()[1];
            for (row, bytes) in weight.data().chunks_exact(cols * 4).enumerate() {
                let zeros = bytes.chunks_exact(4).filter(|bytes| **bytes == [0; 4]).count();
                assert_eq!(zeros, cols * if row % 2 == 0 { 1 } else { 3 } / 4, "{layer} row {row}");
            }
            assert_eq!(layer["sparsity"], 0.5);
            assert!(layer.get("notes").is_none(), "{layer}");
        }
    }
    // A method that does not look at them is told of.
    let flags = ["--plugin", "libhostile.so", "--plugin", "magnitude", "--device", "cpu"];
    let (_, manifest) = prune(folder.path(), "alternates,magnitude", &flags);
    let notes = manifest["layers"][0]["notes"].to_string();
    assert!(notes.contains("rows were not pruned to their own counts"), "{notes}");
}
