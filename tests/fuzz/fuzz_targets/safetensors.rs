//! Headers of safetensors files.
#![no_main]

use espalier_host::model::checkpoint::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::parse(bytes) {
        for entry in &header.tensors {
            assert!(entry.range.end <= bytes.len() && entry.range.start >= header.data_start);
        }
    }
});
