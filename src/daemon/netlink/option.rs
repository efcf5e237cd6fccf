//! The socket options of netlink for which no safe wrapper exists.
#![allow(unsafe_code, reason = "rustix and socket2 know no options at SOL_NETLINK")]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Asks for the kernel's own words in errors, and for errors without the request in them. Kernels
/// before 4.12 and 4.3 know neither, and then errors have a number only.
pub(super) fn speak_clearly(socket: impl AsFd) {
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let _ = set(&socket, option, 1);
    }
}

/// Begins or ceases to listen to a multicast group, by its number.
///
/// # Errors
///
/// When the kernel refuses.
pub(super) fn listen(socket: impl AsFd, group: u32, on: bool) -> Result<(), Errno> {
    let option = match on {
        true => libc::NETLINK_ADD_MEMBERSHIP,
        false => libc::NETLINK_DROP_MEMBERSHIP,
    };
    set(&socket, option, libc::c_int::try_from(group).map_err(|_| Errno::INVAL)?)
}

fn set(socket: &impl AsFd, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel reads `length`
    // bytes of `value`, which lives until the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}
