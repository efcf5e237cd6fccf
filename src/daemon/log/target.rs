//! Where our own log goes: a file, a stream, syslog or the journal.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::{
        fs::{FileTypeExt, OpenOptionsExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
};

use crate::config::options;

/// A target as it is written: `NAME[option=value,…]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// As the user wrote it, without options.
    pub name: String,
    kind: Kind,
    /// `format=`: the layout of a line.
    pub format: Option<String>,
    datetime: Option<bool>,
    padding: Option<bool>,
    facility: u8,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Kind {
    File(PathBuf),
    Stdout { adds_time: bool },
    Stderr,
    Syslog(PathBuf),
    Journal,
}

/// A target that cannot be.
#[derive(Debug, Eq, PartialEq)]
pub struct BadTarget(pub String);

impl std::fmt::Display for BadTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// syslog(3)'s facilities, by name.
const FACILITIES: &[(&str, u8)] = &[
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

/// Where syslog listens, system by system.
const SYSLOG_SOCKETS: &[&str] = &["/dev/log", "/var/run/log", "/var/run/syslog"];

/// The journal's own socket.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// So many bytes of lines wait in memory at most.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The socket of this system's syslog; where there is none, the one that most have.
pub fn syslog_socket() -> &'static str {
    // The journal has a directory at one of these places.
    let is_socket =
        |path: &&&str| std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket());
    SYSLOG_SOCKETS.iter().find(is_socket).unwrap_or(&"/dev/log")
}

impl Target {
    /// Reads `logtarget` and `syslogsocket`.
    ///
    /// # Errors
    /// An option has no such value.
    pub fn parse(text: &str, syslogsocket: &str) -> Result<Target, BadTarget> {
        let (name, options) = options::parse(text)
            .map_err(|error| BadTarget(format!("the log target '{text}' {error}")))?;
        let option = |key: &str| options.iter().find(|(name, _)| name == key).map(|(_, v)| &**v);
        let flag = |key: &str| match option(key).map(str::to_lowercase).as_deref() {
            None => Ok(None),
            Some("on" | "yes" | "true" | "1") => Ok(Some(true)),
            Some("off" | "no" | "false" | "0") => Ok(Some(false)),
            Some(other) => Err(BadTarget(format!("'{key}={other}': write on or off"))),
        };
        let facility = option("facility").unwrap_or("DAEMON").to_uppercase();
        let known = FACILITIES.iter().find(|(name, _)| *name == facility);
        let Some((_, facility)) = known else {
            return Err(BadTarget(format!("syslog has no facility '{facility}'")));
        };
        let socket = || match syslogsocket {
            "auto" | "" => PathBuf::from(syslog_socket()),
            path => PathBuf::from(path),
        };
        let kind = match name.to_uppercase().as_str() {
            "STDOUT" => Kind::Stdout { adds_time: true },
            "SYSOUT" => Kind::Stdout { adds_time: false },
            "STDERR" => Kind::Stderr,
            "SYSLOG" => Kind::Syslog(socket()),
            "SYSTEMD-JOURNAL" => Kind::Journal,
            _ => Kind::File(PathBuf::from(&name)),
        };
        Ok(Target {
            name,
            kind,
            format: option("format").filter(|format| !format.is_empty()).map(str::to_owned),
            datetime: flag("datetime")?,
            padding: flag("padding")?,
            facility: *facility,
        })
    }

    /// True if a line says when it was written.
    pub(super) fn adds_time(&self) -> bool {
        let usual = match self.kind {
            Kind::File(_) | Kind::Stderr => true,
            Kind::Stdout { adds_time } => adds_time,
            Kind::Syslog(_) | Kind::Journal => false,
        };
        self.datetime.unwrap_or(usual)
    }

    /// True if columns stand below each other.
    pub(super) fn pads(&self) -> bool {
        self.padding.unwrap_or(!matches!(self.kind, Kind::Syslog(_) | Kind::Journal))
    }

