//! The journal of an unfinished run.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let _ = espalier_host::prune::finished_blocks(&lines);
});
