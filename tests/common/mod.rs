//! What several tests share: temporary directories, tools that may be missing, Python, times.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests; each test uses some"
)]

pub mod lab;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A directory of one test, gone when the test ends.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("sentryban-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
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

/// Says why a test is skipped; where the lab is required that is a failure.
pub fn skip(why: &str) {
    assert!(
        std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_none_or(|value| value != "1"),
        "{why}, and this run requires the lab: `make test` as root installs what is missing"
    );
    eprintln!("SKIPPED: {why}");
}

/// Says that a tool is missing.
pub fn missing(tool: &str) {
    skip(&format!("{tool} is not installed"));
}

/// `2005-08-14T11:59:59` (with or without a fraction) on the clocks of Zurich, as seconds since
/// the epoch. Summer time runs from the last Sunday of March to the last of October, 01:00 UTC.
pub fn zurich_time(text: &str) -> f64 {
    let (date, clock) = text.split_once('T').unwrap();
    let numbers = |text: &str, at: char| -> Vec<f64> {
        text.split(at).map(|number| number.parse().unwrap()).collect()
    };
    let (date, clock) = (numbers(date, '-'), numbers(clock, ':'));
    let (year, month, day) = (date[0] as i64, date[1] as i64, date[2] as i64);
    let seconds = clock[0] as i64 * 3600 + clock[1] as i64 * 60 + clock[2] as i64;
    let fraction = clock[2].fract();
    let utc = days(year, month, day) * 86400 + seconds;
    let change = |month: i64| {
        let last = days(year, month, 31);
        let weekday = (last + 4).rem_euclid(7); // 1970-01-01 was a Thursday; 0 is Sunday
        (last - weekday) * 86400 + 3600
    };
    let standard = utc - 3600;
    let summer = standard >= change(3) && utc - 7200 < change(10);
    (if summer { utc - 7200 } else { standard }) as f64 + fraction
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = y.div_euclid(400);
    let of_era = y - era * 400;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (m * 153 + 2) / 5 + day - 719_469
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
