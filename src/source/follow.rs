//! `JournalTail`: the systemd journal, followed by a `journalctl --follow` that runs beside us.
//!
//! The child writes one JSON object for each entry, and each has a cursor: stored, it says where to
//! go on. The reader waits for the child and for a wake-up of its own at the same time.

use std::{
    io::{self, Read},
    os::fd::BorrowedFd,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use memchr::memchr;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde_json::{Map, Value};

use super::journal::{ENTRY_BYTES_MAX, JournalEntry, JournalOptions, entry_of};
use crate::time::Timestamp;

/// Read from the child at a time.
const READ_BYTES: usize = 64 << 10;
/// What is kept of the child's complaints.
const COMPLAINT_BYTES_MAX: usize = 1000;

/// A child that has closed its output is given so many pauses to end, and each is so long.
const END_TRIES: u32 = 20;
const END_PAUSE: Duration = Duration::from_millis(10);

/// Where following begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JournalFrom {
    /// Behind the entry with this cursor.
    Cursor(String),
    /// At this moment.
    Since(Timestamp),
}

/// What a wait came to.
#[derive(Debug)]
pub enum JournalNews {
    /// Entries, oldest first, and the cursor of the last one that had any.
    Entries(Vec<(Map<String, Value>, JournalEntry)>, Option<String>),
    /// The wake-up was rung.
    Woken,
    /// Nothing came.
    Quiet,
    /// The child is dead: why.
    Ended(String),
}

/// Follows a journal.
#[derive(Debug)]
pub struct JournalTail {
    child: Child,
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    /// What was read behind the last whole entry.
    rest: Vec<u8>,
    /// The rest of an entry that is too long is being skipped.
    skipping: bool,
    complaint: Vec<u8>,
}

impl JournalTail {
    /// Starts `journalctl` for the entries that fit `matches` (its arguments; none for all).
    ///
    /// # Errors
    ///
    /// If `journalctl` cannot be started; it is named.
    pub fn start(
        options: &JournalOptions,
        matches: &[String],
        from: &JournalFrom,
    ) -> io::Result<JournalTail> {
        let from = match from {
            JournalFrom::Cursor(cursor) => format!("--after-cursor={cursor}"),
            JournalFrom::Since(at) => format!("--since=@{}", at.secs()),
        };
        let mut child = Command::new("journalctl")
            .args(options.arguments())
            // Without --no-tail only the last ten entries would be shown at first.
            .args(["--follow", "--no-tail", &from])
            .args(matches)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(error.kind(), "journalctl is not installed")
                }
                _ => io::Error::new(error.kind(), format!("journalctl: {error}")),
            })?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        Ok(JournalTail {
            child,
            output,
            errors,
            rest: Vec::new(),
            skipping: false,
            complaint: Vec::new(),
        })
    }

    /// Waits for entries, for somebody to write to the pipe behind `wake`, or so long.
    pub fn wait(&mut self, wake: BorrowedFd<'_>, at_most: Duration) -> JournalNews {
        let Some(output) = &self.output else { return JournalNews::Ended(self.why()) };
        let ready = |fd: &PollFd<'_>| {
            fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
        };
        let mut fds =
            vec![PollFd::new(output, PollFlags::IN), PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        fds.extend(self.errors.as_ref().map(|errors| PollFd::new(errors, PollFlags::IN)));
        let timeout = Timespec::try_from(at_most).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => (),
            Err(error) => {
                return JournalNews::Ended(format!("cannot wait for journalctl: {error}"));
            }
        }
        let [has_output, is_woken, has_errors] = [0, 1, 2].map(|at| fds.get(at).is_some_and(ready));
        if has_errors {
            self.read_complaint();
        }
        if is_woken {
            return JournalNews::Woken;
        }
        match has_output {
            true => self.read(),
            false => JournalNews::Quiet,
        }
    }

    fn read(&mut self) -> JournalNews {
        let Some(output) = &mut self.output else { return JournalNews::Ended(self.why()) };
        let known = self.rest.len();
        self.rest.resize(known + READ_BYTES, 0);
        let read = output.read(self.rest.get_mut(known..).unwrap_or_default());
        self.rest.truncate(known + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.output = None;
                return JournalNews::Ended(self.why());
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return JournalNews::Ended(format!("cannot read from journalctl: {error}"));
            }
            _ => (),
        }
        let (mut entries, mut cursor) = (Vec::new(), None);
        let mut start = 0;
        let mut searched = known;
        while let Some(at) = memchr(b'\n', self.rest.get(searched..).unwrap_or_default()) {
            let line = self.rest.get(start..searched + at).unwrap_or_default();
            (start, searched) = (searched + at + 1, searched + at + 1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let Ok(Value::Object(fields)) = serde_json::from_slice(line) else { continue };
            if let Some(Value::String(text)) = fields.get("__CURSOR") {
                cursor = Some(text.clone());
            }
            if let Some(entry) = entry_of(&fields) {
                entries.push((fields, entry));
            }
        }
        self.rest.drain(..start);
        if self.rest.len() as u64 > ENTRY_BYTES_MAX {
            self.rest.clear();
            self.skipping = true;
        }
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
        JournalNews::Entries(entries, cursor)
    }

    fn read_complaint(&mut self) {
        let mut buffer = [0; 1024];
        let Some(errors) = &mut self.errors else { return };
        match errors.read(&mut buffer) {
            Ok(count) if count > 0 => {
                self.complaint.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let surplus = self.complaint.len().saturating_sub(COMPLAINT_BYTES_MAX);
                self.complaint.drain(..surplus);
            }
            _ => self.errors = None,
        }
    }

    /// Why it ended: its last words, else how.
    fn why(&mut self) -> String {
        let status = self.end();
        while let Some(errors) = &self.errors {
            let mut fds = [PollFd::new(errors, PollFlags::IN)];
            let none = Timespec::default();
            match poll(&mut fds, Some(&none)) {
                Ok(ready) if ready > 0 => self.read_complaint(),
                _ => break,
            }
        }
        let complaint = String::from_utf8_lossy(&self.complaint);
        match (complaint.trim().lines().last(), status) {
            (Some(line), _) if !line.is_empty() => format!("journalctl: {line}"),
            (_, Ok(status)) => format!("journalctl ended ({status})"),
            (_, Err(error)) => format!("journalctl ended: {error}"),
        }
    }

    /// Gives the child a moment to end by itself, so that its status tells something.
    fn end(&mut self) -> io::Result<ExitStatus> {
        for _ in 0..END_TRIES {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            let pause = Timespec::try_from(END_PAUSE).ok();
            let _ = poll(&mut [], pause.as_ref());
        }
        let _ = self.child.kill();
        self.child.wait()
    }
}

impl Drop for JournalTail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
