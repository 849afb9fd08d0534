//! The command line as scripts use it: what comes out, and that nothing half-made is left behind.

use espalier_tests::{built, copy_model, host, path, run, said};
use safetensors::SafeTensors;
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn prune(out: &Path) -> Command {
    let mut command = host();
    command.args(["--plugin", "wanda", "--device", "cpu", "--samples", "8", "--seqlen", "64"]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(path("models/data/c4.jsonl"));
    command.arg("--out").arg(out);
    command
}

fn json(command: &mut Command) -> Value {
    let output = run(command);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)))
}

#[test]
fn a_pruned_model_is_the_same_model_with_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pruned");
    let manifest = json(prune(&out).arg("--json"));
    assert_eq!(manifest["method"]["name"], "wanda");
    assert_eq!(manifest["calibration"]["selector"]["name"], "random");
    assert!((manifest["reached"].as_f64().unwrap() - 0.5).abs() < 0.01, "{manifest}");

    let read = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    let (before, after) = (read(&path("models/tiny-instruct")), read(&out));
    let (before, after) =
        (SafeTensors::deserialize(&before).unwrap(), SafeTensors::deserialize(&after).unwrap());
    let sorted = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(sorted(before.names()), sorted(after.names()));
    for (name, tensor) in before.tensors() {
        let pruned = after.tensor(&name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (pruned.dtype(), pruned.shape()), "{name}");
        let words = |data: &[u8]| -> Vec<u32> { bytemuck::pod_collect_to_vec(data) };
        let mut zeros = 0;
        for (&old, &new) in words(tensor.data()).iter().zip(&words(pruned.data())) {
            // Kept to the bit, or +0.
            assert!(old == new || new == 0, "{name}: {old:#x} became {new:#x}");
            zeros += usize::from(new == 0);
        }
        let expected = if name.contains("_proj") { 0.45..0.55 } else { 0.0..0.01 };
        let share = zeros as f64 / (tensor.data().len() / 4) as f64;
        assert!(expected.contains(&share), "{name}: {share} zeros");
    }
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(read(&path("models/tiny-instruct")), read(&out), "{file}");
    }
    let written: Value = serde_json::from_slice(&std::fs::read(out.join("espalier.json")).unwrap()).unwrap();
    assert_eq!(written["layers"], manifest["layers"]);
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("wanda") && card.contains("# tiny-instruct, pruned"), "{card}");
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        let weights = |out: &str, seed: &str| {
            let out = folder.path().join(out);
            run(prune(&out).args(["--device", device, "--seed", seed]));
            std::fs::read(out.join("model.safetensors")).unwrap()
        };
        let first = weights(&format!("{device}-first"), "3");
        assert!(first == weights(&format!("{device}-second"), "3"), "{device}");
        assert!(first != weights(&format!("{device}-other"), "4"), "{device}: the seed has no effect");
    }
}

#[test]
fn an_existing_output_is_kept_unless_it_may_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pruned");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("precious.txt"), "keep me").unwrap();
    let refused = prune(&out).output().unwrap();
    assert!(!refused.status.success());
    assert!(said(&refused).contains("--overwrite"), "{}", said(&refused));
    // What this program did not write is never replaced.
    let refused = |words: &str| {
        let refused = prune(&out).arg("--overwrite").output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains(words), "{}", said(&refused));
        assert!(out.join("precious.txt").is_file());
        assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left behind");
    };
    refused("it has no espalier.json");
    std::fs::write(out.join("config.json"), "{}").unwrap();
    refused("it has no espalier.json");
    std::fs::remove_dir_all(&out).unwrap();
    run(&mut prune(&out));
    let finished = std::fs::read(out.join("model.safetensors")).unwrap();
    std::fs::write(out.join("precious.txt"), "keep me").unwrap();
    refused("precious.txt is not a file that this program wrote");
    std::fs::remove_file(out.join("precious.txt")).unwrap();
    run(prune(&out).args(["--overwrite", "--sparsity", "0.6"]));
    assert!(std::fs::read(out.join("model.safetensors")).unwrap() != finished);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1, "nothing else is left behind");
}

