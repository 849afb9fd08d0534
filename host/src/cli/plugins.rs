//! `host plugins`: what is found, and what a library offers.

use super::{CliError, args, check, new, print, print_json, trust};
use espalier_base::{cause::causes, interrupt};
#[cfg(unix)]
use espalier_plugins::isolate;
use espalier_plugins::{Library, TrustList, available, describe, find, hidden};
use espalier_sdk::{Allowed, LibraryInfo, MethodInfo, OptionSpec, message::LayerData};
use serde::Serialize;
use std::{fmt::Write, path::PathBuf};

#[derive(Serialize)]
struct FoundLibrary {
    path: PathBuf,
    interface: String,
    sha256: String,
    /// `yes` if it is on the list, `shipped` if it is beside the binary, otherwise `no`.
    trust: &'static str,
    #[serde(flatten)]
    info: LibraryInfo,
}

pub(super) fn run(command: &args::Plugins, verbosity: args::Verbosity) -> Result<(), CliError> {
    match &command.action {
        Some(args::PluginsAction::New(command)) => return new::run(command),
        Some(args::PluginsAction::Check(command)) => return check::run(command, verbosity),
        Some(args::PluginsAction::Trust(action)) => return trust::run(action),
        None => {}
    }
    let Some(name) = &command.library else { return list(command.json) };
    let found = FoundLibrary::new(&describe(&find(name)?)?, &TrustList::open()?);
    if command.json {
        return print_json(&found);
    }
    let mut text = format!("{} {}, interface {}\n", found.info.name, found.info.version, found.interface);
    let _ = writeln!(text, "SHA-256 {}, trusted: {}", found.sha256, found.trust);
    for method in &found.info.methods {
        let _ = writeln!(text, "\nmethod {}\n  {}", method.name, method.summary);
        if !method.paper.is_empty() {
            let _ = writeln!(text, "  {}", method.paper);
        }
        let _ = writeln!(text, "  works on a {}", format!("{:?}", method.scope).to_lowercase());
        let needs = measures(method);
        let needs = if needs.is_empty() { "nothing" } else { &needs };
        let _ = writeln!(text, "  measures of a layer's input: {needs}");
        if !method.patterns {
            let _ = writeln!(text, "  cannot prune to patterns such as 2:4");
        }
        if !method.requires.is_empty() {
            let _ = writeln!(text, "  needs of the host: {}", method.requires.join(", "));
        }
        describe_options(&mut text, &method.options);
    }
    for selector in &found.info.selectors {
        let _ = writeln!(text, "\nselector {}\n  {}", selector.name, selector.summary);
        describe_options(&mut text, &selector.options);
    }
    print(&text)
}

/// A library that cannot be used.
#[derive(Serialize)]
struct Unusable {
    path: PathBuf,
    reason: String,
}

/// A library that another of the same name hides.
#[derive(Serialize)]
struct Hidden {
    path: PathBuf,
    by: PathBuf,
}

/// Every library found: what the plugins among them offer, and why the others cannot be used.
fn list(json: bool) -> Result<(), CliError> {
    let trust = TrustList::open()?;
    let (mut plugins, mut unusable) = (Vec::new(), Vec::new());
    for path in available() {
        interrupt::check()?;
        match describe(&path) {
            Ok(library) => plugins.push(FoundLibrary::new(&library, &trust)),
            Err(error) => unusable.push(Unusable { path, reason: causes(&error).join(": ") }),
        }
    }
    let hidden: Vec<_> = hidden().into_iter().map(|(path, by)| Hidden { path, by }).collect();
    if json {
        let all = serde_json::json!({ "plugins": plugins, "unusable": unusable, "hidden": hidden });
        return print_json(&all);
    }
    let rows: Vec<_> = plugins.iter().flat_map(FoundLibrary::rows).collect();
    let mut text = match rows.as_slice() {
        [] => "no plugins found; set ESPALIER_PLUGIN_PATH to a folder that has some".to_owned(),
        rows => super::table::render(&COLUMNS, rows),
    };
    if !unusable.is_empty() {
        text += "\n\nnot usable:";
        for Unusable { path, reason } in &unusable {
            let path = path.display().to_string();
            let _ = write!(
                text,
                "\n  {}\n    {}",
                espalier_base::text::line(&path),
                espalier_base::text::line(reason)
            );
        }
    }
    if !hidden.is_empty() {
        text += "\n\nhidden by a library of the same name:";
        for Hidden { path, by } in &hidden {
            let (path, by) = (path.display().to_string(), by.display().to_string());
            let _ = write!(
                text,
                "\n  {}\n    by {}",
                espalier_base::text::line(&path),
                espalier_base::text::line(&by)
            );
        }
    }
    print(&text)
}

/// The columns of the table of stages and selectors.
const COLUMNS: [&str; 10] = [
    "name",
    "works on",
    "measures",
    "patterns",
    "paper",
    "version",
    "interface",
    "trusted",
    "SHA-256",
    "library",
];

impl FoundLibrary {
    /// A row for every stage and selector.
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, scope: String, needs: String, patterns: &str, paper: &str| {
            let cells =
                [name, &scope, &needs, patterns, paper, &self.info.version, &self.interface, self.trust];
            let mut row: Vec<_> = cells.map(espalier_base::text::line).into();
            row.push(self.sha256.chars().take(12).collect());
            row.push(espalier_base::text::line(&self.path.display().to_string()));
            row
        };
        let methods = self.info.methods.iter().map(|method| {
            let scope = format!("{:?}", method.scope).to_lowercase();
            row(
                &method.name,
                scope,
                measures(method),
                if method.patterns { "yes" } else { "no" },
                &method.paper,
            )
        });
        let selectors = self.info.selectors.iter().map(|selector| {
            let needs = if selector.needs_model { "the model" } else { "" };
            row(&selector.name, "selection".to_owned(), needs.to_owned(), "", "")
        });
        methods.chain(selectors).collect()
    }

    fn new(library: &Library, trust: &TrustList) -> Self {
        let trust = match (library.is_shipped(), trust.has(library.sha256())) {
            (_, true) => "yes",
            (true, false) => "shipped",
            (false, false) => "no",
        };
        Self {
            path: library.path().to_owned(),
            interface: format!("{}.{}", library.interface().0, library.interface().1),
            sha256: library.sha256().to_owned(),
            trust,
            info: library.info().clone(),
        }
    }
}

/// The statistics that a method needs, by the names of their functions.
fn measures(method: &MethodInfo) -> String {
    let names = method.statistics.iter().map(|&statistic| LayerData::key(statistic));
    names.collect::<Vec<_>>().join(", ")
}

fn describe_options(text: &mut String, options: &[OptionSpec]) {
    for option in options {
        let mut kind = format!("{:?}", option.kind).to_lowercase();
        if option.allowed != Allowed::Any {
            kind += &format!(", {}", option.allowed);
        }
        let _ = writeln!(text, "  --option {}={}  ({kind}) {}", option.name, option.default, option.summary);
    }
}

/// The child of a host: see [`espalier_plugins`].
pub(super) fn process(command: &args::PluginProcess) -> Result<(), CliError> {
    #[cfg(unix)]
    return isolate::child_main(&command.library, &command.sha256).map_err(CliError::PluginProcess);
    #[cfg(not(unix))]
    return Err(CliError::PluginProcess(std::io::ErrorKind::Unsupported.into()));
}
