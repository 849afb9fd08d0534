//! The parts of a data set: training, validation and test.

use super::{CalibrationError, Source, folder::files_of};
use std::path::Path;

/// Names that one part goes by.
const NAMES: [&[&str]; 2] = [&["validation", "valid", "val", "dev"], &["train", "training"]];

impl Source {
    /// The files of a part of the data, such as `test`: in a folder, those that have its name as a word of theirs, as the
    /// hub names them (`test-00000-of-00001.parquet`), or else those in a folder of its name, as in the hub's own copies
    /// (`test/0000.parquet`); a file is what it is.
    ///
    /// # Errors
    /// The folder cannot be read, has no such file, or has some in several folders, as those of several data sets are.
    pub fn split(&self, split: &str) -> Result<Vec<Self>, CalibrationError> {
        if !self.path.is_dir() {
            return Ok(vec![self.clone()]);
        }
        let all = files_of(&self.path)?;
        let alike = NAMES.iter().find(|names| names.contains(&split)).copied().unwrap_or(&[]);
        // Where the name itself is there, another for it is another part.
        let found = |names: &[&str], is: fn(&Path, &str) -> bool| {
            let found = all.iter().filter(|path| names.iter().any(|name| is(path, name)));
            found.cloned().collect::<Vec<_>>()
        };
        let ways = [
            (&[split][..], has_word as fn(&Path, &str) -> bool),
            (alike, has_word),
            (&[split], is_in),
            (alike, is_in),
        ];
        let files = ways.into_iter().map(|(names, is)| found(names, is)).find(|files| !files.is_empty());
        let files = files.unwrap_or_default();
        let Some(first) = files.first() else {
            let mut names: Vec<_> = all.iter().take(5).map(|path| path.display().to_string()).collect();
            names.extend((all.len() > names.len()).then(|| "…".to_owned()));
            let files = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(CalibrationError::NoSplit {
                path: self.path.clone(),
                split: split.to_owned(),
                files,
            });
        };
        let folder = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
        if let Some(other) = files.iter().find(|path| path.parent() != first.parent()) {
            let (first, other) = (folder(first), folder(other));
            return Err(CalibrationError::Splits {
                path: self.path.clone(),
                split: split.to_owned(),
                first,
                other,
            });
        }
        Ok(files.into_iter().map(Self::new).collect())
    }
}

/// Whether a file stands in a folder of this name.
fn is_in(path: &Path, name: &str) -> bool {
    path.parent().and_then(Path::file_name).is_some_and(|folder| folder == name)
}

/// Whether a file's name has this word.
fn has_word(path: &Path, word: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_part_are_found_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}\n").unwrap();
        };
        for name in [
            "a/test-00000-of-00002.parquet",
            "a/test-00001-of-00002.parquet",
            "a/train.jsonl",
            "b/dev.jsonl",
            "a/README.md",
        ] {
            write(name);
        }
        let found = |path: &Path, split: &str| -> Result<Vec<String>, String> {
            let files = Source::new(path).split(split).map_err(|error| error.to_string())?;
            Ok(files
                .iter()
                .map(|file| file.path.file_name().unwrap().to_string_lossy().into_owned())
                .collect())
        };
        let tests = ["test-00000-of-00002.parquet", "test-00001-of-00002.parquet"].map(str::to_owned);
        assert_eq!(found(folder.path(), "test").unwrap(), tests);
        assert_eq!(found(folder.path(), "validation").unwrap(), ["dev.jsonl"]);
        assert_eq!(found(&folder.path().join("a/train.jsonl"), "test").unwrap(), ["train.jsonl"]);
        let message = found(&folder.path().join("a"), "dev").unwrap_err();
        assert!(
            message.contains("has no file of the split `dev`") && message.contains("train.jsonl"),
            "{message}"
        );
        write("c/validation/0000.parquet");
        assert_eq!(found(&folder.path().join("c"), "dev").unwrap(), ["0000.parquet"]);
        write("b/test.jsonl");
        let message = found(folder.path(), "test").unwrap_err();
        assert!(message.contains("name the folder of one data set"), "{message}");
    }
}