/// A limit on the size of files stands for a full disk: both make a write fail half-way.
#[cfg(unix)]
#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = prune(&folder.path().join("pruned"));
    let mut limited = Command::new("sh");
    // In blocks of 512 bytes: the checkpoint takes 1.9 MiB. Without the trap the process would be killed.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    refused(&mut limited, "model.safetensors cannot be written", folder.path());
    run(&mut command);
}

#[test]
fn perplexity_is_one_json_object() {
    let mut command = host();
    command.args(["eval", "--json", "--seqlen", "64", "--device", "cpu"]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--perplexity").arg(path("models/data/text_evaluation.txt"));
    let found = json(&mut command);
    assert!(
        found["perplexity"].as_f64().unwrap() > 1.0 && found["tokens"].as_u64().unwrap() > 1000,
        "{found}"
    );
}

#[test]
fn sparsity_and_patterns_are_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pruned");
    run(prune(&out).args(["--sparsity", "2:4"]));
    let report = json(host().args(["inspect", "--json"]).arg(&out));
    assert!((report["sparsity"].as_f64().unwrap() - 0.5).abs() < 0.01, "{report}");
    assert!(report["patterns"].as_array().unwrap().contains(&Value::from("2:4")), "{report}");
}

#[test]
fn a_library_is_described() {
    let info = json(host().args(["plugins", "libwanda.so", "--json"]));
    assert_eq!(info["interface"], "1.1");
    assert_eq!(info["methods"][0]["name"], "wanda");
    assert_eq!(info["methods"][0]["options"][0]["name"], "use_variant");
    assert_eq!(info["methods"][0]["options"][0]["default"], false);
    let listed = json(host().args(["plugins", "--json"]));
    let paths: Vec<_> =
        listed["plugins"].as_array().unwrap().iter().map(|p| p["path"].as_str().unwrap()).collect();
    for library in ["libwanda.so", "librandom.so"] {
        assert!(paths.iter().any(|path| path.ends_with(library)), "{library} in {paths:?}");
    }
}

#[test]
fn devices_are_listed_with_the_one_that_auto_takes() {
    let report = json(host().args(["devices", "--json"]));
    assert!(report["auto"].is_object(), "{report}");
    let adapters = report["adapters"].as_array().unwrap();
    assert!(adapters.iter().all(|a| a["limits"]["max_storage_buffer_binding_size"].is_u64()), "{report}");
}

