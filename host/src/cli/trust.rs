//! `host plugins trust`, `untrust` and `trusted`.

use super::{CliError, args::TrustAction, print, print_json, table};
use espalier_plugins::{TrustList, find};
use std::path::Path;

pub(super) fn run(action: &TrustAction) -> Result<(), CliError> {
    let mut list = TrustList::open()?;
    match action {
        TrustAction::Trust { library } => {
            let trusted = list.add(&find(library)?)?;
            print(&format!(
                "{}\nSHA-256 {}\nis trusted from now on, for as long as the file does not change; {} has the list",
                trusted.path,
                trusted.sha256,
                list.file().display()
            ))
        }
        TrustAction::Untrust { library } => untrust(&mut list, library),
        TrustAction::Trusted { json: true } => {
            print_json(&serde_json::json!({ "list": list.file(), "trusted": list.entries() }))
        }
        TrustAction::Trusted { json: false } => {
            if list.entries().is_empty() {
                return print("no library is trusted; `host plugins trust LIB` adds one");
            }
            let rows = list.entries().iter().map(|e| vec![e.sha256.clone(), e.path.clone()]);
            print(&table::render(&["SHA-256", "where it was"], &rows.collect::<Vec<_>>()))
        }
    }
}

/// Takes what has this hash or was at this place from the list: the file may be gone, or another one by now.
fn untrust(list: &mut TrustList, named: &str) -> Result<(), CliError> {
    let is_hash = named.len() >= 8 && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hash = is_hash.then(|| named.to_lowercase());
    let path = find(named).ok().and_then(|path| path.canonicalize().ok());
    let was_there =
        |place: &str| path.as_deref().is_some_and(|path| Path::new(place) == path) || place == named;
    let chosen: Vec<String> = list
        .entries()
        .iter()
        .filter(|e| hash.as_ref().is_some_and(|hash| e.sha256.starts_with(hash)) || was_there(&e.path))
        .map(|entry| entry.sha256.clone())
        .collect();
    if chosen.is_empty() {
        return Err(CliError::Failed(format!("{named} is not on the list of trusted plugins")));
    }
    for sha256 in &chosen {
        for gone in list.remove(sha256)? {
            print(&format!("{}\nSHA-256 {}\nis no longer trusted", gone.path, gone.sha256))?;
        }
    }
    Ok(())
}
