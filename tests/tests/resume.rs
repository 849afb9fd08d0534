//! Runs that end early: what is kept, and that a run that continues ends with the same bytes.

use espalier_tests::{built, copy_model, host, path, run, said};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A run of SparseGPT on the model of four blocks, over enough tokens to take a while.
fn prune(out: &Path) -> Command {
    let mut command = host();
    command.args([
        "prune",
        "--plugin",
        "sparsegpt",
        "--device",
        "cpu",
        "--samples",
        "16",
        "--seqlen",
        "128",
        "-v",
    ]);
    command.arg("--model").arg(path("models/tiny-instruct"));
    command.arg("--calibration").arg(path("models/data/c4.jsonl"));
    command.arg("--out").arg(out);
    command
}

/// Starts a run and waits until it logs something of this block; all blocks before are finished, or about to be.
fn started(command: &mut Command, block: usize) -> (Child, impl BufRead + use<>) {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(&format!("model.layers.{block}.")) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before block {block}");
    }
    (child, log)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The contents of every file that does not tell of times and memory.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found
                .extend(contents(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else if name != "espalier.json" {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn low_rank_parts_and_narrow_blocks_survive_a_killed_run() {
    for (method, flags) in
        [("oats", &[][..]), ("oats", &["--no-keep-hidden"]), ("wanda_sp,sparsegpt", &["--no-keep-hidden"])]
    {
        let folder = tempfile::tempdir().unwrap();
        let prune = |out: &Path| {
            let mut command = host();
            command.args(["--plugin", "libpublished.so", "--plugin", "sparsegpt", "--method", method]);
            command.args(["--samples", "16", "--seqlen", "128", "--device", "cpu", "-v", "--model"]);
            command.arg(path("models/tiny-instruct"));
            command.arg("--calibration").arg(path("models/data/c4.jsonl"));
            command.arg("--out").arg(out).args(flags);
            if method == "oats" {
                command.args(["--option", "iterations=20"]);
            }
            command
        };
        let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
        run(&mut prune(&whole));
        let (child, _log) = started(&mut prune(&out), 2);
        kill(child);
        run(prune(&out).arg("--resume"));
        let found = contents(&out);
        assert!(found == contents(&whole), "{method} {flags:?}");
        run(host().args(["verify", "--device", "cpu"]).arg(&out));
        if method != "oats" {
            continue;
        }
        let archive = folder.path().join("out.sparse");
        run(host().arg("pack").arg(&out).arg("--out").arg(&archive));
        run(host().args(["verify", "--device", "cpu"]).arg(&archive));
        assert!(found.contains_key("adapter/adapter_model.safetensors"), "{:?}", found.keys());
        // Pruned again, its low-rank part would be lost.
        let mut again = host();
        again.args(["--plugin", "magnitude", "--device", "cpu", "--model"]).arg(&out);
        let output = again.arg("--out").arg(folder.path().join("again")).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains("the model has a low-rank part in"), "{}", said(&output));
    }
}

#[test]
fn a_killed_run_continues_and_ends_with_the_same_bytes() {
    for flags in
        [&[][..], &["--no-keep-hidden"], &["--no-propagate"], &["--no-propagate", "--no-keep-hidden"]]
    {
        let folder = tempfile::tempdir().unwrap();
        let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
        run(prune(&whole).args(flags));
        for block in [1, 3] {
            let (child, _log) = started(prune(&out).args(flags).arg("--resume"), block);
            kill(child);
            assert_eq!(names(folder.path()), [".out.partial", "whole"], "{flags:?}");
        }
        let resumed = run(prune(&out).args(flags).args(["--resume", "--json"]));
        assert!(said(&resumed).contains("of 4 blocks are finished"), "{flags:?}: {}", said(&resumed));
        let manifest: serde_json::Value = serde_json::from_slice(&resumed.stdout).unwrap();
        assert!(manifest["continued"].as_u64().unwrap() >= 2, "{manifest}");
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 28);
        assert!(contents(&out) == contents(&whole), "{flags:?}: other bytes");
        assert_eq!(names(folder.path()), ["out", "whole"]);
        // Where it is finished, there is nothing to do, unless something else is asked for.
        let again = run(prune(&out).args(flags).arg("--resume"));
        assert!(said(&again).contains("was finished by an earlier run"), "{}", said(&again));
        let other = prune(&out).args(flags).args(["--resume", "--sparsity", "0.6"]).output().unwrap();
        assert!(!other.status.success() && said(&other).contains("exists"), "{}", said(&other));
    }
}

/// An archive is made of the finished folder, wherever the run ended before.
#[test]
fn a_killed_run_ends_as_an_archive_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out.sparse"));
    run(&mut prune(&whole));
    let (child, _log) = started(&mut prune(&out), 2);
    kill(child);
    assert_eq!(names(folder.path()), [".out.sparse.partial", "whole"]);
    let resumed = run(prune(&out).arg("--resume"));
    assert!(said(&resumed).contains("of 4 blocks are finished"), "{}", said(&resumed));
    assert_eq!(names(folder.path()), ["out.sparse", "whole"]);
    let again = folder.path().join("again");
    run(host().arg("unpack").arg(&out).arg("--out").arg(&again));
    assert!(contents(&again) == contents(&whole), "other bytes");
    let finished = run(prune(&out).arg("--resume"));
    assert!(said(&finished).contains("was finished by an earlier run"), "{}", said(&finished));
}

