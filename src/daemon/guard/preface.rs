//! What a terminal is told first: that this is no game, and how to end it.

use super::{Guard, Level};
use crate::ticket::BanTime;

impl Guard {
    /// Says on a terminal (or whatever else the lines stream to) that bans are real, for how long,
    /// and how to undo them.
    pub fn preface(&mut self) {
        let dry = "This is a dry run: nobody is banned, and the log tells who would be.";
        if !self.log.target().is_stream() {
            if self.options.dry_run {
                self.say(Level::NOTICE, "server", dry);
            }
            return;
        }
        let client = match self.options.socket.as_deref() {
            _ if rustix::process::geteuid().is_root() && self.options.socket.is_none() => {
                "sentryban-client".to_owned()
            }
            _ => format!("sentryban-client -s {}", self.main.socket.value),
        };
        let lines = match self.options.dry_run {
            true => vec![dry.to_owned(), format!("See what is counted: {client} status")],
            false => vec![
                "Bans are real: the firewall drops whoever fails too often.".to_owned(),
                format!("Who is out, and why: {client} status JAIL; {client} why ADDRESS"),
                format!("Let somebody in again: {client} unban ADDRESS (or --all)"),
                "Ctrl-C lifts all bans from the firewall; they come back with the next start."
                    .to_owned(),
            ],
        };
        for line in lines {
            self.say(Level::NOTICE, "server", &line);
        }
    }

    /// Says how long each jail bans.
    pub(super) fn tell_bantimes(&mut self) {
        if !self.log.target().is_stream() || self.options.dry_run {
            return;
        }
        let names: Vec<_> = self.engine.jails().cloned().collect();
        for name in names {
            let Some(rules) = self.engine.rules(&name) else { continue };
            let first = span(rules.bantime);
            let text = match (rules.increment.enabled, rules.longest()) {
                (true, Some(longest)) if longest != rules.bantime => {
                    format!("{first} at first, growing to {}", span(longest))
                }
                (true, None) => format!("{first} at first, growing"),
                _ => first,
            };
            let retries = rules.maxretry;
            let failures = if retries == 1 { "failure" } else { "failures" };
            let text = format!("Jail '{name}' bans after {retries} {failures}, for {text}");
            self.say(Level::NOTICE, "server", &text);
        }
    }
}

/// `10 min`, `30 d`, for ever.
fn span(time: BanTime) -> String {
    let BanTime::Seconds(seconds) = time else { return "ever".to_owned() };
    let units = [(86_400, "d"), (3600, "h"), (60, "min")];
    let unit = units.iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!("{} {name}", seconds / size),
        None => format!("{seconds} s"),
    }
}
