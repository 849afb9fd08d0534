//! The cache of tuned variants for an adapter: tuning once is enough until a driver or a kernel changes.

use super::Variant;
use crate::gpu::AdapterReport;
use espalier_base::hash::hex;
use espalier_shaders::COOPERATIVE_KERNELS;
use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

/// The environment variable that names the cache folder.
const CACHE: &str = "ESPALIER_CACHE";

/// The picks of one adapter, in a file of its own.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    key: CacheKey,
    /// Whether it was said that the file cannot be used.
    warned: AtomicBool,
}

/// Where picks hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CacheKey {
    adapter: String,
    backend: String,
    vendor: u32,
    device: u32,
    driver: String,
    driver_info: String,
    /// SHA-256 of the candidates and their WGSL, in hex.
    kernels: String,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
struct CacheContent {
    key: CacheKey,
    /// The variant of every class so far.
    picks: BTreeMap<String, String>,
}

impl Cache {
    /// The cache of an adapter in this folder.
    pub(super) fn new(folder: &Path, adapter: &AdapterReport, candidates: &[Variant]) -> Self {
        let key = CacheKey {
            adapter: adapter.name.clone(),
            backend: adapter.backend.to_string(),
            vendor: adapter.vendor,
            device: adapter.device,
            driver: adapter.driver.clone(),
            driver_info: adapter.driver_info.clone(),
            kernels: kernels(candidates),
        };
        // A file an adapter: a new driver's picks replace the old one's.
        let mut name = Sha256::new();
        for part in [&key.adapter, &key.backend] {
            name.update(part);
            name.update([0]);
        }
        name.update(key.vendor.to_le_bytes());
        name.update(key.device.to_le_bytes());
        let path = folder.join(format!("tuned-{}.json", &hex(name)[..16]));
        Self { path, key, warned: AtomicBool::new(false) }
    }

    /// The variant of a class.
    pub(super) fn get(&self, class: &str) -> Option<String> {
        self.read().remove(class)
    }

    /// Remembers a pick beside what other processes have written meanwhile. Of two that write at the same
    /// moment one loses its pick, and tunes again another time.
    pub(super) fn put(&self, class: &str, variant: &str) {
        let mut picks = self.read();
        picks.insert(class.to_owned(), variant.to_owned());
        if let Err(error) = self.write(&CacheContent { key: self.key.clone(), picks }) {
            self.warn("cannot be written, so that kernels are tuned again every time", &error);
        }
    }

    /// The picks of this adapter, driver and kernels; empty if there are none, or if the file is damaged.
    fn read(&self) -> BTreeMap<String, String> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return BTreeMap::new(),
            Err(error) => {
                self.warn("cannot be read, so that kernels are tuned anew", &error);
                return BTreeMap::new();
            }
        };
        match serde_json::from_slice::<CacheContent>(&bytes) {
            Ok(content) if content.key == self.key => content.picks,
            // Another driver's, or another version's.
            Ok(_) => BTreeMap::new(),
            Err(error) => {
                self.warn("is damaged and will be replaced: kernels are tuned anew", &error);
                BTreeMap::new()
            }
        }
    }

    fn write(&self, content: &CacheContent) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let fill = |out: &mut (dyn io::Write + Send)| Ok(serde_json::to_writer_pretty(out, content)?);
        espalier_base::output::write(&self.path, true, fill).map_err(io::Error::other)
    }

    fn warn(&self, what: &str, error: &(dyn std::error::Error + 'static)) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(error, "the tuning cache {} {what}", self.path.display());
        }
    }
}

/// `ESPALIER_CACHE`, else `espalier` in the platform's cache folder; none where there is no home.
pub(super) fn default_folder() -> Option<PathBuf> {
    let set = env::var_os(CACHE).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    set.or_else(|| Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("espalier")))
}

fn kernels(candidates: &[Variant]) -> String {
    let mut hash = Sha256::new();
    let names = candidates.iter().map(ToString::to_string);
    let own = candidates.iter().map(|variant| variant.kernel);
    // Which are candidates on some devices of this adapter, by the type they compute in.
    let sources = own.chain(COOPERATIVE_KERNELS.iter().copied()).map(|kernel| kernel.wgsl.to_owned());
    for part in names.chain(sources) {
        hash.update(part);
        hash.update([0]);
    }
    hex(hash)
}