#[test]
fn an_unfinished_run_is_continued_only_as_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (child, _log) = started(&mut prune(&out), 2);
    kill(child);
    let cases: [(&[&str], &str); 5] = [
        (&["--sparsity", "0.6"], "targets was {\"sparsity\":\"0.5\"} and is {\"sparsity\":\"0.6\"}"),
        (&["--seed", "7"], "calibration windows"),
        (&["--option", "percdamp=0.1"], "options was"),
        (&["--no-propagate"], "propagation was true and is false"),
        (&["--compute", "bf16"], "device was"),
    ];
    for (flags, words) in cases {
        let refused = prune(&out).args(flags).arg("--resume").output().unwrap();
        assert!(!refused.status.success() && said(&refused).contains(words), "{}", said(&refused));
        assert!(said(&refused).contains("--restart"), "{}", said(&refused));
        assert_eq!(names(folder.path()), [".out.partial"], "what is finished is lost");
    }
    // Asked to, it starts over.
    let other = run(prune(&out).args(["--restart", "--sparsity", "0.6"]));
    assert!(!said(&other).contains("blocks are finished"), "{}", said(&other));
    assert_eq!(names(folder.path()), ["out"]);
}

#[test]
fn two_runs_on_one_output_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (child, _log) = started(&mut prune(&out), 0);
    let second = prune(&out).output().unwrap();
    let process = format!("another run (process {}) is writing", child.id());
    assert!(!second.status.success() && said(&second).contains(&process), "{}", said(&second));
    // What a running process has is not removed.
    let cleaned = run(host().arg("clean").arg(folder.path()));
    assert!(said(&cleaned).contains("in use"), "{}", said(&cleaned));
    assert!(folder.path().join(".out.partial").exists());
    kill(child);
}

#[test]
fn unfinished_outputs_are_mentioned_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (child, _log) = started(&mut prune(&out), 1);
    kill(child);
    fs::create_dir(folder.path().join(".old.partial-a1B2c3")).unwrap();
    let other =
        run(prune(&folder.path().join("other")).args(["--plugin", "magnitude", "--method", "magnitude"]));
    assert!(said(&other).contains(".out.partial is an unfinished output ("), "{}", said(&other));
    let listed = run(host().args(["clean", "--dry-run"]).arg(folder.path()));
    assert!(said(&listed).contains("MiB") && said(&listed).contains("unfinished"), "{}", said(&listed));
    run(host().arg("clean").arg(&out));
    assert_eq!(names(folder.path()), [".old.partial-a1B2c3", "other"]);
    let json = run(host().args(["clean", "--json"]).arg(folder.path()));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["state"], "removed", "{json}");
    assert_eq!(names(folder.path()), ["other"]);
    assert!(said(&run(host().arg("clean").arg(folder.path()))).contains("no unfinished outputs"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_continue() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (mut child, mut log) = started(&mut prune(&out), 1);
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut log, &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("of 4 blocks are finished and kept in") && said.contains("--resume"), "{said}");
    assert!(said.contains("error: interrupted"), "{said}");
    run(prune(&out).arg("--resume"));
    assert_eq!(names(folder.path()), ["out"]);
}

