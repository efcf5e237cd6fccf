//! `start`: finds the server, starts it, and waits until it answers.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    cli::flags::Given,
    control::{Reply, Request, socket::Connection},
    time::Stopwatch,
};

const SERVER: &str = "sentryban-server";
/// How long to wait before the server is asked again.
const AGAIN: Duration = Duration::from_millis(20);
/// A server that is there answers sooner.
const PING: Duration = Duration::from_millis(500);

/// True if a server answers there.
pub fn answers(socket: &Path) -> bool {
    let reply = Connection::open(socket, PING)
        .ok()
        .and_then(|mut server| server.ask(&Request::Ping, PING).ok());
    // Whoever is refused has been answered, too.
    matches!(reply, Some(Reply::Ok(_) | Reply::Error(_)))
}

/// Waits until a server answers, or answers no more.
pub fn wait(socket: &Path, until: bool, within: Duration) -> bool {
    let watch = Stopwatch::start();
    loop {
        if answers(socket) == until {
            return true;
        }
        if watch.seconds() > within.as_secs_f64() {
            return false;
        }
        thread::sleep(AGAIN);
    }
}

/// Starts the server in the background and waits for it.
///
/// # Errors
/// What went wrong, in words.
pub fn start(given: &Given, socket: &Path, within: Duration) -> Result<(), String> {
    let mut command = command(given, "-b");
    command.stdin(Stdio::null());
    let mut child = command.spawn().map_err(|error| not_started(&command, &error))?;
    let watch = Stopwatch::start();
    loop {
        if answers(socket) {
            return Ok(());
        }
        if let Some(status) = ended(&mut child).filter(|status| *status != Some(0)) {
            return Err(match status {
                Some(code) => format!("{SERVER} ended with code {code}; what is wrong is above"),
                None => format!("{SERVER} was killed"),
            });
        }
        if watch.seconds() > within.as_secs_f64() {
            let seconds = within.as_secs();
            return Err(format!(
                "{SERVER} was started, but has not answered on {} for {seconds} seconds\n  its log \
                 says why; more time: --timeout",
                socket.display()
            ));
        }
        thread::sleep(AGAIN);
    }
}

/// Becomes the server, in the foreground; gives back only why it could not.
pub fn become_server(given: &Given) -> String {
    let mut command = command(given, "-f");
    let error = command.exec();
    not_started(&command, &error)
}

/// The exit code, once there is one; none for a signal.
fn ended(child: &mut Child) -> Option<Option<i32>> {
    child.try_wait().ok().flatten().map(|status| status.code())
}

fn not_started(command: &Command, error: &io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "there is no {SERVER} beside this program, nor in PATH\n  install it, or start it by \
             its path"
        ),
        _ => format!("{program} cannot be started: {error}"),
    }
}

/// The server beside this program, else that of PATH, with the flags that are meant for it.
fn command(given: &Given, mode: &str) -> Command {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(SERVER)));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(SERVER));
    let mut command = Command::new(program);
    for (id, flag) in [
        ("conf", "-c"),
        ("socket", "-s"),
        ("pidfile", "-p"),
        ("pname", "--pname"),
        ("loglevel", "--loglevel"),
        ("logtarget", "--logtarget"),
        ("syslogsocket", "--syslogsocket"),
    ] {
        if let Some(value) = given.raw(id) {
            command.args([OsString::from(flag), value]);
        }
    }
    if given.is_set("force") {
        command.arg("-x");
    }
    command.arg(mode);
    command
}
