//! Helpers shared by Espalier's end-to-end tests.

pub mod gpu;
pub mod random;
pub mod reference;

use espalier_host::device::{
    Device,
    choose::{self, DeviceChoice, DeviceRequest},
};
use safetensors::SafeTensors;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

/// A file or folder beside this crate's `Cargo.toml`, or in the folder that `ESPALIER_TESTS` names where tests run on another
/// machine than they were built on (see `scripts/gpu.py`).
pub fn path(relative: &str) -> PathBuf {
    let folder = std::env::var_os("ESPALIER_TESTS").map(PathBuf::from);
    folder.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).join(relative)
}

/// The folder that cargo builds into for this profile: the binary `host` and the plugins are there.
///
/// # Panics
/// The test binary is not where cargo puts it.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("tests are run from target/PROFILE/deps");
    assert!(folder.join("host").is_file(), "build the workspace first: `cargo build --workspace`");
    folder.to_owned()
}

/// The binary `host`, with this build's plugins to be found and nothing of the user's environment.
pub fn host() -> Command {
    let mut command = Command::new(built().join("host"));
    command.env("ESPALIER_PLUGIN_PATH", built()).env_remove("ESPALIER_LOG");
    command
}

/// The device that GPU tests run on: the adapter whose name contains `ESPALIER_TEST_ADAPTER`, or the first.
///
/// # Panics
/// There is none: GPU tests fail, they are never skipped.
pub fn gpu() -> Arc<dyn Device> {
    let adapter = std::env::var("ESPALIER_TEST_ADAPTER").ok();
    let request = DeviceRequest { choice: DeviceChoice::Gpu, adapter, ..DeviceRequest::default() };
    choose::open(&request).expect("GPU tests need an adapter; a software one will do")
}

/// The CPU device.
///
/// # Panics
/// Never on a machine that runs tests.
pub fn cpu() -> Arc<dyn Device> {
    choose::open(&DeviceRequest { choice: DeviceChoice::Cpu, ..DeviceRequest::default() }).expect("a CPU")
}

/// Runs a command that succeeds.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output
}

/// A copy of the small trained model, to be changed.
pub fn copy_model(to: &Path) {
    std::fs::create_dir(to).expect("the folder is new");
    for file in std::fs::read_dir(path("models/tiny-instruct")).expect("the model is there") {
        let file = file.expect("its files can be listed");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("its files can be copied");
    }
}

/// A process' output, for assertions.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The share of entries whose being zero is as recorded in `fixtures/pruning/RECORDED.safetensors`.
///
/// # Panics
/// The model or the recording cannot be read, or they do not fit.
pub fn agreement(model: &Path, recorded: &str) -> f64 {
    let masks = std::fs::read(path(&format!("fixtures/pruning/{recorded}.safetensors")))
        .expect("a model beside its recording");
    let masks = SafeTensors::deserialize(&masks).expect("a model beside its recording");
    let weights = std::fs::read(model.join("model.safetensors")).expect("a model beside its recording");
    let weights = SafeTensors::deserialize(&weights).expect("a model beside its recording");
    let (mut same, mut all) = (0usize, 0usize);
    for (name, mask) in masks.tensors() {
        let weight: Vec<f32> =
            bytemuck::pod_collect_to_vec(weights.tensor(&name).expect("a model beside its recording").data());
        assert_eq!(mask.data().len(), weight.len().div_ceil(8), "{name}");
        for (at, w) in weight.iter().enumerate() {
            let pruned = mask.data()[at / 8] >> (at % 8) & 1 == 1;
            same += usize::from(pruned == (*w == 0.0));
        }
        all += weight.len();
    }
    assert!(all > 100_000, "the recording covers the model");
    same as f64 / all as f64
}
