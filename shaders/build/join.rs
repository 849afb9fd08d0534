//! Sources that include parts: the line `//!include NAME` stands for `parts/NAME.wgsl`. A part may include others.
//! Each is joined once, where it is first included, so that it does not matter how many include it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A source with the parts that it includes.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    text: String,
    /// Where every line of the text is from: a file, and its line in there, from 1.
    origins: Vec<(PathBuf, usize)>,
    parts: BTreeSet<String>,
}

/// The WGSL files of a folder, in order.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    paths.sort();
    Ok(paths)
}

/// A file, joined with the parts in the folder `parts` beside it.
pub(crate) fn join(file: &Path) -> Result<Joined, String> {
    let mut joined = Joined::default();
    joined.append(file, &file.with_file_name("parts"))?;
    Ok(joined)
}

impl Joined {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The names of the parts.
    pub(crate) fn parts(&self) -> &BTreeSet<String> {
        &self.parts
    }

    /// Where a line of the text, from 1, stands, to begin a message with.
    pub(crate) fn place(&self, line: usize) -> String {
        self.origins.get(line.wrapping_sub(1)).map_or_else(String::new, |(file, line)| at(file, *line))
    }

    fn append(&mut self, file: &Path, parts: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for (number, line) in (1..).zip(text.lines()) {
            let Some(order) = line.trim_start().strip_prefix("//!") else {
                self.text.push_str(line);
                self.text.push('\n');
                self.origins.push((file.to_owned(), number));
                continue;
            };
            let Some(name) = order.strip_prefix("include ").map(str::trim) else {
                return Err(format!("{}only `//!include NAME` begins with `//!`", at(file, number)));
            };
            let part = parts.join(format!("{name}.wgsl"));
            if !part.is_file() {
                return Err(format!("{}there is no part `{name}`", at(file, number)));
            }
            if self.parts.insert(name.to_owned()) {
                self.append(&part, parts)?;
            }
        }
        Ok(())
    }
}

fn at(file: &Path, line: usize) -> String {
    format!("{}:{line}: ", file.display())
}
