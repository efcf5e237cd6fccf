//! `Notes`: lines for the log, one behind the other in one text.
//!
//! Each failure has a line, so a flood of failures is one of lines, too.

use std::fmt::Write as _;

use super::{
    effects::{Level, Logger},
    words::{push_moment, shown},
};
use crate::{
    net::push_address,
    ticket::Id,
    time::{Timestamp, Zone},
};

/// Lines for the log, in their order.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    text: String,
    /// Of each line: how loud, under whose name, and where it ends.
    ends: Vec<(Level, Logger, usize)>,
    /// The second that was last written, and how; failures come by the hundreds in one.
    moment: Option<(i64, Zone, String)>,
}

/// A line for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Note<'a> {
    /// How loud.
    pub level: Level,
    /// Under whose name, without `fail2ban.` or `sentryban.` before it.
    pub logger: Logger,
    /// The line; an id in it may hold text of an attacker, without control characters.
    pub text: &'a str,
}

impl Notes {
    /// Adds a line.
    pub fn push(&mut self, level: Level, logger: Logger, text: &str) {
        self.text.push_str(text);
        self.end(level, logger);
    }

    /// A line of a jail: its name in brackets, then the text.
    pub(super) fn of_jail(&mut self, level: Level, logger: Logger, jail: &str, text: &str) {
        self.text.extend(["[", jail, "] ", text]);
        self.end(level, logger);
    }

    /// `[sshd] Found 192.0.2.1 - 2005-08-14 12:00:00`: one for each failure that counts.
    pub(super) fn found(&mut self, jail: &str, id: &Id, at: Timestamp, zone: Zone) {
        self.text.extend(["[", jail, "] Found "]);
        match id {
            Id::Ip(address) => push_address(&mut self.text, *address),
            Id::Text(_) => self.text.push_str(&shown(id)),
            // Writing to a String never fails.
            Id::Net(network) => drop(write!(self.text, "{network}")),
        }
        self.text.push_str(" - ");
        match &self.moment {
            Some((second, of, moment)) if (*second, *of) == (at.secs(), zone) => {
                self.text.push_str(moment);
            }
            _ => {
                let mut moment = String::new();
                push_moment(&mut moment, at, zone);
                self.text.push_str(&moment);
                self.moment = Some((at.secs(), zone, moment));
            }
        }
        self.end(Level::Info, Logger::Filter);
    }

    fn end(&mut self, level: Level, logger: Logger) {
        self.ends.push((level, logger, self.text.len()));
    }

    /// The lines.
    pub fn iter(&self) -> impl Iterator<Item = Note<'_>> {
        let mut from = 0;
        self.ends.iter().map(move |(level, logger, end)| {
            let text = self.text.get(from..*end).unwrap_or_default();
            from = *end;
            Note { level: *level, logger: *logger, text }
        })
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all lines, and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        // A zone may come to have another offset.
        self.moment = None;
    }
}

impl PartialEq for Notes {
    fn eq(&self, other: &Notes) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_one_by_one() {
        let mut notes = Notes::default();
        let zone = Zone::Fixed(0);
        notes.of_jail(Level::Notice, Logger::Actions, "sshd", "Ban 192.0.2.1");
        for (id, second) in [
            ("192.0.2.1", 1_124_013_600),
            ("2001:db8::1", 1_124_013_600),
            ("203.0.113.0/24", 1_124_013_601),
            ("bob", 1_124_013_600),
        ] {
            notes.found("sshd", &Id::parse(id), Timestamp::from_secs(second), zone);
        }
        notes.push(Level::Debug, Logger::Jail, "");
        let lines: Vec<(Level, Logger, &str)> =
            notes.iter().map(|note| (note.level, note.logger, note.text)).collect();
        let found = |text| (Level::Info, Logger::Filter, text);
        assert_eq!(
            lines,
            [
                (Level::Notice, Logger::Actions, "[sshd] Ban 192.0.2.1"),
                found("[sshd] Found 192.0.2.1 - 2005-08-14 10:00:00"),
                found("[sshd] Found 2001:db8::1 - 2005-08-14 10:00:00"),
                found("[sshd] Found 203.0.113.0/24 - 2005-08-14 10:00:01"),
                found("[sshd] Found bob - 2005-08-14 10:00:00"),
                (Level::Debug, Logger::Jail, ""),
            ]
        );
        notes.clear();
        assert!(notes.is_empty() && notes == Notes::default());
    }
}
