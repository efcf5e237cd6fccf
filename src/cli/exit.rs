//! How a tool ends: the codes of sysexits(3), and a text for whoever typed the command.

use std::fmt;

/// The command line was wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// A file that was named cannot be read: it is missing, a directory, or ours not to see (`EX_NOINPUT`).
pub const NOINPUT: u8 = 66;
/// Something that is needed is not there, such as a firewall or `journalctl` (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// Our own fault (`EX_SOFTWARE`).
pub const SOFTWARE: u8 = 70;
/// Reading or writing failed half-way (`EX_IOERR`).
pub const IOERR: u8 = 74;
/// A right is missing (`EX_NOPERM`).
pub const NOPERM: u8 = 77;
/// A configuration or filter cannot be used (`EX_CONFIG`).
pub const CONFIG: u8 = 78;

/// Why a tool stops: the code for scripts, the text for people.
///
/// The text says where, what is wrong and what to write instead; further lines are indented by two
/// blanks. It carries neither the tool's name nor a final newline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Exit code, one of this module's constants.
    pub code: u8,
    /// What stderr shows.
    pub text: String,
}

impl Fault {
    /// A fault with its code.
    pub fn new(code: u8, text: impl Into<String>) -> Fault {
        Fault { code, text: text.into() }
    }

    /// A wrong command line.
    pub fn usage(text: impl Into<String>) -> Fault {
        Fault::new(USAGE, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// Writing to stdout failed. A closed pipe (`| head`) is the reader's way to say "enough": callers
/// ask [`is_closed_pipe`] first and end with 0.
impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::new(IOERR, format!("cannot write the output: {error}"))
    }
}

/// True if whoever read our output went away.
pub fn is_closed_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}
