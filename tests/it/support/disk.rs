//! A disk that can be watched and that can fail, by `LD_PRELOAD`, because no port lies between SQLite and the system. Linux only.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::server::Start;

/// A disk whose confirmations are counted. While a fault has begun, a process under it meets that: `full` (nothing more can be
/// written), `fails` (nothing is confirmed), `denied` (no database may be opened), `none` (no descriptor is left for one).
pub(crate) struct WatchedDisk {
    directory: tempfile::TempDir,
}

impl WatchedDisk {
    /// Compiles it with the C compiler that the crate's own dependencies need.
    pub(crate) fn new() -> Self {
        let directory = tempfile::TempDir::with_prefix("grantwell-it-").expect("a temporary directory");
        let disk = Self { directory };
        fs::write(disk.file("disk.c"), include_str!("disk.c")).expect("written");
        let files = ["disk.so", "disk.c"].map(|name| disk.file(name));
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args(files).status();
        assert!(compiled.expect("a C compiler").success());
        disk
    }

    /// The server on this disk.
    pub(crate) fn under(&self, start: Start) -> Start {
        self.environment().into_iter().fold(start, |start, (name, value)| start.environment(name, &value))
    }

    /// What a process needs in its environment to be on this disk.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.display().to_string();
        [("LD_PRELOAD", text(self.file("disk.so"))), ("DISK", text(self.directory.path().to_owned()))]
    }

    /// How many times it has confirmed what was written.
    pub(crate) fn confirmations(&self) -> u64 {
        fs::metadata(self.file("confirmed")).map_or(0, |notes| notes.len())
    }

    /// Begins a fault.
    pub(crate) fn begin(&self, fault: &str) {
        fs::write(self.file(fault), "").expect("written");
    }

    /// Ends it.
    pub(crate) fn end(&self, fault: &str) {
        fs::remove_file(self.file(fault)).expect("it had begun");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}
