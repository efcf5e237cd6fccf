//! From a command line to a process that guards: paths, the way to the background, the pid file.
//!
//! What is refused here is all that is ever refused: a socket on which a server answers, and
//! directories of our own that we may not use. Whatever else is wrong is said in the log, and the
//! rest guards.

use std::{
    fs, io,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::log::Target;
use crate::{
    config::{MainSpec, Tree, main_conf, read_main},
    place::{Located, Place},
    store::Location,
};

/// What the command line says about a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration's directory; none for the compiled-in one.
    pub dir: Option<PathBuf>,
    /// What paths of the command line and of the main file begin at: where the command was typed.
    /// The background stands elsewhere.
    pub start_dir: PathBuf,
    /// Instead of the configured socket.
    pub socket: Option<String>,
    /// Instead of the configured pid file.
    pub pidfile: Option<String>,
    /// Instead of the configured level.
    pub loglevel: Option<String>,
    /// Instead of the configured target.
    pub logtarget: Option<String>,
    /// Instead of the configured socket of syslog.
    pub syslogsocket: Option<String>,
    /// Stay in the foreground.
    pub foreground: bool,
    /// Ban nobody, log what would be done.
    pub dry_run: bool,
    /// The main thread's name.
    pub pname: Option<String>,
    /// Seconds to wait for a server in the background.
    pub timeout_s: u64,
}

/// Why a server does not start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// Where, what, and what to do.
    pub text: String,
}

/// Kinds of reasons, each with an exit code of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalKind {
    /// A server answers already, or the system has no room for one.
    Unavailable,
    /// A right is missing.
    NoRight,
    /// The command line is wrong.
    Usage,
}

impl Refusal {
    /// A reason.
    pub fn new(kind: RefusalKind, text: impl Into<String>) -> Refusal {
        Refusal { kind, text: text.into() }
    }

    /// Something of our own cannot be used.
    pub fn of_path(what: &str, path: &Path, error: &io::Error) -> Refusal {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                RefusalKind::NoRight
            }
            _ => RefusalKind::Unavailable,
        };
        let hint = match kind {
            RefusalKind::NoRight => "; run it as root, or name another place",
            _ => "",
        };
        Refusal::new(kind, format!("{what} {}: {error}{hint}", path.display()))
    }
}

/// Where things lie for a user who is not root, as the XDG directories have it.
pub fn user_path(stock: &str) -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    let name = Path::new(stock).file_name()?;
    let dir = match stock.starts_with("/run") {
        true => match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => home()?.join(".local/state"),
        },
        false => match std::env::var_os("XDG_STATE_HOME") {
            Some(dir) => PathBuf::from(dir),
            None => home()?.join(".local/state"),
        },
    };
    Some(dir.join("sentryban").join(name))
}

/// The main file's settings with those of the command line on top, and its findings.
pub fn settings(tree: &Tree, options: &Options) -> (MainSpec, Vec<crate::config::Finding>) {
    let (mut main, findings) = read_main(tree);
    let at = Place::command_line();
    let over = [
        (&options.socket, &mut main.socket),
        (&options.pidfile, &mut main.pidfile),
        (&options.loglevel, &mut main.loglevel),
        (&options.logtarget, &mut main.logtarget),
        (&options.syslogsocket, &mut main.syslogsocket),
    ];
    for (given, setting) in over {
        if let Some(given) = given {
            *setting = Located::new(given.clone(), at.clone());
        }
    }
    if !rustix::process::geteuid().is_root() {
        let stock = [
            (main_conf::SOCKET, &mut main.socket),
            (main_conf::PIDFILE, &mut main.pidfile),
            (main_conf::DBFILE, &mut main.dbfile),
            ("/var/log/sentryban.log", &mut main.logtarget),
        ];
        for (stock, setting) in stock {
            if setting.value == stock
                && let Some(own) = user_path(stock)
            {
                setting.value = own.to_string_lossy().into_owned();
            }
        }
    }
    let log = Target::parse(&main.logtarget.value, &main.syslogsocket.value);
    let paths = [
        (true, &mut main.socket),
        (true, &mut main.pidfile),
        (matches!(Location::parse(&main.dbfile.value), Location::File(_)), &mut main.dbfile),
        (log.is_ok_and(|log| log.is_file()), &mut main.logtarget),
        (!matches!(main.syslogsocket.value.as_str(), "" | "auto"), &mut main.syslogsocket),
    ];
    for (_, setting) in paths.into_iter().filter(|(is_path, _)| *is_path) {
        let whole = options.start_dir.join(setting.value.trim());
        setting.value = whole.to_string_lossy().into_owned();
    }
    (main, findings)
}

