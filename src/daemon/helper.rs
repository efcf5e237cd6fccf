//! Helper: a process with full rights that runs steps for a daemon that has dropped its own.
//!
//! It is our own program, started with [`ARGUMENT`] before there are threads, and reached over a
//! pair of sockets: each request is a step of a plan, each answer what came of it, as JSON behind
//! its length. It ends when the daemon's end closes. Nothing else can reach it.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::runner::{
    exec::{Done, Executor, Failed, Why},
    tools::Tools,
};
use crate::{
    action::plan::{Step, TIMEOUT_S, Work},
    time::Stopwatch,
};

/// The hidden argument with which our program becomes the helper.
pub const ARGUMENT: &str = "--run-as-helper";

/// A frame is not longer than this, in bytes: a listing of a million bans fits.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// So many steps run at once; more wait.
const RUNNING_MAX: usize = 32;

/// An answer may come so long after the step's own time is over, in seconds.
const MARGIN_S: u64 = 30;

/// So long is waited for the helper's end, in seconds.
const END_S: f64 = 1.0;

#[derive(Deserialize, Serialize)]
struct Request {
    number: u64,
    step: Step,
}

#[derive(Deserialize, Serialize)]
struct Answer {
    number: u64,
    result: Result<Done, Failed>,
    notes: Vec<String>,
}

// ---- the daemon's side -------------------------------------------------------------------------

/// The handle to the helper; the process ends when it and all its executors are dropped.
#[derive(Debug)]
pub struct Helper {
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    socket: UnixStream,
    writing: Mutex<()>,
    waiting: Mutex<HashMap<u64, mpsc::Sender<Answer>>>,
    next: AtomicU64,
    listening: AtomicBool,
    child: Mutex<Child>,
}

impl Helper {
    /// Starts the program that runs here as the helper; see [`Helper::start`].
    ///
    /// # Errors
    ///
    /// When the system gives no sockets or no process, or does not tell which program this is.
    pub fn start_own() -> io::Result<Helper> {
        // On Linux it is the very file that runs, even if an upgrade has replaced it. BSDs have none.
        if cfg!(target_os = "linux") {
            return Helper::start(Path::new("/proc/self/exe"));
        }
        Helper::start(&std::env::current_exe()?)
    }

    /// Starts `program` (our own, as `/proc/self/exe`) as the helper. To be called before there
    /// are threads and before rights are dropped.
    ///
    /// # Errors
    ///
    /// When the system gives no sockets or no process.
    pub fn start(program: &Path) -> io::Result<Helper> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(program);
        command.arg(ARGUMENT).current_dir("/").stdin(Stdio::from(OwnedFd::from(theirs)));
        // A group of its own: what the terminal sends is for the daemon, who may need us to lift bans.
        let child = command.stdout(Stdio::null()).process_group(0).spawn()?;
        let line = Line {
            socket: ours,
            writing: Mutex::new(()),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            listening: AtomicBool::new(false),
            child: Mutex::new(child),
        };
        Ok(Helper { line: Arc::new(line) })
    }

    /// An executor whose steps the helper runs. Starts, the first time, the thread that reads the
    /// helper's answers.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn executor(&self) -> io::Result<HelperExecutor> {
        if !self.line.listening.swap(true, Ordering::SeqCst) {
            let socket = self.line.socket.try_clone()?;
            let line = Arc::downgrade(&self.line);
            std::thread::Builder::new().name("helper".to_owned()).spawn(move || {
                let mut socket = io::BufReader::new(socket);
                while let Ok(Some(answer)) = read_frame::<Answer>(&mut socket) {
                    let Some(line) = line.upgrade() else { return };
                    let waiting = lock(&line.waiting).remove(&answer.number);
                    // Whoever asked may have given up.
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(answer);
                    }
                }
                // Nobody will answer any more: all who wait are told by the end of their channel.
                if let Some(line) = line.upgrade() {
                    line.listening.store(false, Ordering::SeqCst);
                    lock(&line.waiting).clear();
                }
            })?;
        }
        Ok(HelperExecutor { line: Arc::clone(&self.line), notes: Vec::new() })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let mut child = lock(&self.child);
        let watch = Stopwatch::start();
        while watch.seconds() < END_S && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// An executor on the daemon's side.
