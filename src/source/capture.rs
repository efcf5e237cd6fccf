//! `Capture`: packets as they come in, all interfaces through one socket, sieved by the kernel.
//!
//! The socket takes packets without their link header, so one program fits every kind of link. What
//! the program (`capture/program.rs`) drops is never copied. The socket is not read through a ring
//! in shared memory: it would hold its megabytes all the time, and hand packets over in blocks,
//! later than one by one.

mod program;
mod raw;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, sockopt},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

pub use program::{INSTRUCTIONS_MAX, Instruction, SNAP_BYTES, Wanted, compile};

/// The kernel keeps so many bytes of packets for us, its own book-keeping among them: some thousand
/// packets.
const RECEIVE_BYTES: usize = 8 << 20;

/// Packets, as far as they are wanted.
#[derive(Debug)]
pub struct Capture {
    socket: Socket,
    wanted: Option<Wanted>,
    buffer: Vec<u8>,
    lost: u64,
}

impl Capture {
    /// Opens it; nothing comes before [`Capture::want`] was called.
    ///
    /// # Errors
    ///
    /// Without CAP_NET_RAW.
    pub fn open() -> io::Result<Capture> {
        // No protocol: it hears nothing until it is bound.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BYTES).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)?;
        }
        let buffer = vec![0; SNAP_BYTES as usize];
        Ok(Capture { socket, wanted: None, buffer, lost: 0 })
    }

    /// From now on this is wanted. False if it was before.
    ///
    /// # Errors
    ///
    /// The kernel does not take the program.
    pub fn want(&mut self, wanted: &Wanted) -> io::Result<bool> {
        if self.wanted.as_ref() == Some(wanted) {
            return Ok(false);
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
        Ok(true)
    }

    /// Shows at most `limit` packets that wait, each from its IP header on; how many there were.
    ///
    /// # Errors
    ///
    /// The socket fails. An interface that goes down is no fault.
    pub fn receive(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
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

    /// Packets that were wanted and did not fit, since it was opened.
    pub fn lost(&mut self) -> u64 {
        // What cannot be asked for is not known to be lost.
        self.lost += raw::losses(self.socket.as_fd()).unwrap_or(0);
        self.lost
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
