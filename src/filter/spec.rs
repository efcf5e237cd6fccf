//! What a filter's files say, after includes, interpolation and tags: text, not yet compiled.

use crate::place::Located;

/// Whether names in a log may stand for addresses (`usedns`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UseDns {
    /// Names are looked up.
    Yes,
    /// Names are looked up, and the log says so.
    #[default]
    Warn,
    /// `<HOST>` takes addresses only.
    No,
    /// A name is taken as it stands.
    Raw,
}

impl UseDns {
    /// Reads the word of the configuration; `None` if it is not one of the four (or a boolean).
    pub fn parse(word: &str) -> Option<UseDns> {
        match word.trim().to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" => Some(UseDns::Yes),
            "warn" => Some(UseDns::Warn),
            "no" | "false" | "off" | "0" => Some(UseDns::No),
            "raw" => Some(UseDns::Raw),
            _ => None,
        }
    }
}

/// One filter, as text. `config` reads it; [`super::Filter`] compiles it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FilterSpec {
    /// Name, for messages.
    pub name: String,
    /// `prefregex`, if any.
    pub prefregex: Option<Located<String>>,
    /// One expression per line of `failregex`, in order.
    pub failregex: Vec<Located<String>>,
    /// One expression per line of `ignoreregex`, in order.
    pub ignoreregex: Vec<Located<String>>,
    /// `datepattern`: alternatives, one per line; `None` means the default templates.
    pub datepattern: Option<Located<String>>,
    /// `maxlines`: how many lines an expression may span; `None` means 1.
    pub maxlines: Option<Located<u32>>,
    /// `usedns`, if the filter sets it.
    pub usedns: Option<UseDns>,
    /// `journalmatch`: one match expression per line (`_SYSTEMD_UNIT=a.service + _COMM=b`).
    pub journalmatch: Vec<String>,
    /// What some options became, for whoever shows how the filter was read: `logtype`,
    /// `datepattern`, and those of the option list.
    pub settled: Vec<(String, String)>,
}