#[derive(Debug)]
pub struct HelperExecutor {
    line: Arc<Line>,
    notes: Vec<String>,
}

impl Executor for HelperExecutor {
    fn run(&mut self, step: &Step) -> Result<Done, Failed> {
        let gone = || Failed {
            text: "the helper process has ended: restart the daemon".to_owned(),
            why: Why::System,
        };
        let number = self.line.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel();
        lock(&self.line.waiting).insert(number, sender);
        if !self.line.listening.load(Ordering::SeqCst) {
            lock(&self.line.waiting).remove(&number);
            return Err(gone());
        }
        let request = Request { number, step: step.clone() };
        let written = {
            let _one = lock(&self.line.writing);
            write_frame(&mut &self.line.socket, &request)
        };
        if written.is_err() {
            lock(&self.line.waiting).remove(&number);
            return Err(gone());
        }
        match receiver.recv_timeout(Duration::from_secs(limit_s(step) + MARGIN_S)) {
            Ok(answer) => {
                self.notes.extend(answer.notes);
                answer.result
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(gone()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                lock(&self.line.waiting).remove(&number);
                let text = "the helper process does not answer".to_owned();
                Err(Failed { text, why: Why::Slow })
            }
        }
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// How long a step may take, with all the commands that it may need.
fn limit_s(step: &Step) -> u64 {
    match &step.work {
        Work::Command(command) => command.timeout_s,
        Work::Unless { probe, run } => probe.timeout_s.saturating_add(run.timeout_s),
        Work::Shell(shell) => shell.timeout_s,
        Work::Edit(_) | Work::Say(_) => TIMEOUT_S,
        Work::Sets(_) => TIMEOUT_S * 4,
    }
}

// ---- the helper's side -------------------------------------------------------------------------

/// Serves the daemon at the other end of standard input until that closes; what our program does
/// when it is started with [`ARGUMENT`].
///
/// # Errors
///
/// When standard input is no socket, or the daemon sends something that is no request.
pub fn serve() -> io::Result<()> {
    let socket = UnixStream::from(rustix::io::dup(io::stdin())?);
    // Fails where standard input is something else: nobody talks to a helper by hand.
    socket.peer_addr()?;
    // Ended by the daemon's end only, as bans are lifted through us when the system goes down.
    let heard = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&heard))?;
    }
    let answers = Arc::new(Mutex::new(socket.try_clone()?));
    let running = Arc::new((Mutex::new(0_usize), Condvar::new()));
    let mut requests = io::BufReader::new(socket);
    while let Some(request) = read_frame::<Request>(&mut requests)? {
        let (count, ended) = &*running;
        let mut count = lock(count);
        while *count >= RUNNING_MAX {
            count = ended.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
        *count += 1;
        drop(count);
        let (answers, running) = (Arc::clone(&answers), Arc::clone(&running));
        std::thread::Builder::new().spawn(move || {
            let mut tools = Tools::new();
            let result = tools.run(&request.step);
            let answer = Answer { number: request.number, result, notes: tools.notes() };
            // The daemon may be gone: then there is nobody to tell.
            let _ = write_frame(&mut *lock(&answers), &answer);
            *lock(&running.0) -= 1;
            running.1.notify_one();
        })?;
    }
    Ok(())
}

// ---- frames ------------------------------------------------------------------------------------

fn write_frame(to: &mut impl Write, frame: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(frame)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame is too long"))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(body);
    to.write_all(&bytes)?;
    to.flush()
}

/// The next frame; none at the end.
fn read_frame<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => (),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame is too long"));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_and_bad_ones_are_refused() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &vec!["one", "two"]).unwrap();
        let mut from = &bytes[..];
        let frame = read_frame::<Vec<String>>(&mut from).unwrap().unwrap();
        assert_eq!(frame, ["one", "two"]);
        assert!(read_frame::<Vec<String>>(&mut from).unwrap().is_none());
        for bad in [&[255, 255, 255, 255][..], &[0, 0, 0, 2, b'x', b'y'], &[0, 0, 0, 9, b'"']] {
            assert!(read_frame::<String>(&mut &bad[..]).is_err(), "{bad:?}");
        }
    }
}
