//! Plan: what is to be run, in order and not yet run; prints as shell lines for people.

use super::sets::SetBatch;

/// How long a command may take unless it says otherwise, in seconds; fail2ban's default.
pub const TIMEOUT_S: u64 = 60;

/// Steps, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// What is to be done.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// What is to be done.
    pub work: Work,
    /// Whose step it is: if it fails, only this one of the verb's bans failed, and its other steps
    /// are left out. None stands for all of them: then the plan stops there, and if it is one of
    /// several bans, the runner halves them to find the one that cannot be done.
    pub of: Option<usize>,
}

/// What a step does.
#[derive(Clone, Debug, Eq, PartialEq)]
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
    /// Changes lines of a file.
    Edit(EditFile),
    /// Changes sets of nftables or of ipset: by netlink where that is there, else by the tool.
    Sets(SetBatch),
}

/// A program with its arguments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: String,
    /// It may take so long, in seconds.
    pub timeout_s: u64,
    /// Exit codes that are no failure.
    pub ok: Vec<i32>,
    /// A failure whose message holds one of these is none: what was to be done is done already.
    pub forgive: Vec<&'static str>,
}

/// A script of the administrator's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shell {
    /// What `sh -c` gets. Nothing in it was written by an attacker.
    pub script: String,
    /// What the script reads as `$f2bV_…`.
    pub env: Vec<(String, String)>,
    /// It may take so long, in seconds.
    pub timeout_s: u64,
}

/// A change to a file of lines: written beside it and renamed over it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EditFile {
    /// The file; it is made if it is missing.
    pub path: String,
    /// These lines are in it afterwards, each once.
    pub add: Vec<String>,
    /// These are not.
    pub remove: Vec<String>,
    /// Lines that begin so are ours, and go when all is lifted.
    pub remove_ending: Option<String>,
}