#[test]
fn plugins_that_misbehave_are_refused_or_reported() {
    let library = |name: &str| built().join(format!("lib{name}.so")).into_os_string().into_string().unwrap();
    let not_a_library = path("Cargo.toml").into_os_string().into_string().unwrap();
    let cases = [
        (library("bare"), None, "no Espalier plugin"),
        (library("future"), None, "speaks plugin interface 2.0"),
        (library("headless"), None, "not an Espalier plugin that this host can load"),
        (not_a_library, None, "not a dynamic library"),
        ("no-such-plugin".to_owned(), None, "looked for libno-such-plugin.so in"),
        (library("hostile"), None, "choose one with --method"),
        (library("hostile"), Some("absent"), "absent"),
        (
            library("hostile"),
            Some("panics"),
            "panicked: out of ideas at model.layers.0.self_attn.q_proj.weight",
        ),
        (library("hostile"), Some("panics_at_birth"), "panicked: not today"),
        (library("hostile"), Some("fails"), "no reason at all"),
        (library("hostile"), Some("wrong_shape"), "f32 [1, 2] where f32"),
        (library("hostile"), Some("not_finite"), "row 0, column 0 is NaN"),
        (library("hostile"), Some("unasked"), "without asking for it"),
        (
            library("hostile"),
            Some("prunes_nothing"),
            "q_proj.weight: its sparsity is 0.0000, but the target is 0.5",
        ),
        (library("hostile"), Some("negative_scores"), "a score that it ranked is negative"),
        (library("hostile"), Some("nan_scores"), "a score that it ranked is NaN"),
        (library("hostile"), Some("infinite_scores"), "a score that it ranked is infinite"),
        (library("hostile"), Some("low_rank_misfits"), "a low-rank part f32 [96, 2] × f32 [3, 96] where"),
        (
            library("hostile"),
            Some("low_rank_nan"),
            "in its low-rank part, the entry at row 0, column 0 is NaN",
        ),
        (
            library("hostile"),
            Some("low_rank_full"),
            "(the 18432 numbers of its low-rank part count as kept), but the target",
        ),
        (library("hostile"), Some("keeps_unequal"), "block 0 keeps 4 neurons and block 1 keeps 2"),
        (library("hostile"), Some("surveys_in_gradients"), "a survey cannot begin while gradients are taken"),
        (library("hostile"), Some("gradients_in_survey"), "gradients cannot be taken during a survey"),
        (library("hostile"), Some("keeps_nobody"), "must be some of its 2 Heads, in ascending order"),
        (library("hostile"), Some("keeps_strangers"), "must be some of its 256 Neurons, in ascending order"),
        (
            library("hostile"),
            Some("fewer_rows"),
            "model.layers.0.self_attn.q_proj.weight needs 96 counts of rows",
        ),
        (library("hostile"), Some("shuffles"), "that is not an order of the 2 Heads of block 0"),
        (
            library("hostile"),
            Some("moves_pruned"),
            "up_proj cannot follow another order: it was pruned already",
        ),
        (library("hostile"), Some("prunes_all"), "q_proj.weight: all its weights are 0, but the target is"),
    ];
    for (plugin, method, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut command = host();
        command.args(["--plugin", &plugin, "--selector", "random", "--samples", "2", "--seqlen", "32"]);
        command.args(method.iter().flat_map(|method| ["--method", method]));
        command.arg("--model").arg(path("models/tiny-instruct"));
        command.arg("--calibration").arg(path("models/data/c4.jsonl"));
        command.args(["--device", "cpu"]).arg("--out").arg(folder.path().join("pruned"));
        refused(&mut command, words, folder.path());
    }
    // One that forgets to free its tensors is no reason to fail.
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pruned");
    run(prune(&out).args(["--plugin", &library("hostile"), "--method", "leaks"]));
}

