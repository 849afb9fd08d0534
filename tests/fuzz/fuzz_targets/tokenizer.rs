//! `tokenizer.json`, loaded and used. A library that panics on it is caught by the host, so that only what gets past that
//! is found here.
#![no_main]

use espalier_host::data::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), bytes).unwrap();
    if let Ok(tokenizer) = Tokenizer::open(folder.path(), 1000) {
        let ids = tokenizer.encode("Hello, wörld! 123\n", true, String::new).unwrap_or_default();
        let _ = tokenizer.decode(&ids);
    }
});
