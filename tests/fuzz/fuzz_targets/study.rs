//! Study files.
#![no_main]

use espalier_host::study::StudyFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("study.toml");
    std::fs::write(&file, bytes).unwrap();
    let _ = StudyFile::read(&file);
});
