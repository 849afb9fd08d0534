//! Reading files from outside: regular files only, and no more of them than their kind can need.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

/// Files within files, by the path of the file that they are in and their name there.
static MOUNTED: RwLock<BTreeMap<PathBuf, BTreeMap<String, Vec<u8>>>> = RwLock::new(BTreeMap::new());

/// From here on [`read`] finds these files, by their names below the path of the file that holds them, as if that were a folder.
pub fn mount(file: &Path, within: BTreeMap<String, Vec<u8>>) {
    MOUNTED.write().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), within);
}

/// What `look` makes of a path below a [mounted](mount) file: of the content there, or of nothing.
fn within_mounted<T>(path: &Path, look: impl FnOnce(Option<&Vec<u8>>) -> T) -> Option<T> {
    let mounted = MOUNTED.read().unwrap_or_else(PoisonError::into_inner);
    let (within, name) = mounted.iter().find_map(|(file, within)| {
        let name = path.strip_prefix(file).ok().filter(|name| !name.as_os_str().is_empty())?;
        Some((within, name))
    })?;
    let name: Vec<_> = name.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    Some(look(within.get(&name.join("/"))))
}

/// Whether there is such a file, on the disk or [within another](mount).
pub fn exists(path: &Path) -> bool {
    within_mounted(path, |content| content.is_some()).unwrap_or_else(|| path.exists())
}

/// The most bytes that are read of a file of some kind.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    what: &'static str,
    bytes: u64,
}

impl Limit {
    /// `config.json` and the other small files of settings beside a model.
    pub const CONFIG: Self = Self { what: "configuration", bytes: 16 << 20 };
    /// `model.safetensors.index.json`.
    pub const INDEX: Self = Self { what: "index of shards", bytes: 256 << 20 };
    /// `tokenizer.json`; the largest published ones have about 35 MB.
    pub const TOKENIZER: Self = Self { what: "tokenizer", bytes: 512 << 20 };
    /// Chat templates and prompt files.
    pub const TEMPLATE: Self = Self { what: "template", bytes: 4 << 20 };
    /// Study files, and other files that a person writes for this program.
    pub const SETTINGS: Self = Self { what: "file of settings", bytes: 16 << 20 };
    /// A prompt, or one turn of a conversation.
    pub const PROMPT: Self = Self { what: "prompt", bytes: 4 << 20 };
    /// `espalier.json`, and results of a study's cells.
    pub const RECORD: Self = Self { what: "record", bytes: 1 << 30 };
    /// A file that is carried along beside the weights.
    pub const SIDE: Self = Self { what: "file beside the weights", bytes: 512 << 20 };

    /// How many bytes it is.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    fn exceeded(self) -> io::Error {
        let message =
            format!("it has more than {} MiB, the most that is read of a {}", self.bytes >> 20, self.what);
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    }
}

/// Opens a regular file, also through links. A pipe, a device, a socket or a folder is refused instead of being waited
/// for.
///
/// # Errors
/// It is not there, not readable, or not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    is_regular(&fs::metadata(path)?)?;
    let mut options = File::options();
    options.read(true);
    // Should a pipe have taken the file's place meanwhile, opening it does not wait for a writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    let file = options.open(path)?;
    is_regular(&file.metadata()?)?;
    Ok(file)
}

fn is_regular(metadata: &fs::Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    #[cfg(unix)]
    let special = {
        use std::os::unix::fs::FileTypeExt;
        match () {
            () if kind.is_fifo() => "a pipe",
            () if kind.is_socket() => "a socket",
            () if kind.is_char_device() || kind.is_block_device() => "a device",
            () => "a folder",
        }
    };
    #[cfg(not(unix))]
    let special = "a folder";
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {special}, not a regular file")))
}

/// The contents of a file.
///
/// # Errors
/// As [`open`], or it is longer than the limit.
pub fn read(path: &Path, limit: Limit) -> io::Result<Vec<u8>> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    if let Some(content) = within_mounted(path, |content| content.cloned().ok_or_else(missing)) {
        let content = content?;
        return if content.len() as u64 > limit.bytes { Err(limit.exceeded()) } else { Ok(content) };
    }
    let file = open(path)?;
    if file.metadata()?.len() > limit.bytes {
        return Err(limit.exceeded());
    }
    // It may grow while it is read.
    within(limit, |bytes| file.take(limit.bytes + 1).read_to_end(bytes))
}

