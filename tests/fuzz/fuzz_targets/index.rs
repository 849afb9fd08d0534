//! `model.safetensors.index.json` of a folder without shards, which is refused in any case.
#![no_main]

use espalier_host::model::Checkpoint;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.safetensors.index.json"), bytes).unwrap();
    assert!(Checkpoint::open(folder.path()).is_err());
});
