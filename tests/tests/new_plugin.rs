//! `host plugin new`: the crates it makes pass their own tests, build, and run.

use espalier_tests::{copy_model, host, path, run, said};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Runs cargo in a crate, with the versions of this workspace, which are on this machine.
fn cargo(folder: &Path, command: &str) {
    fs::copy(path("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", target()).args([command, "--offline", "--quiet"]);
    // The example is small: optimising its dependencies would take longer than it saves.
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    run(&mut cargo);
}

/// The crates share one folder, which is kept between runs.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugin")
}

fn library(name: &str) -> PathBuf {
    target().join("debug").join(format!("{}{name}{}", env::consts::DLL_PREFIX, env::consts::DLL_SUFFIX))
}

#[test]
fn new_plugins_of_every_kind_are_tested_built_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [(&str, &[&str]); 5] = [
        ("my-method", &["--kind", "layer"]),
        ("my-kernel", &["--wgsl"]),
        ("my-block", &["--kind", "block"]),
        ("my-model", &["--kind", "model"]),
        ("my-selector", &["--kind", "selector"]),
    ];
    for (name, kind) in kinds {
        run(host().current_dir(folder.path()).args(["plugin", "new", name]).args(kind));
        cargo(&folder.path().join(name), "test");
        cargo(&folder.path().join(name), "build");
    }
    let model = folder.path().join("model");
    copy_model(&model);
    let mut command = host();
    for (name, _) in kinds {
        command.arg("--plugin").arg(library(&name.replace('-', "_")));
    }
    command.args([
        "--method",
        "my-model,my-method,my-block",
        "--selector",
        "my-selector",
        "--option",
        "square_root=true",
    ]);
    command.args(["--device", "cpu", "--samples", "4", "--seqlen", "32", "--json"]);
    command.arg("--calibration").arg(path("models/data/c4.jsonl"));
    command.arg("--model").arg(&model).arg("--out").arg(folder.path().join("pruned"));
    let manifest: serde_json::Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
    assert_eq!(manifest["method"]["name"], "my-model,my-method,my-block");
    assert!((manifest["reached"].as_f64().unwrap() - 0.5).abs() < 0.01, "{manifest}");
    // The kernel and its twin choose the same.
    run(host().args(["plugin", "check"]).arg(library("my_kernel")));
}

#[test]
fn nothing_is_replaced_and_names_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, words: &str| {
        let output = host().current_dir(folder.path()).args(["plugin", "new", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    };
    fs::create_dir(folder.path().join("there")).unwrap();
    refused("there", "there exists: give another name");
    refused("../out", "cannot name a crate");
    refused("Upper", "cannot name a crate");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
