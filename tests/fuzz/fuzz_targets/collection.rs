//! Calibration data: the first byte says in which format the rest is.
#![no_main]

use espalier_host::data::{Collection, Reading, Source};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 7] = ["a.jsonl", "a.json", "a.txt", "a.jsonl.gz", "a.json.zst", "a.parquet", "a.txt.gz"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&format, data)) = bytes.split_first() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(NAMES[usize::from(format) % NAMES.len()]);
    std::fs::write(&file, data).unwrap();
    if let Ok(collection) = Collection::open(&[Source::new(&file)], &Reading::default()) {
        for index in 0..collection.len() {
            let _ = collection.record(index);
            let _ = collection.place(index);
        }
    }
});
