//! The daemon: the one loop, and the threads and processes around it.

pub mod helper;
pub mod runner;
