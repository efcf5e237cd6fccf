//! The server's end: one thread accepts, one thread serves each client.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    ANSWER_MAX, CLIENTS_MAX, CLOSING_MAX, GUESTS_MAX, LINE_MAX, REPLY_MAX, REQUEST_MAX,
    REQUEST_MAX_GUEST, SILENCE_MAX, TAKING_MAX,
    door::{self, Door, FileId, ListenError},
    line::{self, LineError, Lines},
    peer::Peer,
};
use crate::control::protocol::{Refusal, Reply, Request};

/// Parsing and writing a line needs little; a client is not to cost more.
const STACK: usize = 512 << 10;

/// A request on its way to whoever answers it.
#[derive(Debug)]
pub struct Asked {
    /// What is asked; a peer that may not order has no order in here.
    pub request: Request,
    /// By whom.
    pub peer: Peer,
    /// Where the reply goes.
    pub reply_to: ReplyTo,
}

/// Takes the one reply to a request. Dropped without one, the client is told that there is none.
#[derive(Debug)]
pub struct ReplyTo(SyncSender<Reply>);

impl ReplyTo {
    /// Sends the reply; a client that went away is no fault. Never blocks.
    pub fn send(self, reply: Reply) {
        let _ = self.0.try_send(reply);
    }
}

/// A [`ReplyTo`] and where its reply comes out, for whoever asks without a socket.
pub fn reply_to() -> (ReplyTo, Receiver<Reply>) {
    let (sender, receiver) = sync_channel(1);
    (ReplyTo(sender), receiver)
}

/// The open server end. Dropped, it accepts nobody any more, waits a moment for replies that are on
/// their way, and removes its socket file.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    file: FileId,
    /// Closed, it wakes the thread that accepts.
    waker: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    clients: Arc<Clients>,
    _lock: File,
}

/// Opens the socket (0600, or 0660 with a group) and starts to accept. Call it after all forks.
///
/// `hand_in` is called on the client's own thread and may block for as long as the inbox is full;
/// it gives false if nobody answers any more.
///
/// # Errors
/// If a server answers there, if the path is not safe, or if the system refuses.
pub fn listen(
    door: Door,
    hand_in: impl Fn(Asked) -> bool + Send + Sync + 'static,
) -> Result<Listener, ListenError> {
    let opened = door::open(&door)?;
    let listener = opened.listener;
    let clients = Arc::new(Clients::default());
    let nonblocking = listener.set_nonblocking(true);
    let accepting = Accepting {
        listener,
        guests: door.group.is_some(),
        clients: Arc::clone(&clients),
        hand_in: Arc::new(hand_in),
    };
    let path = door.path;
    let started = nonblocking.and_then(|()| UnixStream::pair());
    let started = started.and_then(|(waker, wakes)| {
        let thread = Builder::new().name("control".to_owned()).stack_size(STACK);
        Ok((waker, thread.spawn(move || accepting.run(&wakes))?))
    });
    match started {
        Ok((waker, thread)) => Ok(Listener {
            path,
            file: opened.file,
            waker: Some(waker),
            thread: Some(thread),
            clients,
            _lock: opened.lock,
        }),
        Err(error) => {
            door::remove(&path, opened.file);
            Err(ListenError::Io(path, error))
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.waker.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.clients.settle();
        door::remove(&self.path, self.file);
    }
}

/// Who is being served.
#[derive(Debug, Default)]
struct Clients {
    counts: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    clients: usize,
    guests: usize,
    /// Requests whose replies are not written yet.
    in_flight: usize,
}

impl Clients {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every statement: a thread that died left nothing half-done.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, peer: Peer) -> bool {
        let mut counts = self.counts();
        let guest = usize::from(!peer.may_order);
        let fits = counts.clients < CLIENTS_MAX && counts.guests + guest <= GUESTS_MAX;
        if fits {
            counts.clients += 1;
            counts.guests += guest;
        }
        fits
    }

    fn leave(&self, peer: Peer) {
        let mut counts = self.counts();
        counts.clients = counts.clients.saturating_sub(1);
        counts.guests = counts.guests.saturating_sub(usize::from(!peer.may_order));
    }

    fn settle(&self) {
        let busy = |counts: &mut Counts| counts.in_flight > 0;
        let _ = self.changed.wait_timeout_while(self.counts(), CLOSING_MAX, busy);
    }
}

/// A request is in flight for as long as this lives.
struct Flight<'a>(&'a Clients);

