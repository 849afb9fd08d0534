//! A plugin library's description of itself, and the options that it declares.
#![no_main]

use espalier_sdk::LibraryInfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(info) = serde_json::from_slice::<LibraryInfo>(bytes) {
        let text = serde_json::to_vec(&info).unwrap();
        assert_eq!(serde_json::from_slice::<LibraryInfo>(&text).unwrap(), info);
    }
});
