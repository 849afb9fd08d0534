//! Archives by the command line: packed, looked at, measured as the folder is, and unpacked.

use espalier_tests::{host, path, run, said};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, process::Command};

/// A model that is pruned to this pattern or share, as a folder.
fn pruned(out: &Path, sparsity: &str) {
    let mut command = host();
    command.args(["prune", "--plugin", "magnitude", "--device", "cpu", "--sparsity", sparsity]);
    command.arg("--model").arg(path("models/tiny-instruct")).arg("--out").arg(out);
    run(&mut command);
}

fn eval(model: &Path) -> Value {
    let mut command = host();
    command.args(["eval", "--device", "cpu", "--json", "--seqlen", "64", "--limit", "12"]);
    command.arg("--perplexity").arg(path("models/data/c4.jsonl"));
    command.arg("--task").arg(path("models/data/alpaca_evaluation.json"));
    command.arg("--model").arg(model);
    let output = run(&mut command);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

fn pack(folder: &Path, archive: &Path) -> Command {
    let mut command = host();
    command.arg("pack").arg(folder).arg("--out").arg(archive);
    command
}

fn refused(command: &mut Command, words: &str) {
    let output = command.output().unwrap();
    assert!(!output.status.success() && said(&output).contains(words), "{}", said(&output));
}

#[test]
fn a_pruned_model_is_packed_and_used() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    for sparsity in ["0.5", "2:4"] {
        let (folder, archive, again) = (at("pruned"), at("pruned.sparse"), at("again"));
        pruned(&folder, sparsity);
        let output = run(pack(&folder, &archive).arg("--json"));
        let packing: Value = serde_json::from_slice(&output.stdout).unwrap();
        let bytes = |key: &str| packing[key].as_f64().unwrap();
        // f32, of which half is kept: 17/32, and where the rows begin.
        assert!(bytes("packed_linear_bytes") < 0.58 * bytes("linear_bytes"), "{packing}");
        assert_eq!(bytes("bytes") as u64, fs::metadata(&archive).unwrap().len());

        let inspect = |model: &Path| {
            let output = run(host().arg("inspect").arg(model).arg("--json"));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        assert_eq!(inspect(&folder), inspect(&archive));
        assert!(said(&run(host().arg("inspect").arg(&archive))).contains("are packed"));
        assert_eq!(eval(&folder), eval(&archive));

        run(host().arg("unpack").arg(&archive).arg("--out").arg(&again));
        for file in fs::read_dir(&folder).unwrap() {
            let name = file.unwrap().file_name();
            assert_eq!(
                fs::read(folder.join(&name)).unwrap(),
                fs::read(again.join(&name)).unwrap(),
                "{name:?}"
            );
        }
        refused(&mut pack(&folder, &archive), "--overwrite");
        refused(host().arg("unpack").arg(&archive).arg("--out").arg(&again), "exists");
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_dir_all(&again).unwrap();
        fs::remove_file(&archive).unwrap();
    }
}

/// The files of a folder, but for the manifest, which tells of times and memory.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let read = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    read.filter(|(name, _)| name != "espalier.json").collect()
}

fn verify(out: &Path) -> Command {
    let mut command = host();
    command.args(["verify", "--device", "cpu"]).arg(out);
    command
}

#[test]
fn pruning_makes_an_archive_where_the_output_is_named_so() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let (folder, archive, again) = (at("pruned"), at("pruned.sparse"), at("again"));
    pruned(&folder, "0.5");
    pruned(&archive, "0.5");
    run(host().arg("unpack").arg(&archive).arg("--out").arg(&again));
    assert!(contents(&folder) == contents(&again), "{:?}", contents(&again).keys());
    run(&mut pack(&again, &at("again.sparse")));
    assert!(fs::read(&archive).unwrap() == fs::read(at("again.sparse")).unwrap());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 4, "nothing unfinished is left");

    // What is there is replaced when that is asked for, and it is an output as it was written.
    let prune = |out: &Path, flag: &str| {
        let mut command = host();
        command.args(["prune", "--plugin", "magnitude", "--device", "cpu", "--sparsity", "0.5", "--model"]);
        command.arg(path("models/tiny-instruct")).arg("--out").arg(out).arg(flag);
        command
    };
    refused(&mut prune(&archive, "--restart"), "exists: choose another --out");
    assert!(said(&run(&mut prune(&archive, "--resume"))).contains("was finished by an earlier run"));
    run(&mut prune(&archive, "--overwrite"));
    assert!(fs::metadata(&archive).unwrap().is_file());
    fs::write(at("notes.sparse"), "mine").unwrap();
    refused(&mut prune(&at("notes.sparse"), "--overwrite"), "neither a folder nor an archive");
    run(&mut pack(&path("models/tiny-instruct"), &at("dense.sparse")));
    refused(&mut prune(&at("dense.sparse"), "--overwrite"), "it has no espalier.json");
    fs::rename(&folder, at("folder.sparse")).unwrap();
    run(&mut prune(&at("folder.sparse"), "--overwrite"));
    assert!(fs::metadata(at("folder.sparse")).unwrap().is_file());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 6, "nothing unfinished is left");

    // It is verified as a folder is.
    let output = said(&run(&mut verify(&archive)));
    for check in ["files", "sparsity", "weights", "untouched", "logits"] {
        assert!(output.lines().any(|line| line.starts_with(check) && line.contains(" ok ")), "{output}");
    }
    let mut bytes = fs::read(&archive).unwrap();
    let (header, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let values = metadata.info("model.layers.1.mlp.up_proj.weight.compressed").unwrap().data_offsets.0;
    bytes[8 + header + values] ^= 1;
    fs::write(&archive, bytes).unwrap();
    let output = verify(&archive).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("model.safetensors is not as it was written"), "{}", said(&output));
    refused(verify(&at("dense.sparse")).arg("--json"), "espalier.json cannot be read");
}

#[test]
fn what_is_no_archive_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    let model = path("models/tiny-instruct");
    refused(&mut pack(&model, &at("model.safetensors")), "dense weights");
    run(&mut pack(&model, &at("dense.sparse")));
    refused(&mut pack(&at("dense.sparse"), &at("x.sparse")), "not a model's folder");
    refused(
        host().arg("unpack").arg(model.join("model.safetensors")).arg("--out").arg(at("x")),
        "safetensors",
    );
    // Nothing is left out of a model that was not pruned, and it is still read.
    run(host().arg("inspect").arg(at("dense.sparse")));
    let mut prune = host();
    prune.args(["prune", "--plugin", "magnitude", "--device", "cpu", "--model"]).arg(at("dense.sparse"));
    refused(prune.arg("--out").arg(at("pruned")), "host unpack");
    let mut bytes = fs::read(at("dense.sparse")).unwrap();
    bytes.truncate(bytes.len() - 5);
    fs::write(at("cut.sparse"), bytes).unwrap();
    for command in ["inspect", "unpack"] {
        let mut command = self::command(command, &at("cut.sparse"), &at("y"));
        refused(&mut command, "incomplete");
    }
    assert!(!at("x").exists() && !at("y").exists() && !at("pruned").exists());
}

fn command(name: &str, archive: &Path, out: &Path) -> Command {
    let mut command = host();
    command.arg(name).arg(archive);
    if name == "unpack" {
        command.arg("--out").arg(out);
    }
    command
}
