//! The two socket options of netlink for which no safe wrapper exists.
#![allow(unsafe_code, reason = "rustix and socket2 know no options at SOL_NETLINK")]

use std::os::fd::{AsFd, AsRawFd};

/// Asks for the kernel's own words in errors, and for errors without the request in them. Kernels
/// before 4.12 and 4.3 know neither, and then errors have a number only.
pub(super) fn speak_clearly(socket: impl AsFd) {
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let on: libc::c_int = 1;
        let length = size_of_val(&on) as libc::socklen_t;
        // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel reads
        // `length` bytes of `on`, which lives until the call returns.
        let _ = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                length,
            )
        };
    }
}
