//! `config.json`, and the rotary table that it describes.
#![no_main]

use espalier_host::model::LlamaConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), bytes).unwrap();
    if let Ok(config) = LlamaConfig::read(folder.path())
        && config.head_dim < 1 << 12
    {
        config.rope.table(4);
    }
});
