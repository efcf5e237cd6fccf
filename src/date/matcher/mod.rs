//! A small matcher with the semantics of Python's `re`, for the expressions of date patterns.
//!
//! ```text
//! text ──parse──► Node ──program──► Step, Step, … ──run──► groups in a Scratch
//! ```
//!
//! Why not a regex library: date patterns use back-references, conditionals and look-behind, must
//! be searched within a part of a line whose surroundings stay visible, and must tell how far they
//! looked. Matching is by backtracking under a step limit ([`STEPS_PER_SEARCH`]); positions are
//! bytes at borders of characters. Read `parse.rs` for what is understood, `run.rs` for the rest.

mod class;
mod outlook;
mod parse;
mod program;
mod run;
mod tree;

pub(super) use class::{digit_value, is_word};
pub use parse::PatternError;
pub use program::Pattern;
pub use run::{STEPS_PER_BYTE, STEPS_PER_SEARCH, Scratch};

#[cfg(test)]
mod tests;
