//! `host plugins`: what is found, and what a library offers.

use super::{CliError, args, print, print_json};
use crate::plugins::{Library, PluginError, available, find, load};
use espalier_sdk::{LibraryInfo, OptionSpec};
use serde::Serialize;
use std::{fmt::Write, path::PathBuf};

#[derive(Serialize)]
struct Found {
    path: PathBuf,
    interface: String,
    #[serde(flatten)]
    info: LibraryInfo,
}

pub(super) fn run(command: &args::Plugins) -> Result<(), CliError> {
    let Some(name) = &command.library else { return list(command.json) };
    let found = describe(&load(&find(name)?)?);
    if command.json {
        return print_json(&found);
    }
    let mut text = format!("{} {}, interface {}\n", found.info.name, found.info.version, found.interface);
    for method in &found.info.methods {
        let _ = writeln!(text, "\nmethod {}\n  {}", method.name, method.summary);
        let needs: Vec<_> = method.statistics.iter().map(|statistic| format!("{statistic:?}")).collect();
        let needs = if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") };
        let _ = writeln!(text, "  measures of a layer's input: {needs}");
        describe_options(&mut text, &method.options);
    }
    for selector in &found.info.selectors {
        let _ = writeln!(text, "\nselector {}\n  {}", selector.name, selector.summary);
        describe_options(&mut text, &selector.options);
    }
    print(&text)
}

/// Every plugin found. Libraries that are none are passed over; plugins that do not load are warned of.
fn list(json: bool) -> Result<(), CliError> {
    let mut found = Vec::new();
    for path in available() {
        match load(&path) {
            Ok(library) => found.push(describe(&library)),
            Err(PluginError::NotALibrary { .. } | PluginError::NotAPlugin { .. }) => {}
            Err(error) => tracing::warn!("{error}"),
        }
    }
    if json {
        return print_json(&serde_json::json!({ "plugins": found }));
    }
    if found.is_empty() {
        return print("no plugins found; set ESPALIER_PLUGIN_PATH to a folder that has some");
    }
    let rows: Vec<_> = found
        .iter()
        .map(|found| {
            let methods = found.info.methods.iter().map(|method| format!("method {}", method.name));
            let selectors = found.info.selectors.iter().map(|selector| format!("selector {}", selector.name));
            let offers: Vec<_> = methods.chain(selectors).collect();
            vec![found.path.display().to_string(), found.info.version.clone(), offers.join(", ")]
        })
        .collect();
    print(&super::table::render(&["library", "version", "offers"], &rows))
}

fn describe(library: &Library) -> Found {
    Found {
        path: library.path().to_owned(),
        interface: format!("{}.{}", library.interface().0, library.interface().1),
        info: library.info().clone(),
    }
}

fn describe_options(text: &mut String, options: &[OptionSpec]) {
    for option in options {
        let kind = format!("{:?}", option.kind).to_lowercase();
        let _ = writeln!(text, "  --option {}={}  ({kind}) {}", option.name, option.default, option.summary);
    }
}