impl<'a> Flight<'a> {
    fn begin(clients: &'a Clients) -> Flight<'a> {
        clients.counts().in_flight += 1;
        Flight(clients)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.in_flight = counts.in_flight.saturating_sub(1);
        drop(counts);
        self.0.changed.notify_all();
    }
}

struct Accepting<F> {
    listener: UnixListener,
    guests: bool,
    clients: Arc<Clients>,
    hand_in: Arc<F>,
}

impl<F: Fn(Asked) -> bool + Send + Sync + 'static> Accepting<F> {
    fn run(self, wakes: &UnixStream) {
        loop {
            let mut ready =
                [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(wakes, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => pause(wakes),
            }
            let [_, woken] = ready;
            if !woken.revents().is_empty() {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(error) if is_passing(&error) => {}
                // No descriptors left, most likely: the clients that hold them will go.
                Err(_) => pause(wakes),
            }
        }
    }

    fn welcome(&self, stream: UnixStream) {
        // BSDs hand the listener's non-blocking mode down.
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        let Ok(peer) = Peer::of(&stream, self.guests) else { return };
        let Some(peer) = peer else {
            let refusal = "only root and the server's own user may ask";
            return turn_away(stream, Refusal::Forbidden(refusal.to_owned()));
        };
        if !self.clients.enter(peer) {
            let refusal = "too many clients at once; try again in a moment";
            return turn_away(stream, Refusal::Failed(refusal.to_owned()));
        }
        let (clients, hand_in) = (Arc::clone(&self.clients), Arc::clone(&self.hand_in));
        let thread = Builder::new().name("control-client".to_owned()).stack_size(STACK);
        let served = thread.spawn(move || {
            let _seat = Seat { clients: &clients, peer };
            serve(stream, peer, &clients, &*hand_in);
        });
        if served.is_err() {
            self.clients.leave(peer);
        }
    }
}

/// Gives the place back, however the thread ends.
struct Seat<'a> {
    clients: &'a Clients,
    peer: Peer,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.clients.leave(self.peer);
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
    )
}

/// Waits a moment, or until the end.
fn pause(wakes: &UnixStream) {
    let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let _ = poll(&mut [PollFd::new(wakes, PollFlags::IN)], Some(&moment));
}

/// A short line always fits into the socket's buffer: this does not block.
fn turn_away(mut stream: UnixStream, refusal: Refusal) {
    let _ = say(&mut stream, &Reply::Error(refusal), Duration::from_millis(100));
}

fn say(stream: &mut UnixStream, reply: &Reply, within: Duration) -> Result<(), LineError> {
    line::write(stream, &reply.line(REPLY_MAX), within)
}

fn serve(stream: UnixStream, peer: Peer, clients: &Clients, hand_in: &impl Fn(Asked) -> bool) {
    let most = if peer.may_order { REQUEST_MAX } else { REQUEST_MAX_GUEST };
    let mut lines = Lines::new(stream);
    loop {
        let line = match lines.next(most, SILENCE_MAX, LINE_MAX) {
            Ok(Some(line)) => line,
            Err(LineError::TooLong) => {
                let refusal = Refusal::Invalid(format!("a request has at most {most} bytes"));
                let _ = say(lines.stream(), &Reply::Error(refusal), LINE_MAX);
                return;
            }
            Ok(None) | Err(LineError::TooSlow | LineError::Half | LineError::Io(_)) => return,
        };
        let flight = Flight::begin(clients);
        let (reply, is_sound) = match Request::read(&line) {
            Ok(request) if !peer.may_order && !request.only_asks() => {
                let refusal = "members of the socket's group may ask, but not order; be root";
                (Reply::Error(Refusal::Forbidden(refusal.to_owned())), true)
            }
            Ok(request) => (ask(request, peer, hand_in), true),
            Err(refusal) => (Reply::Error(refusal), false),
        };
        drop(line);
        let said = say(lines.stream(), &reply, TAKING_MAX);
        drop(flight);
        if said.is_err() || !is_sound {
            return;
        }
    }
}

fn ask(request: Request, peer: Peer, hand_in: &impl Fn(Asked) -> bool) -> Reply {
    let (reply_to, receiver) = reply_to();
    if !hand_in(Asked { request, peer, reply_to }) {
        return Reply::Error(Refusal::Failed("the server is about to end".to_owned()));
    }
    receiver.recv_timeout(ANSWER_MAX).unwrap_or_else(|error| {
        Reply::Error(Refusal::Failed(match error {
            RecvTimeoutError::Timeout => {
                format!("the server has not answered for {} seconds", ANSWER_MAX.as_secs())
            }
            RecvTimeoutError::Disconnected => "the server gave no answer".to_owned(),
        }))
    })
}
