//! The daemon: the one loop, and the threads and processes around it.

pub mod helper;
#[cfg(target_os = "linux")]
pub mod netlink;
pub mod runner;
