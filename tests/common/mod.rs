//! What several tests share: temporary directories, tools that may be missing, times.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// A directory of one test, gone when the test ends.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir()
            .join(format!("sentryban-{name}-{}-{number}", std::process::id()));
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

/// Says that a tool is missing; where the lab is required that is a failure.
pub fn missing(tool: &str) {
    assert!(
        std::env::var_os("SENTRYBAN_REQUIRE_LAB").is_none(),
        "{tool} is missing, and this run requires it: `make test` as root installs it"
    );
    eprintln!("SKIPPED: {tool} is not installed");
}

/// `2005-08-14T11:59:59` (with or without a fraction) on the clocks of Zurich, as seconds since
/// the epoch. Summer time runs from the last Sunday of March to the last of October, 01:00 UTC.
pub fn zurich_time(text: &str) -> f64 {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let seconds = number(11..13) * 3600 + number(14..16) * 60 + number(17..19);
    let fraction: f64 = text.get(19..).filter(|f| !f.is_empty()).map_or(0.0, |f| f.parse().unwrap());
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
