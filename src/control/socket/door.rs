//! The socket file: made where nobody can put another in its place, and with the right mode before
//! anybody can connect.

use std::{
    fmt,
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};

use super::client::{AskError, Connection};
use crate::control::Request;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Where and for whom to listen.
#[derive(Clone, Debug)]
pub struct Door {
    /// The socket's path.
    pub path: PathBuf,
    /// Members of this group may ask, but not order.
    pub group: Option<u32>,
}

/// Why there is no server end.
#[derive(Debug)]
pub enum ListenError {
    /// A server answers there already.
    InUse(PathBuf),
    /// Something is there that is no socket, or not safe to use, and why.
    Unsafe(PathBuf, String),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenError::InUse(path) => {
                write!(f, "a server answers on {} already", path.display())
            }
            ListenError::Unsafe(path, why) => {
                write!(f, "the socket {} cannot be made: {why}", path.display())
            }
            ListenError::Io(path, error) => {
                write!(f, "the socket {} cannot be made: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for ListenError {}

/// So often is the lock tried, with a pause between, before it is somebody's.
const LOCK_TRIES: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(25);
/// A server has so long to answer that it is there.
const ANSWER: Duration = Duration::from_secs(2);

/// An open socket, and the lock that says whose it is.
#[derive(Debug)]
pub(super) struct Opened {
    pub listener: UnixListener,
    /// Held for as long as the server lives: of two that start at once, one gets it.
    pub lock: File,
    /// The socket file.
    pub file: FileId,
}

/// A file, whatever its name becomes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    fn of(data: &Metadata) -> FileId {
        FileId(data.dev(), data.ino())
    }
}

/// Makes the socket.
pub(super) fn open(door: &Door) -> Result<Opened, ListenError> {
    let path = &door.path;
    let io = |error| ListenError::Io(path.clone(), error);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_directory(parent).map_err(io)?;
    let is_safe = is_safe(parent).map_err(io)?;
    is_safe.map_err(|why| ListenError::Unsafe(path.clone(), why))?;
    let lock = lock(path)?;
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io)?;
    socket.bind(&SockAddr::unix(path).map_err(io)?).map_err(io)?;
    // Until somebody listens nobody can connect, whatever the mode is now.
    let mode = if door.group.is_some() { 0o660 } else { 0o600 };
    let made = std::os::unix::fs::lchown(path, None, door.group)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| fs::symlink_metadata(path));
    match made {
        Ok(data) => Ok(Opened { listener: socket.into(), lock, file: FileId::of(&data) }),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(io(error))
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o755).create(path)?;
            // The mask of whoever started us must not keep the members of the group out.
            fs::set_permissions(path, Permissions::from_mode(0o755))
        }
        other => other.map(|_| ()),
    }
}

fn is_ours(data: &Metadata) -> bool {
    data.uid() == 0 || data.uid() == rustix::process::geteuid().as_raw()
}

/// Whether somebody else could put a file of theirs in the place of ours.
fn is_safe(parent: &Path) -> io::Result<Result<(), String>> {
    let (link, data) = (fs::symlink_metadata(parent)?, fs::metadata(parent)?);
    let name = parent.display();
    Ok(if !data.is_dir() {
        Err(format!("{name} is no directory"))
    } else if !is_ours(&link) || !is_ours(&data) {
        Err(format!("{name} belongs to somebody else"))
    } else if data.mode() & 0o1002 == 0o002 {
        Err(format!("everybody may replace what is in {name}: chmod o-w {name}"))
    } else {
        Ok(())
    })
}

fn lock(path: &Path) -> Result<File, ListenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |error| ListenError::Io(name.clone(), error);
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow.cast_signed())
        .open(&name)
        .map_err(io)?;
    let data = file.metadata().map_err(io)?;
    if !data.is_file() || !is_ours(&data) {
        let why = format!("{} belongs to somebody else: remove it", name.display());
        return Err(ListenError::Unsafe(path.to_owned(), why));
    }
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if answers(path) => break,
            // What a server that was killed had begun to start holds its files for a moment.
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(io(error.into())),
        }
    }
    Err(ListenError::InUse(path.to_owned()))
}

/// True if a server answers there. One that only accepts is none: the socket of a server that was
/// killed lives on for a moment in a process that it was about to start.
pub fn answers(path: &Path) -> bool {
    let Ok(mut connection) = Connection::open(path, ANSWER) else { return false };
    match connection.ask(&Request::Ping, ANSWER) {
        // Busy, hung, or another program: somebody is there.
        Ok(_) | Err(AskError::TooSlow | AskError::NoReply(_)) => true,
        Err(AskError::Closed | AskError::Io(_)) => false,
    }
}

/// Removes the socket of a server that died. Whoever answers there is left alone, and so is what is
/// no socket.
fn clear(path: &Path) -> Result<(), ListenError> {
    let data = match fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenError::Io(path.to_owned(), error)),
    };
    let wrong = |why: &str| Err(ListenError::Unsafe(path.to_owned(), why.to_owned()));
    if !data.file_type().is_socket() {
        return wrong("something else is there; remove it, or choose another path with -s");
    }
    if answers(path) {
        return Err(ListenError::InUse(path.to_owned()));
    }
    if !is_ours(&data) {
        return wrong("a socket of somebody else is there; remove it");
    }
    fs::remove_file(path).map_err(|error| ListenError::Io(path.to_owned(), error))
}

/// Removes the socket file, if it is still this one.
pub(super) fn remove(path: &Path, file: FileId) {
    if fs::symlink_metadata(path).is_ok_and(|data| FileId::of(&data) == file) {
        let _ = fs::remove_file(path);
    }
}
