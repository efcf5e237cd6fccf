//! The frame that fail2ban-regex draws around its lists.

use std::io::{self, Write};

use crate::cli::terminal::shown;

/// Where lines go, made safe if it is a terminal.
pub(super) struct Page<'a, W: Write> {
    pub(super) out: &'a mut W,
    pub(super) to_terminal: bool,
}

impl<W: Write> Page<'_, W> {
    /// One line.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", shown(text, self.to_terminal))
    }

    /// The frame around a list; nothing at all if it is empty.
    pub(super) fn list(
        &mut self,
        header: &str,
        rows: impl Iterator<Item = String>,
    ) -> io::Result<()> {
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        if !header.is_empty() {
            self.line(&format!("|- {header}"))?;
        }
        for row in rows {
            self.line(&format!("|  {row}"))?;
        }
        self.line("`-")
    }
}
