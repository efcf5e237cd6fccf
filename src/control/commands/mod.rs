//! The commands that people type: one table for the parser, `--help`, the man page and completions.
//!
//! A command is written down once, as a [`Command`] row in `table.rs`; [`parse`] turns words into
//! what is to be done, [`candidates`] says what could come next.

mod complete;
mod parse;
mod table;

pub use complete::candidates;
pub use parse::{Misuse, Taken, parse};
pub use table::COMMANDS;

use super::protocol::Request;

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// The words that make it out, in order; those in capitals stand for a value.
    pub words: &'static [&'static str],
    /// Switches that may follow them, in any order.
    pub switches: &'static [&'static str],
    /// What comes last.
    pub args: &'static [Arg],
    /// Under which heading it is shown.
    pub group: Group,
    /// What it does, in a sentence without a full stop.
    pub doc: &'static str,
    /// Makes it from what was typed.
    pub make: fn(&mut Taken) -> Result<Task, Misuse>,
}

/// What follows the words of a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arg {
    /// One value.
    One(&'static str),
    /// One value or none.
    Maybe(&'static str),
    /// One value or more.
    Many(&'static str),
    /// Any number of values.
    Any(&'static str),
}

/// The headings of the list of commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Group {
    /// Start, stop, look.
    Basic,
    /// The log of the server.
    Logging,
    /// Its database.
    Database,
    /// Jails as a whole.
    JailControl,
    /// What a jail is told.
    JailConfiguration,
    /// What its actions are told.
    ActionConfiguration,
    /// What a jail knows.
    JailInformation,
    /// What its actions know.
    ActionInformation,
}

impl Group {
    /// All of them, in the order of the docs.
    pub const ALL: [Group; 8] = [
        Group::Basic,
        Group::Logging,
        Group::Database,
        Group::JailControl,
        Group::JailConfiguration,
        Group::ActionConfiguration,
        Group::JailInformation,
        Group::ActionInformation,
    ];

    /// Its name.
    pub fn title(self) -> &'static str {
        match self {
            Group::Basic => "Basic",
            Group::Logging => "Logging",
            Group::Database => "Database",
            Group::JailControl => "Jail control",
            Group::JailConfiguration => "Jail configuration",
            Group::ActionConfiguration => "Action configuration",
            Group::JailInformation => "Jail information",
            Group::ActionInformation => "Action information",
        }
    }
}

/// What is to be done about a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Ask the server.
    Ask {
        /// This.
        request: Request,
        /// How to show the answer.
        show: Show,
    },
    /// Start the server, and wait for it.
    Start,
    /// Stop the server, wait for its end, and start it.
    Restart,
    /// Ask whether the server is there, within so many seconds.
    Ping(Option<f64>),
    /// Show the commands.
    Help,
}

/// How an answer is shown where there is a choice.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Show {
    /// As it is shown by default.
    #[default]
    Plain,
    /// Bans with their times, one a line.
    WithTime,
    /// Bans with this between them.
    Between(String),
}

impl Command {
    /// How it is written: `set JAIL unbanip [--report-absent] IP...`.
    pub fn usage(&self) -> String {
        let mut parts: Vec<String> = self.words.iter().map(|word| (*word).to_owned()).collect();
        parts.extend(self.switches.iter().map(|switch| format!("[{switch}]")));
        parts.extend(self.args.iter().map(|arg| match arg {
            Arg::One(name) => (*name).to_owned(),
            Arg::Maybe(name) => format!("[{name}]"),
            Arg::Many(name) => format!("{name}..."),
            Arg::Any(name) => format!("[{name}...]"),
        }));
        parts.join(" ")
    }

    /// The words that are typed as they stand, in their places.
    fn literals(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.words.iter().copied().enumerate().filter(|(_, word)| !is_value(word))
    }
}

/// True for a word in capitals, which stands for a value.
fn is_value(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for (at, command) in COMMANDS.iter().enumerate() {
            let usage = command.usage();
            assert!(!command.doc.is_empty() && !command.doc.ends_with('.'), "{usage}");
            assert!(!is_value(command.words[0]), "{usage}");
            let open = |arg: &Arg| !matches!(arg, Arg::One(_));
            let opened = command.args.iter().position(open).unwrap_or(command.args.len());
            assert!(command.args.iter().skip(opened).all(open), "{usage}");
            let list = |arg: &Arg| matches!(arg, Arg::Many(_) | Arg::Any(_));
            let lists = command.args.iter().filter(|arg| list(arg)).count();
            assert!(lists == 0 || list(command.args.last().unwrap()), "{usage}");
            for other in &COMMANDS[at + 1..] {
                assert_ne!(usage, other.usage());
            }
        }
        for group in Group::ALL {
            assert!(COMMANDS.iter().any(|command| command.group == group), "{}", group.title());
        }
    }
}
