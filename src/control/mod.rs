//! The control socket: what the client asks and what the server answers.
//!
//! ```text
//! words ─commands─► Request ─line of JSON─► socket ─Asked─► whoever answers ─Reply─► line of JSON
//! ```
//!
//! Begin with `protocol.rs` for what travels, `commands.rs` for what people type, `socket/` for
//! how it gets there. What a request means to the daemon is not known here.

pub mod commands;
pub mod protocol;
pub mod report;
pub mod settings;
pub mod socket;

pub use protocol::{Answer, Refusal, Reply, Request, Whom};
pub use report::{
    BanRow, Case, Flavor, Health, ImportReport, JailBans, JailCase, JailCount, JailStats,
    JailStatus, JailTrouble, Pending, ServerStatus, Source, Verdict,
};
pub use settings::{ActionChange, ActionQuery, Change, Query, ServerChange, ServerOption};