/// Makes the directory of one of our files.
///
/// # Errors
/// It cannot be made.
pub fn make_dir_of(file: &Path, what: &str) -> Result<(), Refusal> {
    let Some(dir) = file.parent().filter(|dir| !dir.as_os_str().is_empty()) else { return Ok(()) };
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        // The mask of whoever started us must not keep the group of the socket out.
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)))
        .map_err(|error| Refusal::of_path(what, dir, &error))
}

/// The pid file; gone when dropped.
#[derive(Debug)]
pub struct PidFile(Option<PathBuf>);

impl PidFile {
    /// Writes our number.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(path: &Path) -> Result<PidFile, Refusal> {
        make_dir_of(path, "pidfile")?;
        let refused = |error| Refusal::of_path("pidfile", path, &error);
        // Whatever is there may be a link to somewhere else.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o644).open(path).map_err(refused)?;
        writeln!(file, "{}", std::process::id()).map_err(refused)?;
        Ok(PidFile(Some(path.to_owned())))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Somebody else's file by now, perhaps.
            let ours = fs::read_to_string(&path)
                .is_ok_and(|text| text.trim() == std::process::id().to_string());
            if ours {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The way by which a child in the background tells how its start went.
#[derive(Debug)]
pub struct Herald(Option<std::fs::File>);

/// The child guards.
const READY: &[u8] = b"ready\n";

impl Herald {
    /// Nobody waits.
    pub fn none() -> Herald {
        Herald(None)
    }

    /// All is well: whoever waits may go.
    pub fn ready(&mut self) {
        if let Some(mut pipe) = self.0.take() {
            let _ = pipe.write_all(READY);
        }
    }

    /// It does not start.
    pub fn refused(&mut self, refusal: &Refusal) {
        if let Some(mut pipe) = self.0.take() {
            let kind = match refusal.kind {
                RefusalKind::Unavailable => 'u',
                RefusalKind::NoRight => 'n',
                RefusalKind::Usage => 'c',
            };
            let _ = pipe.write_all(format!("{kind}{}", refusal.text).as_bytes());
        }
    }
}

/// Which of the two processes goes on here.
#[derive(Debug)]
pub enum Fork {
    /// The one in the background.
    Child(Herald),
    /// The one that was typed: the child runs, and this one may end.
    Parent,
}

/// Goes to the background. The parent waits until the child says how its start went.
///
/// Must be called while there is one thread.
///
/// # Errors
/// The child does not start, or says nothing for `timeout_s` seconds.
pub fn go_to_background(timeout_s: u64) -> Result<Fork, Refusal> {
    let failed = |error: io::Error| {
        Refusal::new(RefusalKind::Unavailable, format!("cannot go to the background: {error}"))
    };
    let (ours, theirs) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    let daemon = daemonize::Daemonize::new().working_directory("/").umask(0o027);
    match daemon.execute() {
        daemonize::Outcome::Child(Ok(_)) => {
            drop(ours);
            Ok(Fork::Child(Herald(Some(theirs.into()))))
        }
        daemonize::Outcome::Child(Err(error)) | daemonize::Outcome::Parent(Err(error)) => {
            Err(failed(io::Error::other(error)))
        }
        daemonize::Outcome::Parent(Ok(_)) => {
            drop(theirs);
            wait_for_child(ours.into(), timeout_s)
        }
    }
}

fn wait_for_child(mut pipe: fs::File, timeout_s: u64) -> Result<Fork, Refusal> {
    // The pipe ends with the child, so only a child that hangs is waited for in vain.
    let limit = Duration::from_secs(timeout_s);
    let timeout = rustix::time::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let mut waits = [rustix::event::PollFd::new(&pipe, rustix::event::PollFlags::IN)];
    if rustix::event::poll(&mut waits, Some(&timeout)).unwrap_or(0) == 0 {
        let text =
            format!("the server in the background says nothing for {timeout_s} s: see its log");
        return Err(Refusal::new(RefusalKind::Unavailable, text));
    }
    let mut said = Vec::new();
    let _ = pipe.read_to_end(&mut said);
    if said == READY {
        return Ok(Fork::Parent);
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    let (kind, text) = match said.chars().next() {
        Some('n') => (RefusalKind::NoRight, said.get(1..)),
        Some('c') => (RefusalKind::Usage, said.get(1..)),
        Some('u') => (RefusalKind::Unavailable, said.get(1..)),
        _ => (RefusalKind::Unavailable, Some("the server in the background died: see its log")),
    };
    Err(Refusal::new(kind, text.unwrap_or_default()))
}
