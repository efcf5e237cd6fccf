//! `sentryban-client`: one command (or, with `-i`, several) for the server, and its answer as
//! fail2ban-client would show it, or as JSON.
//!
//! Flags stand in `flags.rs`, commands in `control/commands`. `show.rs` lays answers out, `why.rs`
//! the one that fail2ban does not have; `launch.rs` starts the server.

mod complete;
pub mod flags;
pub mod help;
mod launch;
mod place;
pub mod show;
mod tables;
mod why;

use std::{
    borrow::Cow,
    ffi::OsString,
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use serde_json::{Value, json};

use self::flags::TOOL;
use super::{
    exit::{Fault, is_closed_pipe},
    flags::{Asked, Given, More},
    server::{rival, tree},
    terminal,
};
use crate::{
    config::{self, shell, words},
    control::{
        Answer, Refusal, Reply, Request,
        commands::{Misuse, Show, Task, parse},
        socket::{ANSWER_MAX, AskError, Connection, OpenError},
    },
    time,
};

/// What fail2ban-client ends with if anything went wrong.
const FAILED: u8 = 255;
/// How long to wait for a server that comes up or ends.
const WAIT: Duration = Duration::from_secs(30);
/// How long to wait for room if the server has many clients.
const CONNECT: Duration = Duration::from_secs(5);
/// The server says itself that an answer takes too long: it is given the time to.
const ANSWER: Duration = Duration::from_secs(ANSWER_MAX.as_secs() + 10);
/// A line of `-i` is at most so long.
const LINE_MAX: u64 = 1 << 20;

/// Runs the program with its arguments, the name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut out = io::stdout().lock();
    match run(arguments.into_iter().collect(), &mut out)
        .and_then(|code| out.flush().map(|()| code).map_err(Stop::from))
    {
        Ok(code) => ExitCode::from(code),
        Err(Stop::ClosedPipe) => ExitCode::SUCCESS,
        Err(Stop::Fault(fault)) => {
            tell(&fault.text);
            ExitCode::from(FAILED)
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

/// Why a command was not done.
#[derive(Debug)]
struct Failure {
    /// In a word, for programs.
    kind: &'static str,
    /// What is wrong.
    text: String,
    /// What to do about it.
    hint: Option<String>,
    /// The server said so, or would have: fail2ban-client writes that to standard output.
    is_answer: bool,
}

impl Failure {
    fn own(kind: &'static str, text: impl Into<String>, hint: Option<String>) -> Failure {
        Failure { kind, text: text.into(), hint, is_answer: false }
    }
}

impl From<Misuse> for Failure {
    fn from(misuse: Misuse) -> Failure {
        Failure { kind: "misuse", text: misuse.text, hint: misuse.hint, is_answer: true }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let text = refusal.to_string();
        let (kind, hint) = match refusal {
            Refusal::UnknownJail { hint, .. } => ("unknown-jail", hint),
            Refusal::DuplicateJail(_) => ("duplicate-jail", None),
            Refusal::Invalid(_) => ("invalid", None),
            Refusal::Forbidden(_) => ("forbidden", None),
            Refusal::Failed(_) => ("failed", None),
        };
        Failure { kind, text, hint, is_answer: true }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::own("usage", fault.text, None)
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Failure {
        Failure::own("no-answer", error.to_string(), None)
    }
}

fn run(arguments: Vec<OsString>, out: &mut dyn Write) -> Result<u8, Stop> {
    if arguments.get(1).is_some_and(|first| first == complete::ASKS) {
        let typed = arguments.into_iter().skip(2).collect();
        out.write_all(complete::answer(typed).as_bytes())?;
        return Ok(0);
    }
    let more = More { help: help::commands, completions: complete::script };
    let given = match TOOL.ask_more(arguments, more)? {
        Asked::Text(text) => {
            out.write_all(text.as_bytes())?;
            return Ok(0);
        }
        Asked::Work(given) => given,
    };
    if let Some(text) = given.text("str2sec")? {
        let seconds = words::seconds(&text).map_err(|error| {
            Fault::usage(format!("'{text}' {error}; write a span such as 10m, 1h 30m, 2w"))
        })?;
        writeln!(out, "{seconds}")?;
        return Ok(0);
    }
    let mut typed = given.list("COMMAND...")?;
    let json = given.is_set("json") | take(&mut typed, "--json");
    if !configuration(&given, out)? {
        return Ok(FAILED);
    }
    let is_check = given.is_set("test") || given.is_set("dump") || given.is_set("dump-pretty");
    let is_interactive = given.is_set("interactive");
    if typed.is_empty() && is_check && !is_interactive {
        return Ok(0);
    }
    if typed.is_empty() && !is_interactive {
        write!(out, "{}{}", TOOL.command().render_help(), help::commands())?;
        return Ok(FAILED);
    }
    let mut client = Client { json, wait: span(&given)?, socket: None, given };
    if !typed.is_empty() && !client.command(typed, out)? {
        return Ok(FAILED);
    }
    if is_interactive {
        client.interactive(out)?;
    }
    Ok(0)
}

/// Takes a word out, wherever it stands.
fn take(words: &mut Vec<String>, word: &str) -> bool {
    let before = words.len();
    words.retain(|typed| typed != word);
    words.len() < before
}

fn span(given: &Given) -> Result<Option<Duration>, Fault> {
    let Some(text) = given.text("timeout")? else { return Ok(None) };
    let wrong = |error: String| Fault::usage(format!("--timeout {text}: {error}"));
    let seconds = words::seconds(&text).map_err(wrong)?.as_f64();
    Duration::try_from_secs_f64(seconds).map(Some).map_err(|error| wrong(error.to_string()))
}

/// What `-d` and `-t` ask for; false if the configuration cannot be used.
fn configuration(given: &Given, out: &mut dyn Write) -> Result<bool, Stop> {
    let pretty = given.is_set("dump-pretty");
    let dump = pretty || given.is_set("dump");
    if !dump && !given.is_set("test") {
        return Ok(true);
    }
    let tree = tree(given.raw("conf").map(PathBuf::from))?;
    if dump {
        out.write_all(config::dump(&tree, pretty).as_bytes())?;
    }
    if !given.is_set("test") {
        return Ok(true);
    }
    let report = config::test(&tree, rival(&tree), time::now());
    // On to a command without a word, as fail2ban-client does it.
    let is_last = given.list("COMMAND...")?.is_empty() && !given.is_set("interactive");
    if is_last || !report.passed() {
        let verbosity = i16::from(given.count("verbose")) - i16::from(given.count("quiet"));
        out.write_all(report.text(verbosity).as_bytes())?;
    }
    Ok(report.passed())
}

/// One run of the program.
struct Client {
    given: Given,
    json: bool,
    /// `--timeout`.
    wait: Option<Duration>,
    socket: Option<PathBuf>,
}

impl Client {
    /// Does one command and shows what came of it; false if it failed.
    fn command(&mut self, mut typed: Vec<String>, out: &mut dyn Write) -> Result<bool, Stop> {
        let json = self.json | take(&mut typed, "--json");
        if typed.iter().any(|word| word == "--help") {
            typed = vec!["help".to_owned()];
        }
        match self.done(&typed) {
            Ok(Said { text, value }) => {
                match json {
                    true => writeln!(out, "{}", as_json(&value))?,
                    false => writeln!(out, "{}", shown(&text, io::stdout().is_terminal()))?,
                }
                out.flush()?;
                Ok(true)
            }
            Err(failure) => {
                self.fail(&failure, json, out)?;
                Ok(false)
            }
        }
    }

    fn fail(&self, failure: &Failure, json: bool, out: &mut dyn Write) -> Result<(), Stop> {
        let Failure { kind, text, hint, is_answer } = failure;
        if json {
            let value = json!({"error": {"kind": kind, "text": text, "hint": hint}});
            writeln!(out, "{}", as_json(&value))?;
            return Ok(out.flush()?);
        }
        if *is_answer {
            writeln!(out, "{}", shown(text, io::stdout().is_terminal()))?;
            out.flush()?;
        }
        let hint = hint.as_deref().filter(|_| self.given.count("quiet") == 0);
        match (is_answer, hint) {
            (true, None) => {}
            (true, Some(hint)) => tell(hint),
            (false, None) => tell(text),
            (false, Some(hint)) => tell(&format!("{text}\n  {hint}")),
        }
        Ok(())
    }

    fn done(&mut self, typed: &[String]) -> Result<Said, Failure> {
        match parse(typed)? {
            Task::Help => {
                let text = help::commands();
                let text = text.trim().to_owned();
                Ok(Said { value: Value::String(text.clone()), text })
            }
            Task::Start => self.start(),
            Task::Restart => self.restart(),
            Task::Ping(seconds) => {
                let within = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.ask(&Request::Ping, &Show::Plain, within)
            }
            Task::Ask { mut request, show } => {
                if let Request::Import { files, .. } = &mut request {
                    files.iter_mut().try_for_each(make_absolute)?;
                }
                self.ask(&request, &show, None)
            }
        }
    }

    fn socket(&mut self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let socket = place::socket(&self.given)?;
        if self.given.count("verbose") > 0 {
            tell(&format!("the socket is {}", socket.display()));
        }
        self.socket = Some(socket.clone());
        Ok(socket)
    }

    fn ask(
        &mut self,
        request: &Request,
        show: &Show,
        within: Option<Duration>,
    ) -> Result<Said, Failure> {
        let socket = self.socket()?;
        let connect = within.or(self.wait).unwrap_or(CONNECT);
        let mut server =
            Connection::open(&socket, connect).map_err(|error| self.nobody(&error, &socket))?;
        match server.ask(request, within.or(self.wait).unwrap_or(ANSWER))? {
            Reply::Ok(answer) => Ok(Said {
                text: show::answer(request, show, &answer),
                value: value(request, &answer),
            }),
            Reply::Error(refusal) => Err(refusal.into()),
        }
    }

    /// Nobody answers: what to do about it.
    fn nobody(&self, error: &OpenError, socket: &Path) -> Failure {
        let (kind, hint) = match error {
            OpenError::Missing(_) | OpenError::Silent(_) => {
                let mut start = TOOL.name.to_owned();
                for (id, flag) in [("conf", "-c"), ("socket", "-s")] {
                    if let Some(value) = self.given.raw(id) {
                        start.push_str(&format!(" {flag} {}", value.to_string_lossy()));
                    }
                }
                let mut hint = format!("start it: {start} start");
                if self.given.raw("socket").is_none() {
                    hint.push_str(
                        "\n  or name its socket with -s FILE, or its configuration with -c DIR",
                    );
                }
                ("no-server", Some(hint))
            }
            OpenError::Denied(_) => ("denied", None),
            OpenError::Busy(_) => ("busy", None),
            OpenError::Io(..) if socket.as_os_str().len() > 100 => {
                ("no-server", Some("the path of a socket has at most 107 bytes".to_owned()))
            }
            OpenError::Io(..) => ("no-server", None),
        };
        Failure::own(kind, error.to_string(), hint)
    }

    fn start(&mut self) -> Result<Said, Failure> {
        let socket = self.socket()?;
        if launch::answers(&socket) {
            return Err(Failure::own("running", "Server already running", None));
        }
        if self.given.is_set("foreground") && !self.given.is_set("background") {
            return Err(Failure::own("not-started", launch::become_server(&self.given), None));
        }
        launch::start(&self.given, &socket, self.wait.unwrap_or(WAIT))
            .map_err(|text| Failure::own("not-started", text, None))?;
        Ok(Said { text: "Server ready".to_owned(), value: Value::String("ready".to_owned()) })
    }

    fn restart(&mut self) -> Result<Said, Failure> {
        let socket = self.socket()?;
        let wait = self.wait.unwrap_or(WAIT);
        if launch::answers(&socket) {
            let stop = Request::Stop { unless_restarting: false, restarting: true };
            self.ask(&stop, &Show::Plain, None)?;
            if !launch::wait(&socket, false, wait) {
                let seconds = wait.as_secs();
                let text = format!("Could not stop server: it still answers after {seconds} s");
                return Err(Failure::own("not-stopped", text, None));
            }
        }
        self.start()
    }

    fn interactive(&mut self, out: &mut dyn Write) -> Result<(), Stop> {
        writeln!(out, "sentryban {}: type help for the commands, exit to end\n", crate::VERSION)?;
        let mut input = io::stdin().lock();
        loop {
            write!(out, "sentryban> ")?;
            out.flush()?;
            let mut line = String::new();
            let count = io::Read::take(&mut input, LINE_MAX).read_line(&mut line);
            match count {
                Ok(0) => return Ok(writeln!(out)?),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tell("the line is not UTF-8");
                    continue;
                }
                Err(error) => return Err(Fault::new(super::exit::IOERR, error.to_string()).into()),
            }
            match shell::words(&line) {
                None => tell("a quote is not closed"),
                Some(typed) => match typed.first().map(String::as_str) {
                    None => {}
                    Some("exit" | "quit") => return Ok(()),
                    // What failed was told; the next line is another command.
                    Some(_) => drop(self.command(typed, out)?),
                },
            }
        }
    }
}

/// What came of a command.
struct Said {
    text: String,
    value: Value,
}

/// The answer for programs: what it is, without the name of its type.
fn value(request: &Request, answer: &Answer) -> Value {
    match (request, answer) {
        (Request::Ping, _) => Value::String("pong".to_owned()),
        _ => answer.value(),
    }
}

fn make_absolute(file: &mut String) -> Result<(), Failure> {
    let wrong = |text: String| Failure::own("usage", format!("import {file}: {text}"), None);
    let path = std::path::absolute(&*file).map_err(|error| wrong(error.to_string()))?;
    let path = path.into_os_string().into_string();
    *file = path.map_err(|_| wrong("its path is not UTF-8".to_owned()))?;
    Ok(())
}

/// JSON on one line, with everything escaped that a terminal would obey: that is JSON still.
fn as_json(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for letter in text.chars() {
        match terminal::is_obeyed(letter) {
            false => out.push(letter),
            true => {
                for unit in letter.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

/// Text as it may be shown: lines stay lines.
fn shown(text: &str, to_terminal: bool) -> Cow<'_, str> {
    if !to_terminal {
        return Cow::Borrowed(text);
    }
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(terminal::plain).collect();
    Cow::Owned(lines.join("\n"))
}

/// Tells whoever typed the command; nobody is left to tell if stderr is closed.
fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}: {}", TOOL.name, shown(text, true));
}
