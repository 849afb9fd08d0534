//! Free space on disks.

use std::path::Path;

/// The bytes that are free for this user on the disk of a folder; none if the system does not say.
pub fn free(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let folder = folder.canonicalize().ok()?;
        let disks = sysinfo::Disks::new_with_refreshed_list();
        let of_folder = disks.iter().filter(|disk| folder.starts_with(disk.mount_point()));
        of_folder.max_by_key(|disk| disk.mount_point().as_os_str().len()).map(|disk| disk.available_space())
    }
}

#[cfg(test)]
mod tests {
    use super::free;

    #[test]
    fn this_folder_is_on_a_disk() {
        assert!(free(std::path::Path::new(".")).is_some());
        assert_eq!(free(std::path::Path::new("no/such/folder")), None);
    }
}
