//! Who is at the other end: the kernel says, not the peer.

use std::{io, os::unix::net::UnixStream};

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

impl Peer {
    /// Who is at the other end of this stream; none if it has no business here. Root and whoever
    /// the server runs as may order; others get in only where a group may (`guests`), since then
    /// the mode of the socket lets members in and nobody else.
    pub(super) fn of(stream: &UnixStream, guests: bool) -> io::Result<Option<Peer>> {
        let (uid, pid) = credentials(stream)?;
        let may_order = uid == 0 || uid == rustix::process::geteuid().as_raw();
        Ok((may_order || guests).then_some(Peer { pid, uid, may_order }))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn credentials(stream: &UnixStream) -> io::Result<(u32, Option<i32>)> {
    let credentials = rustix::net::sockopt::socket_peercred(stream)?;
    Ok((credentials.uid.as_raw(), Some(credentials.pid.as_raw_nonzero().get())))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(unsafe_code, reason = "no safe crate of ours asks BSDs for the peer")]
fn credentials(stream: &UnixStream) -> io::Result<(u32, Option<i32>)> {
    use std::os::fd::AsRawFd;
    let (mut uid, mut gid) = (u32::MAX, u32::MAX);
    // SAFETY: the descriptor is open for the length of the call, and both places are ours.
    match unsafe { libc::getpeereid(stream.as_raw_fd(), &raw mut uid, &raw mut gid) } {
        0 => Ok((uid, None)),
        _ => Err(io::Error::last_os_error()),
    }
}