/// What `read` reads of something that has at most one byte more than the limit, if it does not have that one.
fn within(limit: Limit, read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read(&mut bytes)?;
    if bytes.len() as u64 > limit.bytes { Err(limit.exceeded()) } else { Ok(bytes) }
}

/// All the text that a pipe or a terminal gives.
///
/// # Errors
/// It cannot be read, is longer than the limit, or is not UTF-8.
pub fn read_stream(stream: impl Read, limit: Limit) -> io::Result<String> {
    utf8(within(limit, |bytes| stream.take(limit.bytes + 1).read_to_end(bytes))?)
}

/// The next line that a pipe or a terminal gives, without its end; none where there are no more.
///
/// # Errors
/// As [`read_stream`].
pub fn read_line(stream: impl BufRead, limit: Limit) -> io::Result<Option<String>> {
    let line = within(limit, |bytes| stream.take(limit.bytes + 1).read_until(b'\n', bytes))?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = utf8(line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

fn utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The text of a file.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, limit: Limit) -> io::Result<String> {
    utf8(read(path, limit)?)
}

/// Copies a file, with the permissions of any new file.
///
/// # Errors
/// The first is of reading (see [`read`]), the second of writing.
pub fn copy(from: &Path, to: &Path, limit: Limit) -> Result<(), (io::Error, bool)> {
    let reading = |error| (error, true);
    let file = open(from).map_err(reading)?;
    if file.metadata().map_err(reading)?.len() > limit.bytes {
        return Err(reading(limit.exceeded()));
    }
    let mut out = File::create(to).map_err(|error| (error, false))?;
    io::copy(&mut file.take(limit.bytes), &mut out).map_err(|error| (error, false))?;
    Ok(())
}

/// Every file in a folder and in the folders below it that `keep` wants, in order. A folder that is met again, through
/// a link, is passed over.
///
/// # Errors
/// A folder cannot be read.
pub fn walk(folder: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    fn within(
        folder: &Path,
        keep: &dyn Fn(&Path) -> bool,
        seen: &mut BTreeSet<PathBuf>,
        found: &mut Vec<PathBuf>,
    ) -> Result<(), (PathBuf, io::Error)> {
        let unreadable = |error| (folder.to_owned(), error);
        if !seen.insert(folder.canonicalize().map_err(unreadable)?) {
            return Ok(());
        }
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if !keep(&path) {
                continue;
            }
            if path.is_dir() {
                within(&path, keep, seen, found)?;
            } else {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    within(folder, keep, &mut BTreeSet::new(), &mut found)?;
    found.sort();
    Ok(found)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert_eq!(read(&at("link"), Limit::CONFIG).unwrap(), b"text");
        for (name, words) in [("zero", "a device"), ("pipe", "a pipe"), ("", "a folder")] {
            let error = read(&at(name), Limit::CONFIG).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("not a regular file"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        File::create(&path).unwrap().set_len(4 << 30).unwrap();
        let error = read(&path, Limit::TEMPLATE).unwrap_err().to_string();
        assert_eq!(error, "it has more than 4 MiB, the most that is read of a template");
        assert!(matches!(copy(&path, &folder.path().join("to"), Limit::SIDE), Err((_, true))));
        assert!(!folder.path().join("to").exists());
    }

    #[test]
    fn streams_are_read_up_to_a_bound() {
        let mut lines = io::Cursor::new("one\r\n\ntwo");
        let found: Vec<_> = std::iter::from_fn(|| read_line(&mut lines, Limit::PROMPT).unwrap()).collect();
        assert_eq!(found, ["one", "", "two"]);
        let endless = || io::BufReader::new(io::repeat(b'a'));
        for error in [
            read_line(endless(), Limit::PROMPT).unwrap_err(),
            read_stream(endless(), Limit::PROMPT).unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "it has more than 4 MiB, the most that is read of a prompt");
        }
        assert_eq!(read_stream(&b"\xff"[..], Limit::PROMPT).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let short = vec![b'a'; Limit::PROMPT.bytes as usize];
        assert_eq!(read_stream(&short[..], Limit::PROMPT).unwrap().len(), short.len());
    }

    #[test]
    fn a_folder_that_links_to_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a.txt"), "").unwrap();
        for name in ["x", "y"] {
            symlink(".", folder.path().join(name)).unwrap();
            symlink("..", inner.join(name)).unwrap();
        }
        let found = walk(folder.path(), &|_| true).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
