//! What several integration tests need: temporary directories, Python, an installed fail2ban.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A directory of its own, removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sentryban-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says why a test is skipped; where the laboratory is required, that is a failure.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_none_or(|value| value != "1"),
        "SENTRYBAN_REQUIRE_LAB=1, but {why}"
    );
    eprintln!("SKIPPED: {why}");
}

/// Where fail2ban is unpacked: `/`, or another root by `SENTRYBAN_FAIL2BAN_DIR`.
pub fn fail2ban_root() -> Option<PathBuf> {
    let root = std::env::var_os("SENTRYBAN_FAIL2BAN_DIR").unwrap_or_else(|| "/".into());
    let root = PathBuf::from(root);
    root.join("etc/fail2ban/filter.d").is_dir().then_some(root)
}

/// Python with the modules of that fail2ban, ready for arguments.
pub fn python(root: &Path) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "ignore");
    command
}

/// True if there is a python3.
pub fn has_python() -> bool {
    let version = Command::new("python3").arg("--version").output();
    version.is_ok_and(|output| output.status.success())
}

/// Runs a command with text on its standard input; its standard output, or a panic.
pub fn answer(mut command: Command, input: &str) -> String {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A small reproducible source of numbers (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