#[test]
fn bad_input_gets_one_clear_message() {
    let bad = |name: &str, text: &str| {
        let file = std::env::temp_dir().join(format!("espalier-test-{}-{name}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        file.into_os_string().into_string().unwrap()
    };
    let cases: [(Vec<String>, &str); 14] = [
        (vec!["--sparsity".into(), "1.0".into()], "outside [0, 1)"),
        (vec!["--sparsity".into(), "4:4".into()], "0 < N < M"),
        (vec!["--sparsity".into(), "2:7".into()], "columns, which do not divide"),
        (vec!["--option".into(), "speed=11".into()], "unknown option `speed`"),
        (vec!["--option".into(), "use_varient=true".into()], "did you mean `use_variant`?"),
        (vec!["--plugin".into(), "sparsegtp".into()], "did you mean `sparsegpt`?"),
        (vec!["--selector".into(), "radnom".into()], "radnom"),
        (vec!["--option".into(), "use_variant=maybe".into()], "not a bool"),
        (
            vec!["--device".into(), "gpu".into(), "--adapter".into(), "no such adapter".into()],
            "no such adapter",
        ),
        (vec!["--model".into(), "no/such-model".into()], "no/such-model"),
        (vec!["--calibration".into(), "no-such-file.jsonl".into()], "no-such-file.jsonl"),
        (vec!["--calibration".into(), bad("empty.jsonl", "")], "empty.jsonl"),
        (
            vec!["--calibration".into(), bad("rows.jsonl", "{\"text\": \"fine\"}\n{\"text\": 7}\n")],
            "rows.jsonl",
        ),
        (
            vec!["--calibration".into(), bad("json.jsonl", "{\"text\": \"fine\"}\n{\"text\": \n")],
            "json.jsonl",
        ),
    ];
    for (flags, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut command = prune(&folder.path().join("pruned"));
        assert_eq!(refused(command.args(flags), words, folder.path()), 2, "{words}");
    }
}

/// Fails without a panic, says `words`, and leaves nothing in `folder`.
fn refused(command: &mut Command, words: &str, folder: &Path) -> i32 {
    let output = command.output().unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{command:?} succeeded");
    let code = output.status.code().expect("an exit code");
    assert!(code == 1 || code == 2, "{code}: {said}");
    assert!(said.contains(words), "no `{words}` in: {said}");
    assert!(!said.contains("RUST_BACKTRACE") && !said.contains("stack backtrace"), "{said}");
    assert_eq!(folder.read_dir().unwrap().count(), 0, "something was left behind: {said}");
    code
}

/// Weights of four bits written out again have many equals: the share is exact all the same, for every method.
#[test]
fn equal_weights_are_pruned_to_the_share() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_model(&model);
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&weights).unwrap();
    let coarse: Vec<(String, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let mut bytes = tensor.data().to_vec();
            if name.ends_with("_proj.weight") {
                // Sign and exponent alone: weights of some seven magnitudes.
                let keep = if tensor.dtype() == safetensors::Dtype::BF16 { 2 } else { 4 };
                for word in bytes.chunks_exact_mut(keep) {
                    word[..keep - 2].fill(0);
                    word[keep - 2] &= 0x80;
                }
            }
            (name.to_owned(), bytes)
        })
        .collect();
    let views = coarse.iter().map(|(name, bytes)| {
        let tensor = tensors.tensor(name).unwrap();
        (name, safetensors::tensor::TensorView::new(tensor.dtype(), tensor.shape().to_vec(), bytes).unwrap())
    });
    std::fs::write(model.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    for plugin in ["magnitude", "wanda", "sparsegpt"] {
        let mut command = host();
        command.args(["--plugin", plugin, "--device", "cpu", "--samples", "4", "--seqlen", "64", "--json"]);
        command.arg("--calibration").arg(path("models/data/c4.jsonl"));
        command.arg("--model").arg(&model).arg("--out").arg(folder.path().join(plugin));
        let manifest = json(&mut command);
        for layer in manifest["layers"].as_array().unwrap() {
            let sparsity = layer["sparsity"].as_f64().unwrap();
            assert!((sparsity - 0.5).abs() < 0.002, "{plugin}: {layer}");
        }
    }
}

#[test]
fn libraries_of_one_name_and_methods_of_one_name_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (shadow, copy) = (folder.path().join("shadow"), folder.path().join("copy"));
    fs::create_dir(&shadow).unwrap();
    fs::create_dir(&copy).unwrap();
    let file = format!("{}wanda{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    fs::copy(built().join(&file), shadow.join(&file)).unwrap();
    let hidden = |command: &mut Command| command.env("ESPALIER_PLUGIN_PATH", &shadow).output().unwrap();
    let output = hidden(host().args(["plugins", "wanda"]));
    assert!(said(&output).contains("it hides "), "{}", said(&output));
    let listed = hidden(host().args(["plugins", "--json"]));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let by: Vec<_> =
        listed["hidden"].as_array().unwrap().iter().map(|one| one["by"].as_str().unwrap()).collect();
    assert_eq!(by, [shadow.join(&file).to_str().unwrap()]);

    // The same file twice is one library; another that offers the same method is not.
    let mut other = fs::read(built().join(&file)).unwrap();
    other.push(0);
    fs::write(copy.join(&file), other).unwrap();
    let out = folder.path().join("pruned");
    let output =
        prune(&out).arg("--plugin").arg(copy.join(&file)).args(["--method", "wanda"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("offer a method named `wanda`: give one of them"), "{}", said(&output));
}
