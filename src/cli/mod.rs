//! The tools' faces: flags, reports, man pages. Below this floor nobody prints.

pub mod flags;
pub mod server;