    /// True if lines go to a terminal or whatever stands in its place.
    pub fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stdout { .. } | Kind::Stderr)
    }

    /// True if lines go to a file, which can be opened anew.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// Opens it.
    ///
    /// # Errors
    /// The system's, with the path in its text.
    pub(super) fn open(&self) -> io::Result<Sink> {
        let named = |path: &Path| {
            let path = path.display().to_string();
            move |error: io::Error| io::Error::new(error.kind(), format!("{path}: {error}"))
        };
        Ok(match &self.kind {
            Kind::Stdout { .. } => Sink::Stream { is_stderr: false, waiting: Vec::new() },
            Kind::Stderr => Sink::Stream { is_stderr: true, waiting: Vec::new() },
            Kind::File(path) => {
                let mut options = OpenOptions::new();
                // Others than root need not know who was banned.
                let file = options.append(true).create(true).mode(0o640).open(path);
                Sink::File { file: file.map_err(named(path))?, waiting: Vec::new() }
            }
            Kind::Syslog(path) => {
                let socket = connect(path).map_err(named(path))?;
                Sink::Syslog { socket, path: path.clone(), facility: self.facility }
            }
            Kind::Journal => {
                let path = Path::new(JOURNAL_SOCKET);
                Sink::Journal { socket: connect(path).map_err(named(path))? }
            }
        })
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A syslog that hangs must not hang the guard.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An open target.
#[derive(Debug)]
pub enum Sink {
    /// A file; lines wait until the loop has nothing else to do.
    File {
        /// Opened to append.
        file: File,
        /// Whole lines.
        waiting: Vec<u8>,
    },
    /// Standard output or error.
    Stream {
        /// Which of the two.
        is_stderr: bool,
        /// Whole lines.
        waiting: Vec<u8>,
    },
    /// A datagram a line, as RFC 3164 has it, without the time, which the receiver knows.
    Syslog {
        /// Connected.
        socket: UnixDatagram,
        /// For connecting again after syslog was restarted.
        path: PathBuf,
        /// Its number.
        facility: u8,
    },
    /// A datagram of fields an entry.
    Journal {
        /// Connected.
        socket: UnixDatagram,
    },
}

impl Sink {
    /// Takes a line, in two parts. Files and streams write it with the next [`Sink::flush`], or
    /// when too many wait.
    pub fn write(&mut self, severity: u8, head: &str, words: &str) -> io::Result<()> {
        match self {
            Sink::File { waiting, .. } | Sink::Stream { waiting, .. } => {
                waiting.extend_from_slice(head.as_bytes());
                waiting.extend_from_slice(words.as_bytes());
                waiting.push(b'\n');
                if waiting.len() > BUFFER_BYTES_MAX { self.flush() } else { Ok(()) }
            }
            Sink::Syslog { socket, path, facility } => {
                let text = format!("<{}>{head}{words}", *facility * 8 + severity);
                if socket.send(text.as_bytes()).is_err() {
                    *socket = connect(path)?;
                    socket.send(text.as_bytes())?;
                }
                Ok(())
            }
            Sink::Journal { socket } => {
                let name = env!("CARGO_PKG_NAME");
                let text = format!(
                    "PRIORITY={severity}\nSYSLOG_IDENTIFIER={name}\nMESSAGE={head}{words}\n"
                );
                if socket.send(text.as_bytes()).is_err() {
                    *socket = connect(Path::new(JOURNAL_SOCKET))?;
                    socket.send(text.as_bytes())?;
                }
                Ok(())
            }
        }
    }

    /// Writes what waits. What cannot be written is dropped: a full disk must not fill the memory.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::File { file, waiting } => {
                let done = file.write_all(waiting);
                waiting.clear();
                done
            }
            Sink::Stream { is_stderr, waiting } => {
                let done = match is_stderr {
                    true => io::stderr().lock().write_all(waiting),
                    false => {
                        let mut out = io::stdout().lock();
                        out.write_all(waiting).and_then(|()| out.flush())
                    }
                };
                waiting.clear();
                done
            }
            Sink::Syslog { .. } | Sink::Journal { .. } => Ok(()),
        }
    }

    /// True if it is worth a try; asked only after a line was lost.
    pub fn can_write(&mut self) -> bool {
        match self {
            Sink::File { file, .. } => file.write(b"").is_ok(),
            Sink::Stream { .. } => true,
            Sink::Syslog { socket, path, .. } => connect(path).map(|again| *socket = again).is_ok(),
            Sink::Journal { socket } => {
                connect(Path::new(JOURNAL_SOCKET)).map(|again| *socket = again).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart() {
        let rows = [
            ("/var/log/own.log", true, true),
            ("STDOUT", true, true),
            ("sysout", false, true),
            ("SYSLOG[facility=local3, padding=on]", false, true),
            ("SYSTEMD-JOURNAL", false, false),
            ("stderr[datetime=off,padding=no]", false, false),
        ];
        for (text, adds_time, pads) in rows {
            let target = Target::parse(text, "auto").unwrap();
            assert_eq!((target.adds_time(), target.pads()), (adds_time, pads), "{text}");
        }
        assert!(Target::parse("SYSLOG[facility=nobody]", "auto").is_err());
        assert!(Target::parse("", "auto").is_err());
    }
}
