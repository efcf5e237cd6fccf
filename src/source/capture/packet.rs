//! Packets by a socket of Linux: all interfaces through one, sieved by the kernel.
//!
//! The socket takes packets without their link header, so one program fits every kind of link. What
//! the program (`program.rs`) drops is never copied. The socket is not read through a ring
//! in shared memory: it would hold its megabytes all the time, and hand packets over in blocks,
//! later than one by one.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, sockopt},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::{
    Eye,
    program::{SNAP_BYTES, Wanted, compile},
    raw,
};

/// The kernel keeps so many bytes of packets for us, its own book-keeping among them: some thousand
/// packets.
const RECEIVE_BYTES: usize = 8 << 20;

/// Packets, as far as they are wanted.
pub(super) struct Socketed {
    socket: Socket,
    wanted: Option<Wanted>,
    buffer: Vec<u8>,
    lost: u64,
}

impl Socketed {
    /// Opens it.
    pub fn open() -> io::Result<Socketed> {
        // No protocol: it hears nothing until it is bound.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)?;
        }
        let buffer = vec![0; SNAP_BYTES as usize];
        Ok(Socketed { socket, wanted: None, buffer, lost: 0 })
    }
}

impl Eye for Socketed {
    fn want(&mut self, wanted: &Wanted) -> io::Result<Vec<String>> {
        if self.wanted.as_ref() == Some(wanted) {
            return Ok(Vec::new());
        }
        let filter: Vec<SockFilter> = compile(wanted)
            .iter()
            .map(|one| SockFilter::new(one.code, one.jt, one.jf, one.k))
            .collect();
        self.socket.attach_filter(&filter)?;
        if self.wanted.is_none() {
            raw::bind_to_all(self.socket.as_fd())?;
        }
        self.wanted = Some(wanted.clone());
        Ok(Vec::new())
    }

    fn receive(&mut self, limit: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let mut count = 0;
        while count < limit {
            match rustix::net::recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => {
                    each(self.buffer.get(..length).unwrap_or_default());
                    count += 1;
                }
                Err(Errno::AGAIN) => break,
                // Told once when an interface goes away.
                Err(Errno::INTR | Errno::NETDOWN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(count)
    }

    fn lost(&mut self) -> u64 {
        // What cannot be asked for is not known to be lost.
        self.lost += raw::losses(self.socket.as_fd()).unwrap_or(0);
        self.lost
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.socket.as_fd()]
    }
}
