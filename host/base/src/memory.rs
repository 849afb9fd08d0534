//! The host's memory: what is free, and the most that this process has held.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Bytes that this process could still take without swapping, within the limits of its container, where the system
/// tells.
pub fn available() -> Option<u64> {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
    let system = System::new_with_specifics(memory).ok()?;
    let free = system.available_memory();
    Some(system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory)))
}

/// The most bytes that this process has held in memory at one time, where the system tells.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// The bytes that this process holds in memory now, pages of mapped files included, where the system tells.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_measured() {
        assert!(super::available().is_some_and(|bytes| bytes > 0));
        #[cfg(target_os = "linux")]
        let resident = super::resident();
        #[cfg(target_os = "linux")]
        assert!(resident.is_some_and(|bytes| bytes > 0) && super::peak() >= resident);
    }
}
