//! Voice: the sensor's lines, to syslog, to a file, to the terminal.
//!
//! Nobody here waits for a syslog that is behind: what it does not take at once is kept, up to a
//! limit, and what is beyond is counted.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{fs::OpenOptionsExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    daemon::log::{Level, syslog_socket},
    sensor::Line,
    time::{Stopwatch, Timestamp, Zone},
};

/// So many lines wait for syslog at most.
const WAITING_MAX: usize = 8192;
/// At the end syslog gets so long for what waits, and for each of the lines.
const LAST_MAX_S: f64 = 2.0;
const LAST_LINE_MAX: Duration = Duration::from_millis(500);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Where lines go.
#[derive(Debug)]
pub struct Voice {
    /// `PROGRAM[PID]`.
    tag: String,
    host: String,
    priority: Option<u8>,
    socket: Option<UnixDatagram>,
    waiting: VecDeque<Vec<u8>>,
    lost: u64,
    file: Option<PathBuf>,
    terminal: bool,
    /// What was wrong when it was last told.
    trouble: Option<Trouble>,
}

/// What is wrong, and how bad that is.
type Trouble = (Level, String);

impl Voice {
    /// A voice that says nothing yet.
    pub fn new(terminal: bool) -> Voice {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Voice {
            tag: format!("portsentry[{}]", std::process::id()),
            host,
            priority: None,
            socket: None,
            waiting: VecDeque::new(),
            lost: 0,
            file: None,
            terminal,
            trouble: None,
        }
    }

    /// Lines go here from now on. `priority` is that of syslog: facility times eight and severity.
    pub fn direct(&mut self, priority: Option<u8>, file: Option<PathBuf>) {
        (self.priority, self.file) = (priority, file);
    }

    /// `HOST portsentry[PID]: `, which stands before a line in a log.
    pub fn preface(&self) -> String {
        format!("{} {}: ", self.host, self.tag)
    }

    /// Says these lines. What is wrong comes back, once until it is another thing.
    pub fn say(&mut self, lines: &[Line]) -> Option<Trouble> {
        if lines.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let mut trouble = None;
        if let Some(priority) = self.priority {
            for line in lines {
                let text = format!("<{priority}>{} {}: {}", stamp(line.time), self.tag, line.text);
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.push_back(text.into_bytes());
                } else {
                    self.lost += 1;
                }
            }
            if let Err(error) = self.drain() {
                trouble = Some(no_syslog(&error));
                // Where there is no syslog nobody misses what it would have been told.
                self.waiting.clear();
            }
        }
        let laid_out = |line: &Line| {
            format!("{} {} {}: {}\n", stamp(line.time), self.host, self.tag, line.text)
        };
        if (self.file.is_some() || self.terminal) && !lines.is_empty() {
            let text: String = lines.iter().map(laid_out).collect();
            if let Some(path) = &self.file
                && let Err(error) = append(path, text.as_bytes())
            {
                trouble = Some((Level::ERROR, format!("{}: {error}", path.display())));
            }
            if self.terminal {
                let mut out = io::stdout().lock();
                // Whoever read it may have gone.
                let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            }
        }
        if self.lost > 0 && self.waiting.is_empty() {
            let text = format!("syslog is too slow: {} lines are lost", self.lost);
            trouble = Some((Level::ERROR, text));
            self.lost = 0;
        }
        let is_new = trouble != self.trouble;
        self.trouble.clone_from(&trouble);
        trouble.filter(|_| is_new)
    }

    /// The socket of a syslog that is behind: it can be written to as soon as there is room again.
    pub fn is_behind(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// Nothing more will be said: a syslog that is behind is waited for, for a while.
    pub fn finish(&mut self) {
        if let Some(socket) = &self.socket {
            // Where waiting cannot be had, what waits is tried once more.
            let _ = socket.set_write_timeout(Some(LAST_LINE_MAX));
            let _ = socket.set_nonblocking(false);
        }
        let clock = Stopwatch::start();
        while !self.waiting.is_empty() && clock.seconds() < LAST_MAX_S {
            let before = self.waiting.len();
            if self.drain_some(1).is_err() || self.waiting.len() == before {
                return;
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        self.drain_some(usize::MAX)
    }

    /// Sends at most so many of the lines that wait.
    fn drain_some(&mut self, lines: usize) -> io::Result<()> {
        for _ in 0..lines {
            let Some(line) = self.waiting.front() else { break };
            let mut tries = 0;
            loop {
                let socket = match &self.socket {
                    Some(socket) => socket,
                    None => self.socket.insert(connect()?),
                };
                match socket.send(line) {
                    Ok(_) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    // It was restarted, perhaps.
                    Err(error) => {
                        self.socket = None;
                        tries += 1;
                        if tries > 1 {
                            return Err(error);
                        }
                    }
                }
            }
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// What to say where no syslog takes lines. Many machines have none, and jails on the sensor need
/// none.
fn no_syslog(error: &io::Error) -> Trouble {
    let text = format!(
        "no syslog takes the sensor's lines: {error}; start a syslog daemon, or write into [sensor] \
         of sentryban.conf `log = /var/log/portsentry.log` for a file, and `syslog = no`"
    );
    (Level::WARNING, text)
}

/// Whether a syslog takes lines now.
///
/// # Errors
///
/// What to say where none does.
pub fn try_syslog() -> Result<(), String> {
    connect().map(drop).map_err(|error| no_syslog(&error).1)
}

fn connect() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let path = syslog_socket();
    socket
        .connect(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Opens a file that is ours to read only, to append to it.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Appends to such a file.
pub fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    open(path)?.write_all(text)
}

/// `Nov 20 09:45:12`, in local time, as syslog has it.
fn stamp(time: Timestamp) -> String {
    let Some(civil) = Zone::Local.civil(time) else { return "Jan  1 00:00:00".to_owned() };
    let month = usize::try_from(civil.month).unwrap_or(1).saturating_sub(1);
    let month = MONTHS.get(month).copied().unwrap_or("Jan");
    format!("{month} {:>2} {:02}:{:02}:{:02}", civil.day, civil.hour, civil.minute, civil.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_wait_for_a_syslog_that_is_behind() {
        let (ours, syslog) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut voice = Voice::new(false);
        voice.direct(Some(29), None);
        voice.socket = Some(ours);
        let line = |number: usize| Line {
            time: Timestamp::from_secs(1_795_166_841),
            text: format!("line {number}").into(),
        };
        let lines: Vec<Line> = (0..3000).map(line).collect();
        assert_eq!(voice.say(&lines), None);
        assert!(voice.is_behind().is_some(), "more than a queue holds");
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 256];
            let mut heard = Vec::new();
            while heard.len() < 3000 {
                let length = syslog.recv(&mut buffer).unwrap();
                if length == 0 {
                    break;
                }
                heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
            heard
        });
        voice.finish();
        assert!(voice.is_behind().is_none());
        let heard = reader.join().unwrap();
        for (number, text) in heard.iter().enumerate() {
            assert!(text.ends_with(&format!("]: line {number}")), "{text}");
        }
        assert_eq!(heard.len(), 3000);
    }

    #[test]
    fn a_syslog_that_takes_nothing_holds_up_no_end() {
        let (ours, _deaf) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut voice = Voice::new(false);
        voice.direct(Some(29), None);
        voice.socket = Some(ours);
        let line = Line { time: Timestamp::default(), text: "line".into() };
        voice.say(&vec![line; 3000]);
        voice.finish();
        assert!(voice.is_behind().is_some());
    }
}
