//! The client's end.

use std::{
    fmt,
    io::{self, ErrorKind},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{
    REPLY_MAX,
    line::{self, LineError, Lines},
};
use crate::{
    control::protocol::{Reply, Request},
    time::Stopwatch,
};

/// How long to wait before a full server is tried again.
const AGAIN: Duration = Duration::from_millis(5);

/// Why nobody can be asked.
#[derive(Debug)]
pub enum OpenError {
    /// There is no such file.
    Missing(PathBuf),
    /// The file is there, but nobody listens.
    Silent(PathBuf),
    /// The file is there, and not ours to use.
    Denied(PathBuf),
    /// The server does not take more clients in time.
    Busy(PathBuf),
    /// The system refused.
    Io(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Missing(path) => {
                write!(f, "no server runs: there is no socket {}", path.display())
            }
            OpenError::Silent(path) => {
                write!(f, "no server runs: nobody listens on the socket {}", path.display())
            }
            OpenError::Denied(path) => {
                write!(f, "the socket {} is not yours to use: be root", path.display())
            }
            OpenError::Busy(path) => {
                write!(f, "the server on {} takes nobody more for now", path.display())
            }
            OpenError::Io(path, error) => {
                write!(f, "the socket {} cannot be used: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Why there is no reply.
#[derive(Debug)]
pub enum AskError {
    /// It did not come in time.
    TooSlow,
    /// The server hung up.
    Closed,
    /// What came is no reply: another program listens there, or another version.
    NoReply(String),
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::TooSlow => f.write_str("the server did not answer in time"),
            AskError::Closed => f.write_str("the server closed the connection"),
            AskError::NoReply(why) => write!(f, "what answers is no sentryban-server: {why}"),
            AskError::Io(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

impl From<LineError> for AskError {
    fn from(error: LineError) -> AskError {
        match error {
            LineError::TooSlow => AskError::TooSlow,
            LineError::TooLong => AskError::NoReply("its answer is too long".to_owned()),
            LineError::Half => AskError::Closed,
            LineError::Io(error) if is_hang_up(&error) => AskError::Closed,
            LineError::Io(error) => AskError::Io(error),
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// A connection to the server.
#[derive(Debug)]
pub struct Connection(Lines);

impl Connection {
    /// Connects, within this time.
    ///
    /// # Errors
    /// If nobody listens there, or if it is not ours to use.
    pub fn open(path: &Path, within: Duration) -> Result<Connection, OpenError> {
        let here = || path.to_owned();
        let io = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => OpenError::Missing(here()),
            ErrorKind::ConnectionRefused => OpenError::Silent(here()),
            ErrorKind::PermissionDenied => OpenError::Denied(here()),
            _ => OpenError::Io(here(), error),
        };
        let address = SockAddr::unix(path).map_err(io)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io)?;
        socket.set_nonblocking(true).map_err(io)?;
        let watch = Stopwatch::start();
        // A server with a full queue has us try again: such sockets cannot be waited for.
        while let Err(error) = socket.connect(&address) {
            if error.kind() != ErrorKind::WouldBlock {
                return Err(io(error));
            }
            if watch.seconds() > within.as_secs_f64() {
                return Err(OpenError::Busy(here()));
            }
            std::thread::sleep(AGAIN);
        }
        socket.set_nonblocking(false).map_err(io)?;
        Ok(Connection(Lines::new(UnixStream::from(socket))))
    }

    /// Asks, and waits for the reply, for so long.
    ///
    /// # Errors
    /// If there is no reply.
    pub fn ask(&mut self, request: &Request, within: Duration) -> Result<Reply, AskError> {
        // A server that turns us away has said why and closed, and may not read any more.
        let written = line::write(self.0.stream(), &request.line(), within);
        match (self.0.next(REPLY_MAX, within, within), written) {
            (Ok(Some(line)), _) => {
                Reply::read(&line).map_err(|error| AskError::NoReply(error.to_string()))
            }
            (_, Err(error)) | (Err(error), Ok(())) => Err(error.into()),
            (Ok(None), Ok(())) => Err(AskError::Closed),
        }
    }
}
