//! The repository's `filters/` and `jails/`, compiled in: the last place to look for a file.
//!
//! `build.rs` writes the table, so that no file can be forgotten. `filters/X.conf` is
//! `filter.d/X.conf`; what stands in `jails/` keeps its path. Only `*.conf` are taken, and
//! nothing of `jails/examples/`, whose folders are trees of their own; nor `portsentry.conf`, which
//! is in another language.

use super::tree::BuiltinFile;

/// Path within the tree, and text; sorted by path.
pub const FILES: &[BuiltinFile] = include!(concat!(env!("OUT_DIR"), "/builtin_files.rs"));
