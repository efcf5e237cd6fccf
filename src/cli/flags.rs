//! One table per tool: parser, `--help` and man page are all rendered from it.
//!
//! A flag is written down once, as a [`Flag`] row; its order is the order of the docs.

/// What stands behind a flag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    /// Nothing: the flag is there or not.
    Nothing,
    /// Nothing, but it may be given several times (`-vvv`).
    Count,
    /// One value, shown under this name.
    Value(&'static str),
}

/// One flag of one tool.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The id under which the parsed value is asked for; usually the long name.
    pub id: &'static str,
    /// Short letter, or none.
    pub short: Option<char>,
    /// Long names; the first is shown first. May be empty where there is only a letter.
    pub long: &'static [&'static str],
    /// What follows.
    pub takes: Takes,
    /// One line for `--help`.
    pub short_doc: &'static str,
    /// A paragraph for the man page, in roff; empty means the short text.
    pub long_doc: &'static str,
}
