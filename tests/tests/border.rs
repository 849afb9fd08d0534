//! The host knows no method by name: what it runs comes over the plugin border alone.

use espalier_tests::path;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The libraries of `plugins/`, by name.
fn plugins() -> Vec<String> {
    let folders = fs::read_dir(path("../plugins")).unwrap().map(|entry| entry.unwrap());
    folders
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "wgsl") {
            found.push(path);
        }
    }
}

/// The code of a file: no comments, and nothing of its tests.
fn code(path: &Path) -> String {
    if path.file_stem().is_some_and(|name| name == "tests" || name.to_string_lossy().ends_with("_tests")) {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_host_names_no_method() {
    // The selector that is taken where none is asked for is named, as a default.
    let methods: Vec<_> = ["wanda", "sparsegpt", "magnitude"].map(str::to_owned).into();
    for method in &methods {
        assert!(plugins().contains(method), "plugins/{method} is gone: this test looks for the wrong names");
    }
    let mut files = Vec::new();
    for folder in ["../host", "../sdk"] {
        sources(&path(folder), &mut files);
    }
    assert!(files.len() > 80, "{} sources found", files.len());
    for file in files {
        let code = code(&file).to_lowercase();
        for method in &methods {
            assert!(!code.contains(method.as_str()), "{} names {method}", file.display());
        }
    }
}

#[test]
fn the_sdk_knows_neither_host_nor_gpu() {
    let manifest = fs::read_to_string(path("../sdk/Cargo.toml")).unwrap();
    for name in ["wgpu", "espalier-host", "espalier-shaders"] {
        assert!(!manifest.contains(name), "the SDK depends on {name}");
    }
    for plugin in plugins() {
        let manifest = fs::read_to_string(path("../plugins").join(&plugin).join("Cargo.toml")).unwrap();
        for name in ["wgpu", "espalier-host", "espalier-shaders"] {
            assert!(!manifest.contains(name), "{plugin} depends on {name}");
        }
    }
}

/// The crates from the bottom to the top, with their folders: each depends on crates before it only.
const CRATES: [(&str, &str); 13] = [
    ("espalier-ops", "sdk/ops"),
    ("espalier-sdk", "sdk"),
    ("espalier-shaders", "shaders"),
    ("espalier-base", "host/base"),
    ("espalier-device", "host/device"),
    ("espalier-model", "host/model"),
    ("espalier-data", "host/data"),
    ("espalier-plugins", "host/plugins"),
    ("espalier-select", "host/select"),
    ("espalier-prune", "host/prune"),
    ("espalier-evaluate", "host/evaluate"),
    ("espalier-study", "host/study"),
    ("espalier-host", "host"),
];

/// The dependencies that a manifest names, those of its tests included.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(path("..").join(folder).join("Cargo.toml")).unwrap();
    let sections = manifest.split("\n[").filter(|section| {
        section.lines().next().is_some_and(|header| header.trim_end_matches(']').ends_with("dependencies"))
    });
    let name = |line: &str| line.split(['.', ' ', '=']).next().map(str::to_owned);
    sections.flat_map(|section| section.lines().skip(1).filter_map(name)).collect()
}

#[test]
fn dependencies_point_one_way() {
    for (place, (name, folder)) in CRATES.iter().enumerate() {
        for dependency in dependencies(folder) {
            let Some(number) = CRATES.iter().position(|(name, _)| *name == dependency) else { continue };
            assert!(number < place, "{name} depends on {dependency}, which is above it");
        }
    }
    let known = fs::read_dir(path("../host")).unwrap().filter_map(|entry| {
        let folder = entry.unwrap();
        folder.path().join("Cargo.toml").is_file().then(|| format!("host/{}", folder.file_name().display()))
    });
    for folder in known {
        assert!(CRATES.iter().any(|(_, place)| *place == folder), "{folder} is missing in this test");
    }
}

/// The arrows of the crates' dependencies, without those that follow from others.
fn arrows() -> Vec<String> {
    let known = |name: &str| CRATES.iter().any(|(known, _)| *known == name);
    let direct = |name: &str| -> Vec<String> {
        let (_, folder) = CRATES.iter().find(|(known, _)| *known == name).unwrap();
        dependencies(folder).into_iter().filter(|name| known(name)).collect()
    };
    fn reaches(from: &str, to: &str, direct: &impl Fn(&str) -> Vec<String>) -> bool {
        direct(from).iter().any(|next| next == to || reaches(next, to, direct))
    }
    let short = |name: &str| name.trim_start_matches("espalier-").to_owned();
    let mut arrows = Vec::new();
    for (name, _) in CRATES.iter().rev() {
        let all = direct(name);
        for to in &all {
            if !all.iter().any(|other| other != to && reaches(other, to, &direct)) {
                arrows.push(format!("    {} --> {}", short(name), short(to)));
            }
        }
    }
    arrows
}

#[test]
fn the_picture_of_the_architecture_is_true() {
    let page = fs::read_to_string(path("../.github/ARCHITECTURE.md")).unwrap();
    let picture = page.split("```mermaid\ngraph TD\n").nth(1).and_then(|rest| rest.split("```").next());
    let drawn: Vec<_> = picture.expect("a picture").lines().map(str::to_owned).collect();
    let due = arrows();
    assert_eq!(drawn, due, "draw these arrows:\n{}", due.join("\n"));
    for (name, folder) in CRATES {
        assert!(page.contains(&format!("`{folder}`")), "{name} ({folder}) is not explained");
    }
}

#[test]
fn only_devices_know_wgpu() {
    for (name, folder) in CRATES {
        let asked = dependencies(folder).iter().any(|name| name == "wgpu");
        assert_eq!(asked, name == "espalier-device", "{name}");
    }
}

#[test]
fn operations_depend_on_nothing() {
    let optional = ["include_dir", "serde"];
    assert_eq!(
        dependencies("sdk/ops"),
        optional,
        "for `host plugin new`, and for messages between processes"
    );
    let manifest = fs::read_to_string(path("../sdk/ops/Cargo.toml")).unwrap();
    assert_eq!(manifest.matches("optional = true").count(), optional.len());
}

/// Where `unsafe` may stand, and why. Everywhere else the compiler checks what memory is touched.
const UNSAFE: [(&str, &str); 11] = [
    ("shaders/src/", "CPU twins: vector instructions, and slices that threads share in disjoint parts"),
    ("sdk/src/abi/", "what crosses the plugin border"),
    ("sdk/src/export.rs", "the symbols that a plugin exports"),
    ("host/plugins/src/load.rs", "opening a dynamic library"),
    ("host/plugins/src/isolate/memory.rs", "memory that a plugin's process shares with the host and maps"),
    ("host/device/src/gpu/adapter.rs", "asking the driver about an adapter"),
    ("host/device/src/gpu/context.rs", "experimental features of wgpu"),
    ("host/device/src/gpu/pipelines.rs", "kernels of our own without added bounds on loops"),
    ("host/model/src/checkpoint/shard.rs", "memory-mapped weights"),
    ("host/base/src/interrupt.rs", "ending the process at once"),
    ("host/src/main.rs", "one environment variable, before there are threads"),
];

#[test]
fn unsafe_code_is_confined() {
    let mut files = Vec::new();
    for folder in ["host", "sdk", "shaders/src", "plugins"] {
        sources(&path("..").join(folder), &mut files);
    }
    for file in files {
        let lines = code(&file);
        let is_unsafe = lines.lines().any(|line| {
            let line = line.split("//").next().unwrap_or_default();
            line.contains("unsafe {")
                || line.contains("unsafe fn")
                || line.contains("unsafe impl")
                || line.contains("unsafe(")
        });
        let name = file.display().to_string();
        let allowed = UNSAFE.iter().any(|(place, _)| name.contains(&format!("/../{place}")));
        assert!(allowed || !is_unsafe, "{name} has unsafe code: move it, or give a reason in this test");
    }
}
