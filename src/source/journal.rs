//! The systemd journal, read through `journalctl --output=json`.
//!
//! One JSON object is one entry. Its text is made as filters know it: `HOST IDENT[PID]: MESSAGE`;
//! a kernel's line carries its monotonic time as `[%12.6f]`; newlines inside of a message become
//! `\n` in letters. The time comes from the entry, never from the text.

use std::{
    io::{self, BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use serde_json::{Map, Value};

use crate::time::{Timestamp, Zone};

/// One entry of the journal, as a filter sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalEntry {
    /// `HOST IDENT[PID]: MESSAGE`.
    pub text: String,
    /// When it happened.
    pub at: Timestamp,
    /// That moment as text, with a blank behind, in local time.
    pub stamp: String,
}

/// Which part of which journal.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JournalOptions {
    /// `journalpath`: a directory.
    pub path: Option<String>,
    /// `journalfiles`: files, globs allowed.
    pub files: Vec<String>,
    /// `namespace`.
    pub namespace: Option<String>,
    /// `journalflags`: bits of sd_journal_open(3): 1 local only, 2 runtime only, 4 system only.
    pub flags: Option<u32>,
}

/// A word in the brackets of `systemd-journal[…]` that is not known or has no meaning.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadOption(pub String);

impl JournalOptions {
    /// Takes the options of `systemd-journal[…]`.
    ///
    /// # Errors
    ///
    /// [`BadOption`] with the word that is not known.
    pub fn new(options: &[(String, String)]) -> Result<JournalOptions, BadOption> {
        let mut found = JournalOptions::default();
        for (name, value) in options {
            match name.as_str() {
                "journalpath" => found.path = Some(value.clone()),
                "journalfiles" => {
                    let words = value.split([' ', ',', '\n']).filter(|word| !word.is_empty());
                    found.files.extend(words.map(str::to_owned));
                }
                "namespace" => found.namespace = Some(value.clone()),
                "journalflags" => {
                    let flags = value.parse().map_err(|_| BadOption(format!("{name}={value}")))?;
                    found.flags = Some(flags);
                }
                "rotated" => {}
                _ => return Err(BadOption(name.clone())),
            }
        }
        Ok(found)
    }

    /// The arguments of journalctl(1).
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--output=json", "--no-pager", "--quiet", "--all"].map(str::to_owned).to_vec();
        arguments.extend(self.path.iter().map(|path| format!("--directory={path}")));
        arguments.extend(self.files.iter().map(|file| format!("--file={file}")));
        arguments.extend(self.namespace.iter().map(|name| format!("--namespace={name}")));
        // Without a place of its own, the system's journal only: users' files are many.
        let system_only = self.path.is_none() && self.files.is_empty();
        let flags = self.flags.unwrap_or(if system_only { 4 } else { 0 });
        arguments.extend((flags & 4 != 0).then(|| "--system".to_owned()));
        arguments
    }
}

/// A `journalctl` that is being read.
#[derive(Debug)]
pub struct Journal {
    child: Child,
    output: BufReader<Box<dyn ReadDebug>>,
    line: Vec<u8>,
}

/// What a child's output is to the reader.
pub trait ReadDebug: Read + Send + std::fmt::Debug {}
impl<T: Read + Send + std::fmt::Debug> ReadDebug for T {}

/// An entry beyond this is cut short: `--all` gives even binary fields in full.
pub(super) const ENTRY_BYTES_MAX: u64 = 4 << 20;

impl Journal {
    /// Starts `journalctl` for entries that fit one of `matches` (all entries if there is none);
    /// each is a list like `_SYSTEMD_UNIT=ssh.service + _COMM=sshd`.
    ///
    /// # Errors
    ///
    /// If `journalctl` cannot be started.
    pub fn open(options: &JournalOptions, matches: &[String]) -> io::Result<Journal> {
        let mut words: Vec<&str> = Vec::new();
        for one in matches {
            if !words.is_empty() {
                words.push("+");
            }
            words.extend(one.split_whitespace().map(|word| word.trim_matches(['"', '\''])));
        }
        let mut child = Command::new("journalctl")
            .args(options.arguments())
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output: Box<dyn ReadDebug> = match child.stdout.take() {
            Some(stdout) => Box::new(stdout),
            None => Box::new(io::empty()),
        };
        Ok(Journal { child, output: BufReader::with_capacity(64 << 10, output), line: Vec::new() })
    }

