//! `sentryban-regex`: tries expressions and filters on a log and says what came of it.
//!
//! ```text
//! flags, options ──► target: what LOG and REGEX are ──► scan_all ──► report  (or out, with -o)
//! ```
//!
//! Begin with [`run`]. The report's layout is fail2ban-regex's, see `report.rs`; `out.rs` holds the
//! forms for programs.

mod beside;
pub mod debuggex;
pub mod flags;
pub mod options;
pub mod out;
mod page;
pub mod preamble;
pub mod progress;
pub mod report;
mod run;
pub mod target;
pub mod template;

use std::{
    ffi::OsString,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::{
    flags::TOOL,
    options::{Options, Request},
    target::{LogTarget, RegexTarget},
};
use super::{
    CONFIG,
    exit::{self, Fault, is_closed_pipe},
    terminal::plain,
};

/// Everything that a run needs: options, and what its words mean.
#[derive(Clone, Debug)]
pub struct Task {
    /// The command line.
    pub options: Options,
    /// Directory of the configuration.
    pub config: PathBuf,
    /// LOG; a file is known to be readable.
    pub log: LogTarget,
    /// REGEX.
    pub regex: RegexTarget,
    /// IGNOREREGEX.
    pub ignoreregex: Option<RegexTarget>,
    /// True if stdout is a terminal: texts must be made safe.
    pub to_terminal: bool,
}

/// Runs the tool with the arguments of the process, its own name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match try_run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::ClosedPipe) => ExitCode::SUCCESS,
        Err(Stop::Fault(fault)) => {
            // Nobody is left to tell if stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{}: {}", TOOL.name, fault.text);
            ExitCode::from(fault.code)
        }
    }
}

/// Why a run ends early.
#[derive(Debug)]
pub enum Stop {
    /// Whoever read our output has had enough (`| head`): no fault.
    ClosedPipe,
    /// A fault to be told.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

/// Only for writing to stdout: faults of reading are [`Fault`]s with the file's name.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        if is_closed_pipe(&error) { Stop::ClosedPipe } else { Stop::Fault(error.into()) }
    }
}

fn try_run(args: impl IntoIterator<Item = OsString>) -> Result<(), Stop> {
    let stdout = io::stdout();
    let to_terminal = stdout.is_terminal();
    let mut out = BufWriter::with_capacity(64 << 10, stdout.lock());
    match options::parse(args)? {
        Request::Text(text) => out.write_all(text.as_bytes())?,
        Request::Run(options) => run::scan_all(&Task::new(*options, to_terminal)?, &mut out)?,
    }
    Ok(out.flush()?)
}

impl Task {
    /// Decides what LOG, REGEX and IGNOREREGEX are and makes sure that the log can be read.
    ///
    /// # Errors
    /// See [`target`].
    pub fn new(options: Options, to_terminal: bool) -> Result<Task, Fault> {
        let is_file = Path::is_file;
        let config = options.config.clone().unwrap_or_else(|| PathBuf::from(CONFIG));
        if options.config.is_some() && !config.is_dir() {
            return Err(Fault::new(
                exit::NOINPUT,
                format!("-c {}: no such directory", plain(&config.to_string_lossy())),
            ));
        }
        // Pipes and devices are read, too (`<(zcat messages.1.gz)`); a directory gets its own message.
        let log = target::log_target(&options.log, Path::exists);
        let regex = target::regex_target(&options.regex, &config, is_file)?;
        let ignoreregex =
            options.ignoreregex.as_deref().map(|text| target::ignore_target(text, is_file));
        log.check()?;
        Ok(Task { options, config, log, regex, ignoreregex, to_terminal })
    }
}
