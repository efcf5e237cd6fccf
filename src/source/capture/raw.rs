//! What no safe crate in use offers for packet sockets: to bind one, and to ask for its losses.
#![allow(unsafe_code, reason = "rustix and socket2 know no addresses and options of packet(7)")]

use std::{
    io, mem,
    os::fd::{AsRawFd, BorrowedFd},
};

/// Hears packets of all protocols on all interfaces from now on.
pub(super) fn bind_to_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all of it are numbers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the descriptor is open while it is borrowed; the kernel reads as many bytes of
    // `address` as it has.
    let done = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            mem::size_of_val(&address) as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Packets that did not fit since this was asked last.
pub(super) fn losses(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = mem::size_of_val(&stats) as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed; the kernel writes at most `length` bytes
    // to `stats`, of which every value is one.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut length,
        )
    };
    if done == 0 { Ok(u64::from(stats.tp_drops)) } else { Err(io::Error::last_os_error()) }
}
