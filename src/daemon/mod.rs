//! The daemon: the one loop, and the threads and processes around it.

pub mod answer;
pub mod log;
pub mod privilege;
pub mod reader;
pub mod resolver;
pub mod runner;
pub mod sessions;
pub mod start;
