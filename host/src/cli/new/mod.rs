//! `host plugins new`: a crate with a worked example, its test, and the SDK that this host was built with.

use super::{CliError, args, print};
use include_dir::Dir;
use minijinja::{Environment, context};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A crate cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NewPluginError {
    /// The name is not a name of a crate.
    #[error("`{0}` cannot name a crate: use lower-case letters, digits, - and _, a letter first")]
    Name(String),
    /// A crate would replace something.
    #[error("{} exists: give another name, or another folder with --out", .0.display())]
    Exists(PathBuf),
    /// A kernel for an example that has none.
    #[error("--wgsl goes with --kind layer: the other examples have no kernel of their own")]
    Wgsl,
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A template is wrong, which is a fault of this program.
    #[error("the crate's files cannot be made")]
    Template(#[source] minijinja::Error),
}

impl NewPluginError {
    /// Whether something failed on the way, rather than being refused.
    pub(super) fn is_failure(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Template(_))
    }
}

/// The files of a crate beside its source: their paths and templates.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("plugin.toml")),
    ("README.md", include_str!("readme.md")),
    (".gitignore", "/target\n"),
    ("sdk/Cargo.toml", include_str!("sdk.toml")),
    ("sdk/ops/Cargo.toml", include_str!("ops.toml")),
];

pub(super) fn run(command: &args::NewPlugin) -> Result<(), CliError> {
    let name = &command.name;
    if !is_crate_name(name) {
        return Err(NewPluginError::Name(name.clone()).into());
    }
    let folder = command.out.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.symlink_metadata().is_ok() {
        return Err(NewPluginError::Exists(folder).into());
    }
    if command.wgsl && command.kind != args::PluginKind::Layer {
        return Err(NewPluginError::Wgsl.into());
    }
    write_crate(&folder, name, command.kind, command.wgsl)?;
    let path = folder.display();
    print(&format!(
        "made {path}: `cd {path}`, then `cargo test` and `cargo build --release`; README.md there has the rest"
    ))
}

/// Writes all files of a crate.
fn write_crate(folder: &Path, name: &str, kind: args::PluginKind, wgsl: bool) -> Result<(), NewPluginError> {
    let (source, kind) = match kind {
        args::PluginKind::Layer if wgsl => (include_str!("wgsl.rs.txt"), "layer"),
        args::PluginKind::Layer => (include_str!("layer.rs.txt"), "layer"),
        args::PluginKind::Block => (include_str!("block.rs.txt"), "block"),
        args::PluginKind::Model => (include_str!("model.rs.txt"), "model"),
        args::PluginKind::Selector => (include_str!("selector.rs.txt"), "selector"),
    };
    let kernel = wgsl.then_some(("src/score.wgsl", include_str!("score.wgsl.txt")));
    let library = name.replace('-', "_");
    let file = format!("{}{library}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let (major, minor) = espalier_sdk::INTERFACE_VERSION;
    let values = context! {
        name => name,
        library => library,
        type => type_name(name),
        kind => kind,
        path => format!("target/release/{file}"),
        interface => format!("{major}.{minor}"),
        version => env!("CARGO_PKG_VERSION"),
        sdk_version => espalier_sdk::VERSION,
        rust_version => env!("CARGO_PKG_RUST_VERSION"),
    };
    let environment = Environment::new();
    for (place, template) in FILES.into_iter().chain([("src/lib.rs", source)]).chain(kernel) {
        let text = environment.render_str(template, &values).map_err(NewPluginError::Template)?;
        write(&folder.join(place), format!("{}\n", text.trim_end()).as_bytes())?;
    }
    copy(&espalier_sdk::SOURCE, &folder.join("sdk/src"))?;
    copy(&espalier_sdk::OPS_SOURCE, &folder.join("sdk/ops/src"))
}

/// Writes an embedded folder.
fn copy(from: &Dir, to: &Path) -> Result<(), NewPluginError> {
    for file in from.files() {
        write(&to.join(file.path()), file.contents())?;
    }
    // The paths of nested files begin at the outermost folder.
    from.dirs().try_for_each(|dir| copy(dir, to))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), NewPluginError> {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes));
    written.map_err(|source| NewPluginError::Write { path: path.to_owned(), source })
}

fn is_crate_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
        && !["test", "core", "std", "alloc", "proc-macro", "espalier-sdk", "espalier-ops"].contains(&name)
}

/// `my-method` as `MyMethod`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split(['-', '_']).map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_crates_and_types() {
        for name in ["ria", "my-method", "dsnot_2"] {
            assert!(is_crate_name(name), "{name}");
        }
        for name in ["", "2nd", "Ria", "a b", "../x", "test", "-x", "é"] {
            assert!(!is_crate_name(name), "{name}");
        }
        assert_eq!(type_name("my-method_2"), "MyMethod2");
    }

    /// The copied SDK has the dependencies of the original.
    #[test]
    fn the_copied_manifests_agree_with_the_workspace() {
        let root = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
        let root: toml::Table = root.parse().unwrap();
        let known = root["workspace"]["dependencies"].as_table().unwrap();
        let originals = [("sdk.toml", "../sdk/Cargo.toml"), ("ops.toml", "../sdk/ops/Cargo.toml")];
        for (copy, original) in originals {
            let read = |path: &str| -> toml::Table {
                let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
                text.parse().unwrap()
            };
            let copied = read(&format!("src/cli/new/{copy}"));
            let copied = copied["dependencies"].as_table().unwrap();
            let original = read(original);
            let needed = original["dependencies"].as_table().unwrap();
            let needed = needed.keys().filter(|name| *name != "include_dir");
            assert_eq!(copied.keys().collect::<Vec<_>>(), needed.collect::<Vec<_>>(), "{copy}");
            for (name, copied) in copied.iter().filter(|(name, _)| *name != "espalier-ops") {
                let version = |value: &toml::Value| {
                    value.as_str().or_else(|| value.get("version")?.as_str()).map(str::to_owned)
                };
                assert_eq!(version(copied), version(&known[name]), "{name}");
                assert_eq!(copied.get("features"), known[name].get("features"), "{name}");
            }
        }
    }
}
