//! Plan: what is to be run, in order and not yet run; prints as shell lines for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sets::SetBatch;

/// How long a command may take unless it says otherwise, in seconds; fail2ban's default.
pub const TIMEOUT_S: u64 = 60;

/// Of a long standard input people are shown so many lines.
const SHOWN_LINES_MAX: usize = 40;

/// Steps, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// What is to be done.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What is to be done.
    pub work: Work,
    /// Whose step it is: if it fails, only this one of the verb's bans failed, and its other steps
    /// are left out. None stands for all of them: then the plan stops there, and if it is one of
    /// several bans, the runner halves them to find the one that cannot be done.
    pub of: Option<usize>,
}

/// What a step does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Work {
    /// Runs a program, without a shell.
    Command(Command),
    /// Runs a command only if another one fails: `probe || run`.
    Unless {
        /// The question.
        probe: Command,
        /// What is done if it fails.
        run: Command,
    },
    /// Runs a script that an administrator wrote, by `sh -c`.
    Shell(Shell),
    /// Changes our section of a file of lines.
    Edit(EditFile),
    /// Changes sets of nftables or ipset, or chains of iptables: by netlink where that is there,
    /// else by the tool.
    Sets(SetBatch),
    /// Does nothing but say so in the log.
    Say(String),
}

/// A program with its arguments.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: String,
    /// It may take so long, in seconds.
    pub timeout_s: u64,
    /// Exit codes that are no failure.
    pub ok: Vec<i32>,
    /// A failure each line of whose message holds one of these is none: what was to be done is
    /// done already.
    pub forgive: Vec<String>,
    /// It failed if it does not print all of these.
    pub expect: Vec<String>,
}

/// A script of the administrator's own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Shell {
    /// What `sh -c` gets. Nothing in it was written by an attacker.
    pub script: String,
    /// What the script reads as `$f2bV_…`.
    pub env: Vec<(String, String)>,
    /// It may take so long, in seconds.
    pub timeout_s: u64,
}

/// A change to our section of a file, which stands on top between two comments; the file is
/// written beside itself and renamed, and everything else in it stays as it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EditFile {
    /// The file; it is made if it is missing.
    pub path: String,
    /// Names the section.
    pub section: String,
    /// What is to be done.
    pub change: LineChange,
}

/// What happens to the lines of our section.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LineChange {
    /// Looks whether lines of this file can have an effect, and says so if not.
    Inspect,
    /// These lines are in it afterwards, each once.
    Add(Vec<String>),
    /// These are not.
    Remove(Vec<String>),
    /// The section is gone.
    Clear,
    /// Fails if one of these is missing.
    Check(Vec<String>),
    /// Prints its lines.
    List,
}

impl Plan {
    /// A plan of one step.
    pub fn one(work: Work) -> Plan {
        Plan { steps: vec![Step { work, of: None }] }
    }

    /// Adds a step that is about all.
    pub fn then(mut self, work: Work) -> Plan {
        self.steps.push(Step { work, of: None });
        self
    }

    /// Adds a step that is about one of the bans.
    pub fn then_of(mut self, index: usize, work: Work) -> Plan {
        self.steps.push(Step { work, of: Some(index) });
        self
    }

    /// Adds all steps of another plan.
    pub fn and(mut self, other: Plan) -> Plan {
        self.steps.extend(other.steps);
        self
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Command {
    /// A command with its program's name and arguments.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Command {
        Command {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: String::new(),
            timeout_s: TIMEOUT_S,
            ok: vec![0],
            forgive: Vec::new(),
            expect: Vec::new(),
        }
    }

    /// Arguments written in one text, parted by single blanks. Only for constants and for words
    /// that cannot hold a blank.
    pub fn words(text: &str) -> Command {
        Command::new(text.split(' '))
    }

    /// More arguments.
    pub fn args<S: Into<String>>(mut self, more: impl IntoIterator<Item = S>) -> Command {
        self.argv.extend(more.into_iter().map(Into::into));
        self
    }

    /// What it reads.
    pub fn stdin(mut self, text: String) -> Command {
        self.stdin = text;
        self
    }

    /// Messages that are no failure.
    pub fn forgive(mut self, messages: &[&str]) -> Command {
        self.forgive = messages.iter().map(|text| (*text).to_owned()).collect();
        self
    }

    /// What it must print.
    pub fn expect(mut self, text: impl Into<String>) -> Command {
        self.expect.push(text.into());
        self
    }
}

/// A word as a shell takes it: bare if that is safe, else in single quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+^".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What an attacker wrote, without what would steer a terminal.
pub fn shown(text: &str) -> String {
    let harmless = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{}", step.work)?;
        }
        Ok(())
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Command(command) => command.fmt(f),
            Work::Unless { probe, run } => write!(f, "{probe} || {run}"),
            Work::Shell(shell) => shell.fmt(f),
            Work::Edit(edit) => edit.fmt(f),
            Work::Sets(batch) => batch.fmt(f),
            Work::Say(text) => f.write_str(&shown(text)),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.argv.iter().map(|word| quoted(&shown(word))).collect();
        f.write_str(&words.join(" "))?;
        for text in &self.expect {
            write!(f, " | grep -F {}", quoted(&shown(text)))?;
        }
        here_document(f, &self.stdin)
    }
}

/// Shows what a command reads, in the form in which a shell would give it to it.
pub(super) fn here_document(f: &mut fmt::Formatter<'_>, stdin: &str) -> fmt::Result {
    if stdin.is_empty() {
        return Ok(());
    }
    f.write_str(" <<'END'\n")?;
    for line in stdin.lines().take(SHOWN_LINES_MAX) {
        writeln!(f, "{}", shown(line))?;
    }
    match stdin.lines().count().saturating_sub(SHOWN_LINES_MAX) {
        0 => f.write_str("END"),
        more => write!(f, "# … and {more} lines more\nEND"),
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.env {
            write!(f, "{name}={} ", quoted(&shown(value)))?;
        }
        write!(f, "sh -c {}", quoted(&shown(&self.script)))
    }
}

impl fmt::Display for EditFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, lines) = match &self.change {
            LineChange::Inspect => ("inspect", &[][..]),
            LineChange::Add(lines) => ("add to", lines.as_slice()),
            LineChange::Remove(lines) => ("remove from", lines.as_slice()),
            LineChange::Clear => ("clear", &[][..]),
            LineChange::Check(lines) => ("look into", lines.as_slice()),
            LineChange::List => ("list", &[][..]),
        };
        write!(f, "# {verb} {} [{}]", quoted(&self.path), self.section)?;
        lines.iter().try_for_each(|line| write!(f, "\n#   {}", shown(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_print_as_a_shell_would_read_them() {
        let rows = [
            (Command::words("ipfw -q list 111"), "ipfw -q list 111"),
            (Command::new(["ipfw", "table(a)", "it's", ""]), r"ipfw 'table(a)' 'it'\''s' ''"),
            (Command::new(["x", "\u{1b}[2J"]), "x '\u{fffd}[2J'"),
            (Command::words("nft -f -").stdin("a\nb\n".into()), "nft -f - <<'END'\na\nb\nEND"),
        ];
        for (command, text) in rows {
            assert_eq!(command.to_string(), text);
        }
    }
}
