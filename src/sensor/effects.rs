//! What the sensor wants done, as values: lines, detections, commands, questions.

use std::{net::IpAddr, sync::Arc};

use super::{packet::Proto, settings::Mode};
use crate::time::Timestamp;

/// A command of the administrator's may take so long, in seconds.
pub const COMMAND_TIMEOUT_S: u64 = 30;

/// What a call of [`super::Sensor`] wants done. The caller takes it out and clears it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// For syslog, the log file, the terminal; in this order.
    pub lines: Vec<Line>,
    /// For jails on the sensor.
    pub detections: Vec<Detection>,
    /// To be run, each one's steps in order; the answer goes to [`super::Sensor::handle_outcome`].
    pub responses: Vec<Response>,
    /// Lines for files of portsentry's.
    pub records: Vec<Record>,
    /// Addresses whose names are to be looked up, for [`super::Sensor::handle_name`].
    pub lookups: Vec<IpAddr>,
    /// The connection at hand gets the banner.
    pub banner: bool,
}

impl Effects {
    /// True if nothing is to be done.
    pub fn is_empty(&self) -> bool {
        *self == Effects::default()
    }

    /// Empties it, and keeps its room.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.detections.clear();
        self.responses.clear();
        self.records.clear();
        self.lookups.clear();
        self.banner = false;
    }
}

/// A line for the log, without tag and time: both are added by whoever writes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// When it was said.
    pub time: Timestamp,
    /// Printable text on one line.
    pub text: Arc<str>,
}

/// A failure for the jails with `backend = sensor`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Detection {
    /// When the probe came.
    pub time: Timestamp,
    /// The line that is, or would be, written of it: what filters match.
    pub text: Arc<str>,
    /// Whose probe it was.
    pub source: IpAddr,
    /// TCP or UDP.
    pub proto: Proto,
    /// The port.
    pub port: u16,
    /// No line was written: a jail holds a ban of the source, or lines are being coalesced.
    pub quiet: bool,
}

/// What is to be done against one host, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    /// Names it in [`super::Sensor::handle_outcome`].
    pub id: u64,
    /// Against whom.
    pub host: IpAddr,
    /// The steps; each is run whatever became of the ones before.
    pub steps: Vec<Step>,
}

/// One step of a [`Response`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// `KILL_HOSTS_DENY`: this line stands in the file afterwards, once.
    Deny {
        /// The file.
        path: String,
        /// The line.
        line: String,
    },
    /// `KILL_ROUTE`.
    Route(Shell),
    /// `KILL_RUN_CMD`.
    Run(Shell),
}

/// A command that the administrator wrote, run by `sh -c`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shell {
    /// What `sh -c` gets. The macros are filled in; addresses, numbers and words of ours are all
    /// that they can hold.
    pub script: String,
    /// It may take so long, in seconds.
    pub timeout_s: u64,
}

/// What became of the steps of a [`Response`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Which response.
    pub id: u64,
    /// One for each step, in their order: nothing, or why it failed (exit code, what the command
    /// said). What is missing counts as failed.
    pub steps: Vec<Result<(), String>>,
}

/// A line for one of portsentry's files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Which.
    pub file: RecordFile,
    /// The line, without its end.
    pub line: String,
}

/// portsentry's files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RecordFile {
    /// `HISTORY_FILE`, which only grows.
    History,
    /// `BLOCKED_FILE.MODE`, which is emptied at each start.
    Blocked(Mode),
}
