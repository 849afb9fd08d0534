//! How shaders are joined with the parts that they include.

#[path = "../build/join.rs"]
mod join;

use std::{collections::BTreeMap, fs, path::Path};

/// Joins a kernel with parts, by their names, in a folder of its own.
fn joined(test: &str, kernel: &str, parts: &[(&str, &str)]) -> Result<join::Joined, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(folder.join("parts")).unwrap();
    for (name, text) in parts {
        fs::write(folder.join("parts").join(format!("{name}.wgsl")), text).unwrap();
    }
    let file = folder.join("kernel.wgsl");
    fs::write(&file, kernel).unwrap();
    let place = format!("{}/", folder.display());
    join::join(&file).map_err(|error| error.replace(&place, ""))
}

#[test]
fn a_part_stands_once_where_it_is_first_included() {
    let parts = [("a", "//!include b\na\n"), ("b", "b"), ("c", "//!include b\nc\n")];
    let joined = joined("once", "first\n//!include a\n//!include c\nlast\n", &parts).unwrap();
    assert_eq!(joined.text(), "first\nb\na\nc\nlast\n");
    assert!(joined.parts().iter().eq(["a", "b", "c"]));
    let places: Vec<_> = (0..7).map(|line| joined.place(line)).collect();
    let ends = ["", "kernel.wgsl:1: ", "b.wgsl:1: ", "a.wgsl:2: ", "c.wgsl:2: ", "kernel.wgsl:4: ", ""];
    assert!(places.iter().zip(ends).all(|(place, end)| place.ends_with(end)), "{places:?}");
}

#[test]
fn what_cannot_be_included_is_named_with_its_place() {
    let parts = [("a", "\n//!include missing\n")];
    let error = |test, kernel| joined(test, kernel, &parts).unwrap_err();
    assert_eq!(error("missing", "a\n//!include no\n"), "kernel.wgsl:2: there is no part `no`");
    assert_eq!(error("nested", "//!include a"), "parts/a.wgsl:2: there is no part `missing`");
    assert_eq!(error("order", "//!incldue a"), "kernel.wgsl:1: only `//!include NAME` begins with `//!`");
}

#[test]
fn every_part_is_shared() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut users = BTreeMap::<_, usize>::new();
    for part in join::sources(&folder.join("parts")).unwrap() {
        users.insert(part.file_stem().unwrap().to_string_lossy().into_owned(), 0);
    }
    for kernel in join::sources(&folder).unwrap() {
        for part in join::join(&kernel).unwrap().parts() {
            *users.get_mut(part).unwrap() += 1;
        }
    }
    assert!(users.values().all(|&kernels| kernels > 1), "{users:?}");
}
