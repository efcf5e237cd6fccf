//! Our own log, in fail2ban's shape, because recidive jails and exporters read it:
//!
//! ```text
//! 2026-11-20 10:00:00,123 sentryban.actions       [1234]: NOTICE  [sshd] Ban 192.0.2.1
//! ```
//!
//! Only the loop writes it, so there is no lock; threads say what they have to say through the
//! inbox. A line is one line whatever an attacker put into it: control characters are shown as
//! `\x0a`. Where a target cannot be written, the lines are counted, and the count is told when it
//! works again.

mod layout;
mod target;

use std::{borrow::Cow, fmt, io};

pub use self::target::{BadTarget, Target, syslog_socket};
use self::{layout::Layout, target::Sink};
use crate::time::Timestamp;

/// How much a line matters; the numbers are those of fail2ban (Python's logging).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Level(pub u8);

impl Level {
    /// Nothing works.
    pub const CRITICAL: Level = Level(50);
    /// Something does not work.
    pub const ERROR: Level = Level(40);
    /// Somebody should look.
    pub const WARNING: Level = Level(30);
    /// Bans and unbans.
    pub const NOTICE: Level = Level(25);
    /// What was found, what started.
    pub const INFO: Level = Level(20);
    /// For whoever looks for a fault.
    pub const DEBUG: Level = Level(10);

    /// Reads a level's name, or its number.
    pub fn parse(word: &str) -> Option<Level> {
        let upper = word.trim().to_uppercase();
        let named = LEVELS.iter().find(|(name, _)| *name == upper).map(|(_, level)| *level);
        named.or_else(|| upper.parse().ok().map(Level))
    }

    /// Its name; levels between two names are `Level N`, as Python has it.
    pub fn name(self) -> Cow<'static, str> {
        let named = LEVELS.iter().find(|(_, level)| *level == self);
        named.map_or_else(|| format!("Level {}", self.0).into(), |(name, _)| (*name).into())
    }

    /// The severity that syslog and the journal give to it.
    fn severity(self) -> u8 {
        match self.0 {
            50.. => 2,
            40.. => 3,
            30.. => 4,
            25.. => 5,
            20.. => 6,
            _ => 7,
        }
    }
}

const LEVELS: &[(&str, Level)] = &[
    ("CRITICAL", Level::CRITICAL),
    ("ERROR", Level::ERROR),
    ("WARNING", Level::WARNING),
    ("NOTICE", Level::NOTICE),
    ("INFO", Level::INFO),
    ("DEBUG", Level::DEBUG),
    ("TRACEDEBUG", Level(7)),
    ("HEAVYDEBUG", Level(5)),
];