    /// The next entry; `None` at the end. Lines that are no entries are passed over.
    ///
    /// # Errors
    ///
    /// If the pipe cannot be read.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> io::Result<Option<JournalEntry>> {
        loop {
            self.line.clear();
            let count =
                (&mut self.output).take(ENTRY_BYTES_MAX).read_until(b'\n', &mut self.line)?;
            if count == 0 {
                return Ok(None);
            }
            if let Some(entry) = entry(&self.line) {
                return Ok(Some(entry));
            }
        }
    }

    /// Waits for `journalctl` to end; true if it was content.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn finish(mut self) -> io::Result<bool> {
        Ok(self.child.wait()?.success())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Reading may end early (a closed pipe behind us): do not leave the child writing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one line of `--output=json`.
pub fn entry(json: &[u8]) -> Option<JournalEntry> {
    let Value::Object(fields) = serde_json::from_slice(json).ok()? else { return None };
    entry_of(&fields)
}

/// Makes the line of an entry out of its fields.
pub(super) fn entry_of(fields: &Map<String, Value>) -> Option<JournalEntry> {
    let number = |name: &str| field(fields, name)?.parse::<i64>().ok();
    let micros = number("_SOURCE_REALTIME_TIMESTAMP").or(number("__REALTIME_TIMESTAMP"))?;
    let at = Timestamp::from_micros(micros);
    let mut words = Vec::new();
    words.extend(field(fields, "_HOSTNAME").filter(|name| !name.is_empty()));
    let identifier = |name| field(fields, name).filter(|word| !word.is_empty());
    if let Some(mut word) = identifier("SYSLOG_IDENTIFIER").or_else(|| identifier("_COMM")) {
        if let Some(pid) = identifier("SYSLOG_PID").or_else(|| identifier("_PID")) {
            word.push_str(&format!("[{pid}]"));
        }
        word.push(':');
        let is_kernel = word == "kernel:";
        words.push(word);
        if is_kernel {
            let monotonic =
                number("_SOURCE_MONOTONIC_TIMESTAMP").or(number("__MONOTONIC_TIMESTAMP"));
            words.push(format!("[{:12.6}]", monotonic.unwrap_or(0) as f64 / 1e6));
        }
    }
    words.push(field(fields, "MESSAGE").unwrap_or_default());
    let text = words.join(" ").replace('\n', "\\n");
    Some(JournalEntry { text, at, stamp: stamp(at) })
}

/// `2026-11-20T10:00:00.000123 `, with a blank behind.
fn stamp(at: Timestamp) -> String {
    let Some(civil) = Zone::Local.civil(at) else { return String::new() };
    let micros = at.micros().rem_euclid(1_000_000);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{fraction} ",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

/// A field as text: a string, a list of byte values (not UTF-8), or several values of one name.
pub(super) fn field(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(values) => {
            let bytes: Option<Vec<u8>> =
                values.iter().map(|v| u8::try_from(v.as_u64()?).ok()).collect();
            match bytes {
                Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                None => {
                    let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                    Some(texts.join(" "))
                }
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_becomes_a_line_as_filters_know_it() {
        let rows = [
            (
                r#"{"__REALTIME_TIMESTAMP":"1124013599000000","_HOSTNAME":"gate","SYSLOG_IDENTIFIER":"sshd","_PID":"7","MESSAGE":"a\nb"}"#,
                Some(r"gate sshd[7]: a\nb"),
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1","_HOSTNAME":"gate","SYSLOG_IDENTIFIER":"kernel","_SOURCE_MONOTONIC_TIMESTAMP":"1500000","MESSAGE":"x"}"#,
                Some("gate kernel: [    1.500000] x"),
            ),
            (
                r#"{"__REALTIME_TIMESTAMP":"1","_COMM":"cron","MESSAGE":[104,255]}"#,
                Some("cron: h\u{fffd}"),
            ),
            (r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":["one","two"]}"#, Some("one two")),
            (r#"{"MESSAGE":"no time"}"#, None),
            ("{", None),
        ];
        for (json, expected) in rows {
            assert_eq!(entry(json.as_bytes()).map(|e| e.text).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn options_become_arguments() {
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let options = JournalOptions::new(&[option("journalpath", "/j"), option("namespace", "n")]);
        let arguments = options.unwrap().arguments();
        assert!(arguments.contains(&"--directory=/j".to_owned()));
        assert!(arguments.contains(&"--namespace=n".to_owned()));
        assert!(!arguments.contains(&"--system".to_owned()));
        assert!(JournalOptions::default().arguments().contains(&"--system".to_owned()));
        assert_eq!(JournalOptions::new(&[option("x", "y")]), Err(BadOption("x".to_owned())));
    }
}
