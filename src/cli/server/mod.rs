//! `sentryban-server`: starts the daemon, or only looks at its configuration (`-t`, `-d`, `--dp`).
//!
//! The flags stand in `flags.rs`; what a running server does stands in the room `daemon`.

pub mod flags;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use self::flags::TOOL;
use super::{
    CONFIG,
    exit::{self, Fault, is_closed_pipe},
    flags::{Asked, Given},
    terminal::plain,
};
use crate::{
    config::{self, Finding, Tree, words},
    daemon::{self, Options, Refusal, RefusalKind, helper, log::Level},
    time,
};

/// Runs the program with its arguments, the name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|argument| argument == helper::ARGUMENT) {
        return match helper::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let mut out = io::stdout().lock();
    match run(arguments, &mut out).and_then(|code| out.flush().map(|()| code).map_err(Stop::from)) {
        Ok(code) => ExitCode::from(code),
        Err(Stop::ClosedPipe) => ExitCode::SUCCESS,
        Err(Stop::Fault(fault)) => {
            // Nobody is left to tell if stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{}: {}", TOOL.name, fault.text);
            ExitCode::from(fault.code)
        }
    }
}

/// Why a run ends early.
enum Stop {
    /// Whoever read our output has had enough (`| head`): no fault.
    ClosedPipe,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        if is_closed_pipe(&error) { Stop::ClosedPipe } else { Stop::Fault(error.into()) }
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>, out: &mut impl Write) -> Result<u8, Stop> {
    let given = match TOOL.ask(arguments)? {
        Asked::Text(text) => {
            out.write_all(text.as_bytes())?;
            return Ok(0);
        }
        Asked::Work(given) => given,
    };
    if let Some(text) = given.text("str2sec")? {
        let seconds = words::seconds(&text).map_err(|error| {
            let text = plain(&text);
            Fault::usage(format!("'{text}' {error}; write a span such as 10m, 1h 30m, 2w"))
        })?;
        writeln!(out, "{seconds}")?;
        return Ok(0);
    }
    let pretty = given.is_set("dump-pretty");
    let dump = pretty || given.is_set("dump");
    let tree = tree(given.raw("conf").map(PathBuf::from))?;
    if !dump && !given.is_set("test") {
        out.flush()?;
        let options = options(&given, &tree)?;
        if given.is_set("lift") {
            for line in daemon::lift(&options).map_err(Fault::from)? {
                writeln!(out, "{line}")?;
            }
            return Ok(0);
        }
        daemon::serve(options).map_err(Fault::from)?;
        return Ok(0);
    }
    if dump {
        out.write_all(config::dump(&tree, pretty).as_bytes())?;
    }
    if given.is_set("test") {
        let report = config::test(&tree, rival(&tree), time::now());
        out.write_all(report.text(verbosity(&given)).as_bytes())?;
        return Ok(if report.passed() { 0 } else { exit::CONFIG });
    }
    Ok(0)
}

/// How long a start in the background may take, in seconds.
const TIMEOUT_S: u64 = 30;

/// What the command line says to the daemon.
fn options(given: &Given, tree: &Tree) -> Result<Options, Fault> {
    if given.is_set("foreground") && given.is_set("background") {
        return Err(Fault::usage("-f and -b: write one of the two"));
    }
    if let Some(level) = given.text("loglevel")?
        && Level::parse(&level).is_none()
    {
        let text = format!("--loglevel {}: write INFO, NOTICE, DEBUG … or a number", plain(&level));
        return Err(Fault::usage(text));
    }
    let timeout = given.parsed("timeout", "a number of seconds")?;
    Ok(Options {
        dir: tree.is_on_disk().then(|| tree.root().to_owned()),
        start_dir: std::env::current_dir().unwrap_or_default(),
        socket: given.text("socket")?,
        pidfile: given.text("pidfile")?,
        loglevel: given.text("loglevel")?,
        logtarget: given.text("logtarget")?,
        syslogsocket: given.text("syslogsocket")?,
        foreground: given.is_set("foreground"),
        dry_run: given.is_set("dry-run"),
        pname: given.text("pname")?,
        timeout_s: timeout.unwrap_or(TIMEOUT_S),
    })
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        let code = match refusal.kind {
            RefusalKind::Usage => exit::USAGE,
            RefusalKind::NoRight => exit::NOPERM,
            RefusalKind::Unavailable => exit::UNAVAILABLE,
        };
        Fault::new(code, refusal.text)
    }
}

/// How much to say: 0 as usual, less with each `-q`, more with each `-v`.
fn verbosity(given: &Given) -> i16 {
    i16::from(given.count("verbose")) - i16::from(given.count("quiet"))
}

/// A fail2ban that runs on the same tree would ban everybody a second time.
pub(super) fn rival(tree: &Tree) -> Vec<Finding> {
    let (main, _) = config::read_main(tree);
    let Some(socket) = main.fail2ban_socket else { return Vec::new() };
    match std::os::unix::net::UnixStream::connect(&socket.value) {
        Err(_) => Vec::new(),
        Ok(_) => {
            let what = format!("fail2ban runs on this tree: it answers on {}", socket.value);
            let write = "stop it with `systemctl disable --now fail2ban`";
            vec![Finding::fault(socket.at, what, write)]
        }
    }
}

/// The tree to read; a directory that was asked for must exist.
pub(super) fn tree(asked: Option<PathBuf>) -> Result<Tree, Fault> {
    let is_asked = asked.is_some();
    let dir = asked.unwrap_or_else(|| PathBuf::from(CONFIG));
    match (dir.is_dir(), is_asked) {
        (true, _) => Ok(Tree::new(Some(dir))),
        (false, false) => Ok(Tree::new(None)),
        (false, true) => {
            let dir = dir.to_string_lossy();
            let text = format!("-c {}: no such directory", plain(&dir));
            Err(Fault::new(exit::CONFIG, text))
        }
    }
}