/// Where the server's lines go.
#[derive(Debug)]
pub struct Log {
    level: Level,
    /// `fail2ban` or `sentryban`: what stands before the dot of a logger's name.
    family: &'static str,
    pid: u32,
    target: Target,
    layout: Layout,
    /// What stands before the words of the last line, and of which lines.
    head: String,
    head_of: Option<(Timestamp, Level, &'static str)>,
    sink: Sink,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

impl Log {
    /// A log with one target.
    ///
    /// # Errors
    /// The target cannot be opened.
    pub fn open(target: Target, level: Level, fail2ban_names: bool) -> io::Result<Log> {
        let sink = target.open()?;
        Ok(Log {
            level,
            family: if fail2ban_names { "fail2ban" } else { "sentryban" },
            pid: std::process::id(),
            layout: Layout::of(&target),
            head: String::new(),
            head_of: None,
            target,
            sink,
            lost: 0,
        })
    }

    /// The level from which on lines are written.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Changes it.
    pub fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Where lines go.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends lines elsewhere from now on.
    ///
    /// # Errors
    /// The new target cannot be opened; the old one stays.
    pub fn set_target(&mut self, target: Target) -> io::Result<()> {
        let sink = target.open()?;
        self.flush();
        self.layout = Layout::of(&target);
        self.head_of = None;
        (self.target, self.sink) = (target, sink);
        Ok(())
    }

    /// Opens a file anew, after logrotate has moved it.
    ///
    /// # Errors
    /// The file cannot be opened; lines go on into the old one.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.flush();
        self.sink = self.target.open()?;
        Ok(())
    }

    /// True if a line of this level would be written.
    pub fn takes(&self, level: Level) -> bool {
        level >= self.level
    }

    /// Writes a line. `logger` is what stands behind the dot: `actions`, `filter`, `server`, ….
    pub fn write(
        &mut self,
        now: Timestamp,
        level: Level,
        logger: &'static str,
        text: fmt::Arguments<'_>,
    ) {
        if self.takes(level) {
            self.say(now, level, logger, &text.to_string());
        }
    }

    /// The same for a text that is there already.
    pub fn say(&mut self, now: Timestamp, level: Level, logger: &'static str, text: &str) {
        if !self.takes(level) {
            return;
        }
        if self.lost > 0 && self.sink.can_write() {
            let lost = std::mem::take(&mut self.lost);
            let words = format!("{lost} lines before this one could not be written");
            self.put(now, Level::WARNING, "server", &words);
        }
        self.put(now, level, logger, text);
    }

    fn put(&mut self, now: Timestamp, level: Level, logger: &'static str, text: &str) {
        let text = layout::one_line(text);
        let of = (now, level, logger);
        if !self.layout.ends_in_message() || self.head_of != Some(of) {
            let name = format!("{}.{logger}", self.family);
            let line = layout::Line { now, level, name: &name, pid: self.pid, text: &text };
            self.head.clear();
            self.layout.render(&line, &mut self.head);
            self.head_of = Some(of);
        }
        let words = if self.layout.ends_in_message() { &*text } else { "" };
        if self.sink.write(level.severity(), &self.head, words).is_err() {
            self.lost += 1;
        }
    }

    /// Hands on what is still in our own memory.
    pub fn flush(&mut self) {
        if self.sink.flush().is_err() {
            self.lost += 1;
        }
    }

    /// The process has another number: it went to the background.
    pub fn forked(&mut self) {
        self.pid = std::process::id();
        self.head_of = None;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_numbers() {
        let rows = [("notice", Level::NOTICE), ("ERROR", Level::ERROR), ("15", Level(15))];
        for (word, level) in rows {
            assert_eq!(Level::parse(word), Some(level), "{word}");
        }
        assert_eq!(Level::parse("loud"), None);
        assert_eq!(Level(15).name(), "Level 15");
        assert_eq!(Level::NOTICE.name(), "NOTICE");
    }

    #[test]
    fn a_file_gets_lines_in_fail2bans_shape() {
        let dir = std::env::temp_dir().join(format!("sentryban-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("own.log");
        let target = Target::parse(path.to_str().unwrap(), "auto").unwrap();
        let mut log = Log::open(target, Level::INFO, true).unwrap();
        let now = Timestamp::from_micros(1_124_013_600_123_456);
        log.write(now, Level::NOTICE, "actions", format_args!("[sshd] Ban 192.0.2.1"));
        log.write(now, Level::DEBUG, "actions", format_args!("not seen"));
        log.write(now, Level::WARNING, "filter", format_args!("two\nlines \x1b[31m"));
        log.say(now, Level::WARNING, "filter", "the same moment");
        log.say(now, Level::WARNING, "actions", "another logger");
        log.say(Timestamp::from_micros(1_124_013_600_124_000), Level::WARNING, "actions", "later");
        let format = format!("{}[format=\"%(message)s by %(name)s\"]", path.display());
        log.set_target(Target::parse(&format, "auto").unwrap()).unwrap();
        log.say(now, Level::WARNING, "actions", "of another shape");
        log.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        let pid = std::process::id();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert!(
            lines[0].ends_with(&format!(
                ",123 fail2ban.actions        [{pid}]: NOTICE  [sshd] Ban 192.0.2.1"
            )),
            "{text}"
        );
        assert!(lines[1].ends_with(&format!("[{pid}]: WARNING two\\x0alines \\x1b[31m")), "{text}");
        for (line, ending) in lines[2..].iter().zip([
            format!(",123 fail2ban.filter         [{pid}]: WARNING the same moment"),
            format!(",123 fail2ban.actions        [{pid}]: WARNING another logger"),
            format!(",124 fail2ban.actions        [{pid}]: WARNING later"),
            "of another shape by fail2ban.actions".to_owned(),
        ]) {
            assert!(line.ends_with(&ending), "{text}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