/// Without a finished block there is nothing to keep.
#[test]
fn a_run_that_fails_early_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = built().join(format!("libhostile.{}", std::env::consts::DLL_EXTENSION));
    let mut command = prune(&folder.path().join("out"));
    command.arg("--plugin").arg(hostile).args(["--selector", "random", "--method", "fails"]);
    assert!(!command.output().unwrap().status.success());
    assert!(names(folder.path()).is_empty());
}

/// A copy of the model with another value for one weight, in f32.
fn damaged(folder: &Path, tensor: &str, values: impl Fn(usize) -> f32) -> std::path::PathBuf {
    let model = folder.join("damaged");
    copy_model(&model);
    let weights = model.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let (start, end) = metadata.info(tensor).unwrap().data_offsets;
    for (at, word) in bytes[8 + header + start..8 + header + end].chunks_exact_mut(4).enumerate() {
        let old = f32::from_le_bytes(word.try_into().unwrap());
        let new = values(at);
        word.copy_from_slice(&(if new.is_nan() && at > 0 { old } else { old * new }).to_le_bytes());
    }
    fs::write(weights, bytes).unwrap();
    model
}

/// Weights whose squares overflow or vanish are pruned like any others.
#[test]
fn weights_of_any_scale_are_pruned() {
    let down_proj = "model.layers.2.mlp.down_proj.weight";
    let pruned = |factor: f32| -> Vec<bool> {
        let folder = tempfile::tempdir().unwrap();
        let model = damaged(folder.path(), down_proj, |_| factor);
        let out = folder.path().join("out");
        let mut command = host();
        command.args(["--plugin", "sparsegpt", "--device", "cpu", "--samples", "4", "--seqlen", "64"]);
        // Later layers meet what this one makes of its inputs.
        command.args(["--layers", "2", "--skip", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj"]);
        command.arg("--model").arg(model).arg("--calibration").arg(path("models/data/c4.jsonl"));
        let output = command.arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{factor}: {}", said(&output));
        let bytes = fs::read(out.join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let words = tensors.tensor(down_proj).unwrap().data().to_vec();
        words.chunks_exact(4).map(|word| word == [0; 4]).collect()
    };
    let usual = pruned(1.0);
    for factor in [1e30, 1e-38] {
        let other = pruned(factor);
        let same = usual.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(same as f64 > 0.99 * usual.len() as f64, "{factor}: {same} of {}", usual.len());
    }
}

#[test]
fn weights_that_cannot_be_pruned_are_named() {
    let q_proj = "model.layers.1.self_attn.q_proj.weight";
    let nan = |at| if at == 0 { f32::NAN } else { 1.0 };
    type Case<'a> = (&'a str, &'a str, &'a dyn Fn(usize) -> f32, &'a str);
    let cases: [Case; 3] = [
        ("wanda", q_proj, &nan, "has a value that is NaN, at row 0, column 0"),
        ("magnitude", q_proj, &nan, "has a value that is NaN, at row 0, column 0"),
        ("sparsegpt", q_proj, &nan, "has a value that is NaN, at row 0, column 0"),
    ];
    for (plugin, tensor, values, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let model = damaged(folder.path(), tensor, values);
        let mut command = host();
        command.args(["--plugin", plugin, "--device", "cpu", "--samples", "4", "--seqlen", "64"]);
        command.arg("--model").arg(model).arg("--calibration").arg(path("models/data/c4.jsonl"));
        let output = command.arg("--out").arg(folder.path().join("out")).output().unwrap();
        assert!(!output.status.success(), "{plugin} {words}: {}", said(&output));
        assert!(
            said(&output).contains(words) && said(&output).contains(tensor),
            "{plugin}: {}",
            said(&output)
        );
    }
}

#[test]
fn blocks_that_the_configuration_leaves_out_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let model = damaged(folder.path(), "model.norm.weight", |_| 1.0);
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    let fewer = config.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 1");
    assert!(fewer != config);
    fs::write(model.join("config.json"), fewer).unwrap();
    let mut command = host();
    command.args(["prune", "--plugin", "magnitude", "--device", "cpu", "--json", "--model"]).arg(model);
    let output = run(command.arg("--out").arg(folder.path().join("out")));
    assert!(
        said(&output).contains("num_hidden_layers 1, but the checkpoint has blocks up to 3"),
        "{}",
        said(&output)
    );
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest["unused_tensors"].as_array().unwrap().len(), 27, "{manifest}");
}
