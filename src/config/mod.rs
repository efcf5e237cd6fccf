//! The configuration: read once, checked, and handed to the rooms that it is about.
//!
//! ```text
//! bytes ─ini─► Ini ─tree─► Merged ─interpolate, tags─► values ─filters, actions, jails─► specs
//! ```
//!
//! Every value keeps its place from the first step to the last, so that whatever is wrong can be
//! said with file and line. This room reads files and nothing else; it starts nothing and prints
//! nothing. Begin with `tree.rs` for where values come from, `jails.rs` for what they become.

pub mod actions;
pub mod builtin;
pub mod change;
pub mod check;
mod definition;

pub mod filters;
pub mod finding;
pub mod ini;
pub mod interpolate;
mod jail_options;
pub mod jail_spec;
mod jail_typed;
pub mod jails;
pub mod main_conf;
pub mod named;
mod nearest;
pub mod options;
mod python;
pub mod sensor;
pub mod shell;
mod stream;
pub mod tags;
pub mod text;
pub mod tree;
pub mod words;

pub use actions::{ActionKind, ActionSpec};
pub use check::{Config, Report, dump, read, test};
pub use filters::{FilterSource, read_filter};
pub use finding::{ConfigError, Finding, Gravity};
pub use jail_spec::JailSpec;
pub use jails::{Jail, Jails, read_jail_filter, read_jails};
pub use main_conf::{MainSpec, read_main};
pub use named::{Named, read_named};
pub(crate) use nearest::nearest;
pub use sensor::{SensorSpec, read_sensor};
pub use tree::Tree;

/// The keys that a jail may have: fail2ban's, then ours.
pub fn jail_keys() -> impl Iterator<Item = &'static str> {
    let all = jail_options::JAIL_OPTIONS.iter().chain(jail_options::OWN_OPTIONS);
    all.map(|(name, _)| *name)
}

/// The keys of `[Definition]` in the main file.
pub fn main_keys() -> impl Iterator<Item = &'static str> {
    main_conf::MAIN_OPTIONS.iter().map(|(name, _)| *name)
}

/// The keys of `[sensor]` in the main file.
pub fn sensor_keys() -> impl Iterator<Item = &'static str> {
    sensor::OPTIONS.iter().copied()
}
