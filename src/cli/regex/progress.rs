//! A line on stderr that shows how far a long log has been read.
//!
//! Only for people: there is none unless stderr is a terminal, the log a file of some size and the
//! run longer than a second. Nothing else may write to that terminal meanwhile.

use std::io::{IsTerminal, Write};

use crate::time::Stopwatch;

/// Below this size no log takes long.
const BYTES_MIN: u64 = 8 << 20;
/// Seconds before the first sign, and between two.
const FIRST_S: f64 = 1.0;
const EVERY_S: f64 = 0.2;

/// The bar; does nothing where there is nobody to see it.
#[derive(Debug)]
pub struct Progress {
    bytes_all: u64,
    started: Stopwatch,
    next_s: f64,
    shown: bool,
}

impl Progress {
    /// A bar for a log of `bytes_all` bytes; `wanted` is false with `--no-progress`, for what is no
    /// file, and where failures themselves go to the terminal.
    pub fn new(wanted: bool, bytes_all: u64) -> Progress {
        let visible = wanted && bytes_all >= BYTES_MIN && std::io::stderr().is_terminal();
        Progress {
            bytes_all,
            started: Stopwatch::start(),
            next_s: if visible { FIRST_S } else { f64::INFINITY },
            shown: false,
        }
    }

    /// Tells how much has been read. Reads the clock: once a block, not once a line.
    pub fn tick(&mut self, bytes: u64, lines: u64) {
        if self.next_s.is_infinite() {
            return;
        }
        let seconds = self.started.seconds();
        if seconds < self.next_s {
            return;
        }
        self.next_s = seconds + EVERY_S;
        self.shown = true;
        self.say(&line(bytes, self.bytes_all, lines, seconds));
    }

    /// Takes the bar away. Call it before anything else is printed; a drop does it, too.
    pub fn finish(&mut self) {
        self.next_s = f64::INFINITY;
        if std::mem::take(&mut self.shown) {
            self.say("");
        }
    }

    fn say(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn line(bytes: u64, bytes_all: u64, lines: u64, seconds: f64) -> String {
    const WIDTH: u64 = 30;
    let part = |of: u64| bytes.min(bytes_all).saturating_mul(of) / bytes_all.max(1);
    let rate = lines as f64 / seconds.max(0.001) / 1000.0;
    let bar: String = (0..WIDTH).map(|at| if at < part(WIDTH) { '#' } else { '.' }).collect();
    format!("{bar} {:3} %  {rate:.0} thousand lines/s", part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_holds_part_and_speed() {
        let half = "###############............... ".to_owned() + " 50 %  2 thousand lines/s";
        assert_eq!(line(50, 100, 4000, 2.0), half);
        assert!(line(200, 100, 0, 0.0).contains("100 %"));
        assert!(line(0, 0, 0, 0.0).contains("  0 %"));
    }

    #[test]
    fn nobody_sees_a_bar_that_is_not_wanted() {
        let mut progress = Progress::new(false, u64::MAX);
        progress.tick(1, 1);
        assert!(!progress.shown);
    }
}
