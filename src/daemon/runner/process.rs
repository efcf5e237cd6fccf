//! Runs one program: fed, read, and ended with all its children when its time is over.

use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process_group},
};

use super::exec::{Failed, Why};
use crate::time::Stopwatch;

/// Of what a program complains so much is kept, in bytes.
pub const STDERR_BYTES_MAX: usize = 16 * 1024;

/// A program that is told to end has so long to do so before it is killed, in seconds.
const GRACE_S: f64 = 0.5;

/// A child of a program may hold its output open after it ended: so long is waited, in seconds.
const LINGER_S: f64 = 0.2;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// What it reads.
    pub stdin: &'a str,
    /// Added to its environment.
    pub env: &'a [(String, String)],
    /// It may take so long, in seconds.
    pub timeout_s: u64,
    /// Of what it prints so much is kept, in bytes.
    pub stdout_bytes_max: usize,
}

/// What came of a program that ended by itself.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// What it printed, bounded.
    pub stdout: String,
    /// What it complained of, bounded.
    pub stderr: String,
}

/// Runs a program and waits for its end.
///
/// # Errors
///
/// When it cannot be started or takes too long.
pub fn run(call: Call<'_>) -> Result<Ran, Failed> {
    let Some((program, arguments)) = call.argv.split_first() else {
        return Err(Failed { text: "there is no program to run".into(), why: Why::System });
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(call.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that its children end with it; and no directory held busy.
    command.process_group(0).current_dir("/");
    let child = command.spawn().map_err(|error| not_started(program, &error))?;
    Process::new(child, call)?.attend(program)
}

pub(super) fn not_started(program: &str, error: &std::io::Error) -> Failed {
    match error.kind() {
        ErrorKind::NotFound => {
            let text = format!("{program} is not installed: {}", remedy(program));
            Failed { text, why: Why::Missing }
        }
        ErrorKind::PermissionDenied => {
            let text = format!("{program} may not be run: look at its mode and at our rights");
            Failed { text, why: Why::System }
        }
        _ => Failed { text: format!("{program} cannot be started: {error}"), why: Why::System },
    }
}

/// What to do about a tool that is not there.
fn remedy(program: &str) -> String {
    let package = match program {
        "nft" => "nftables",
        "ipset" => "ipset",
        "iptables" | "ip6tables" | "iptables-restore" | "ip6tables-restore" => "iptables",
        "ip" => "iproute2",
        "ufw" => "ufw",
        "firewall-cmd" => "firewalld",
        _ => return "install it, put it on PATH, or choose another banaction".to_owned(),
    };
    format!("`apt install {package}` (or your system's way), or choose another banaction")
}

struct Process<'a> {
    child: Child,
    unwritten: &'a [u8],
    call: Call<'a>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Process<'a> {
    fn new(child: Child, call: Call<'a>) -> Result<Process<'a>, Failed> {
        let system = |error| Failed { text: format!("pipe: {error}"), why: Why::System };
        if let Some(stdin) = &child.stdin {
            // A program that does not read must not hold us up.
            rustix::io::ioctl_fionbio(stdin, true).map_err(system)?;
        }
        let unwritten = call.stdin.as_bytes();
        Ok(Process { child, unwritten, call, stdout: Vec::new(), stderr: Vec::new() })
    }

    fn attend(mut self, program: &str) -> Result<Ran, Failed> {
        let watch = Stopwatch::start();
        let limit_s = self.call.timeout_s as f64;
        let mut ended: Option<(ExitStatus, f64)> = None;
        loop {
            let at_s = watch.seconds();
            if let Some((status, since_s)) = ended
                && (self.is_silent() || at_s > since_s + LINGER_S)
            {
                return Ok(self.ran(status));
            }
            if ended.is_none() && at_s > limit_s {
                self.end();
                let text = format!("{program} took longer than {limit_s} s and was ended");
                return Err(Failed { text, why: Why::Slow });
            }
            self.exchange((limit_s - at_s).clamp(0.001, 0.05));
            if ended.is_none()
                && let Ok(Some(status)) = self.child.try_wait()
            {
                ended = Some((status, watch.seconds()));
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.child.stdout.is_none() && self.child.stderr.is_none()
    }

    /// Waits until something can be read or written, or for so many seconds, and does it.
    fn exchange(&mut self, wait_s: f64) {
        if self.unwritten.is_empty() {
            self.child.stdin = None;
        }
        let child = &self.child;
        let stdin = child.stdin.as_ref().map(|fd| (fd.as_fd(), PollFlags::OUT));
        let stdout = child.stdout.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN));
        let stderr = child.stderr.as_ref().map(|fd| (fd.as_fd(), PollFlags::IN));
        let open: Vec<(usize, (BorrowedFd<'_>, PollFlags))> = [stdin, stdout, stderr]
            .into_iter()
            .enumerate()
            .filter_map(|(place, fd)| Some((place, fd?)))
            .collect();
        if open.is_empty() {
            // All closed, and the program still runs: it may sleep for long.
            std::thread::sleep(Duration::from_millis(1));
            return;
        }
        let mut fds: Vec<PollFd<'_>> =
            open.iter().map(|(_, (fd, flags))| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: (wait_s * 1e9) as _ };
        if poll(&mut fds, Some(&wait)).is_err() {
            return;
        }
        let ready: Vec<usize> = open
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty())
            .map(|((place, _), _)| *place)
            .collect();
        for place in ready {
            match place {
                0 => self.write(),
                1 => {
                    let max = self.call.stdout_bytes_max;
                    if !take(self.child.stdout.as_mut(), &mut self.stdout, max) {
                        self.child.stdout = None;
                    }
                }
                _ => {
                    if !take(self.child.stderr.as_mut(), &mut self.stderr, STDERR_BYTES_MAX) {
                        self.child.stderr = None;
                    }
                }
            }
        }
    }

    fn write(&mut self) {
        let Some(stdin) = self.child.stdin.as_mut() else { return };
        match stdin.write(self.unwritten) {
            Ok(count) => self.unwritten = self.unwritten.get(count..).unwrap_or_default(),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It does not want to read more: its exit code says what that means.
            Err(_) => self.unwritten = &[],
        }
    }

    /// Ends the program and all of its group.
    fn end(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let Some(group) = group else { return };
        let _ = kill_process_group(group, Signal::TERM);
        let watch = Stopwatch::start();
        while watch.seconds() < GRACE_S && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }

    fn ran(self, status: ExitStatus) -> Ran {
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: code.unwrap_or(-1), stdout: text(self.stdout), stderr: text(self.stderr) }
    }
}

/// Reads what is there; what is beyond `max` is read and dropped. False at the end.
fn take(from: Option<&mut impl Read>, into: &mut Vec<u8>, max: usize) -> bool {
    let Some(from) = from else { return false };
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            let room = max.saturating_sub(into.len());
            into.extend(buffer.iter().take(count.min(room)));
            true
        }
        Err(error) => error.kind() == ErrorKind::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, stdin: &str, timeout_s: u64) -> Result<Ran, Failed> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(Call { argv: &argv, stdin, env: &[], timeout_s, stdout_bytes_max: 1000 })
    }

    #[test]
    fn a_program_is_fed_and_read() {
        let ran = sh("cat; echo no >&2; exit 3", "hello", 10).unwrap();
        assert_eq!((ran.code, &*ran.stdout, &*ran.stderr), (3, "hello", "no\n"));
        let large = "x".repeat(1 << 20);
        assert_eq!(sh("cat", &large, 10).unwrap().stdout.len(), 1000);
        assert_eq!(sh("exec <&-; exit 0", &large, 10).unwrap().code, 0);
        assert_eq!(sh("kill -9 $$", "", 10).unwrap().code, 137);
    }

    #[test]
    fn one_that_hangs_is_ended_with_its_children() {
        let dir = std::env::temp_dir().join(format!("sentryban-process-{}", std::process::id()));
        let script = format!("trap '' TERM; sleep 987 & echo $! > {}; wait; wait", dir.display());
        let failed = sh(&script, "", 1).unwrap_err();
        assert_eq!(failed.why, Why::Slow);
        let child = std::fs::read_to_string(&dir).unwrap();
        let _ = std::fs::remove_file(&dir);
        // Gone, or a zombie that nobody has collected yet; a signal may be on its way for a moment.
        let watch = Stopwatch::start();
        let lives = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            state.is_ok_and(|state| !state.contains(") Z "))
        };
        while lives() {
            assert!(watch.seconds() < 30.0, "{child} lives");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_us_up() {
        let watch = Stopwatch::start();
        assert_eq!(sh("sleep 5 & exit 0", "", 10).unwrap().code, 0);
        assert!(watch.seconds() < 4.0);
    }

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let argv = ["nft".to_owned()];
        let failed = not_started(&argv[0], &ErrorKind::NotFound.into());
        assert!(failed.text.contains("apt install nftables"), "{}", failed.text);
    }
}
