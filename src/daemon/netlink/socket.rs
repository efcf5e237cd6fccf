//! Socket: requests to the kernel and its answers, one conversation at a time.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::{self, SocketAddrNetlink},
        recv, send, socket_with, sockopt,
    },
};

use super::{
    codec::{self, Answer, DONE, DUMP_INTR, Message, Messages},
    fault::{Fault, Part},
};

/// How much one message to the kernel may hold where the kernel lets us say so: a million elements
/// of IPv6 in one transaction need 40 MB.
const SEND_MAX: usize = 32 << 20;

/// Room for what the kernel announces while we are busy.
const RECEIVE_MAX: usize = 2 << 20;

/// The kernel makes no longer datagram in a dump.
const DATAGRAM_MAX: usize = 32 << 10;

/// The kernel answers before `send` returns; who waits longer than this waits for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many port ids of ours are tried, each of which another socket may have.
const PORTS_TRIED: usize = 256;

/// So often a dump is asked for again because its object changed meanwhile.
const DUMPS_MAX: usize = 5;

/// Which port ids are those of this process's own sockets: what they cause is no news to a watch.
///
/// A socket may choose its port id. Ours lie in a block of 65 536 that follows from the process id,
/// far from those that the kernel gives by itself, so that a filter in the kernel can tell them.
#[derive(Clone, Debug)]
pub struct Own {
    base: u32,
    next: Arc<AtomicU32>,
    commits: Arc<Commits>,
}

/// What our sockets commit to nf_tables.
#[derive(Debug, Default)]
pub(super) struct Commits {
    begun: AtomicU32,
    ended: AtomicU32,
    made: AtomicU32,
}

impl Commits {
    /// Counts a transaction; `commit` says whether the kernel took it.
    pub(super) fn count<T>(&self, commit: impl FnOnce() -> (T, bool)) -> T {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let (result, made) = commit();
        self.made.fetch_add(u32::from(made), Ordering::SeqCst);
        self.ended.fetch_add(1, Ordering::SeqCst);
        result
    }

    /// So many were begun.
    pub(super) fn begun(&self) -> u32 {
        self.begun.load(Ordering::SeqCst)
    }

    /// True while one is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.begun() != self.ended()
    }

    /// So many are over.
    pub(super) fn ended(&self) -> u32 {
        self.ended.load(Ordering::SeqCst)
    }

    /// So many changed something.
    pub(super) fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }
}

impl Default for Own {
    fn default() -> Own {
        let base = 0x4000_0000 | (std::process::id() & 0x3fff) << 16;
        Own { base, next: Arc::default(), commits: Arc::default() }
    }
}

impl Own {
    /// Which bits of a port id tell.
    pub(super) const MASK: u32 = 0xffff_0000;

    /// What they are in ours.
    pub(super) fn base(&self) -> u32 {
        self.base
    }

    /// What all our sockets committed.
    pub(super) fn commits(&self) -> &Commits {
        &self.commits
    }

    /// True if a socket of ours caused it.
    pub fn has(&self, portid: u32) -> bool {
        portid & Own::MASK == self.base
    }

    fn next(&self) -> u32 {
        self.base | self.next.fetch_add(1, Ordering::Relaxed) & !Own::MASK
    }
}

/// A netlink socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    part: Part,
    seq: u32,
    send_max: usize,
}

impl Socket {
    /// Opens a socket to a part of the kernel that listens to `groups` (a mask).
    pub(super) fn open(part: Part, groups: u32, own: &Own) -> Result<Socket, Fault> {
        let protocol = match part {
            Part::Nft | Part::Ipset | Part::Conntrack => Some(netlink::NETFILTER),
            Part::Route => None, // NETLINK_ROUTE is number 0
            Part::Sockets => Some(netlink::SOCK_DIAG),
        };
        let unavailable = |errno: Errno| Fault::of_opening(part, errno);
        let family = AddressFamily::NETLINK;
        let fd = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(unavailable)?;
        // Without the right to force, the system's own limit is what there is.
        if sockopt::set_socket_send_buffer_size_force(&fd, SEND_MAX).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&fd, SEND_MAX);
        }
        if groups != 0 && sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_MAX).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&fd, RECEIVE_MAX);
        }
        super::option::speak_clearly(&fd);
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let bound = (0..PORTS_TRIED)
            .any(|_| bind(&fd, &SocketAddrNetlink::new(own.next(), groups)).is_ok());
        if !bound {
            // Any will do; then a watch may take our deeds for another's, and somebody looks again.
            bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(unavailable)?;
        }
        // Linux tells twice of what was set, the half being its own; 32 bytes it keeps.
        let room = sockopt::socket_send_buffer_size(&fd)?;
        let send_max = room.saturating_sub(32).clamp(4096, 2 * SEND_MAX);
        Ok(Socket { fd, part, seq: 0, send_max })
    }

    /// The part it speaks to.
    pub(super) fn part(&self) -> Part {
        self.part
    }

    /// The longest message that it can send, in bytes.
    pub(super) fn send_max(&self) -> usize {
        self.send_max
    }

    /// A number for a request.
    pub(super) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }

    /// Numbers up to this one are used up.
    pub(super) fn used(&mut self, seq: u32) {
        self.seq = seq;
    }

    /// Sends whole messages.
    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Fault> {
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives one datagram into `into`, which it clears first.
    pub(super) fn receive(&self, into: &mut Vec<u8>, flags: RecvFlags) -> Result<(), Errno> {
        loop {
            into.clear();
            into.reserve(DATAGRAM_MAX);
            match recv(&self.fd, spare_capacity(into), flags) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sends `bytes`, and reads answers until that to request `last`, or to `first`: the kernel
    /// answers to that one if it refuses the whole. Only refusals are given back.
    pub(super) fn ask(&self, bytes: &[u8], first: u32, last: u32) -> Result<Vec<Answer>, Fault> {
        self.send(bytes)?;
        let mut refusals = Vec::new();
        let mut buffer = Vec::new();
        loop {
            self.receive(&mut buffer, RecvFlags::empty()).map_err(no_answer)?;
            for message in Messages::of(&buffer) {
                let Some(answer) = codec::answer(&message) else { continue };
                // What an earlier conversation left behind is none of ours.
                if answer.seq.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                let end = answer.seq == last || answer.seq == first;
                if answer.errno != 0 {
                    refusals.push(answer);
                }
                if end {
                    return Ok(refusals);
                }
            }
        }
    }

    /// Sends one request, and shows each message of the answer, until the kernel is done. The
    /// request is made by `write`, anew if what is listed changed meanwhile; `each` is told so by
    /// none.
    pub(super) fn dump(
        &mut self,
        what: &str,
        write: impl Fn(&mut codec::Writer, u32),
        mut each: impl FnMut(Option<Message<'_>>),
    ) -> Result<(), Fault> {
        self.dump_while(what, write, |message| {
            each(message);
            true
        })
    }

    /// The same as long as `each` wants more; when it does not, nothing more can be asked of this
    /// socket, as the kernel still has the rest for it.
    pub(super) fn dump_while(
        &mut self,
        what: &str,
        write: impl Fn(&mut codec::Writer, u32),
        mut each: impl FnMut(Option<Message<'_>>) -> bool,
    ) -> Result<(), Fault> {
        for _ in 0..DUMPS_MAX {
            let seq = self.next_seq();
            let mut writer = codec::Writer::new();
            write(&mut writer, seq);
            let _ = each(None);
            if self.dump_once(what, writer.bytes(), seq, &mut each)? {
                return Ok(());
            }
        }
        Err(Fault::NoAnswer)
    }

    fn dump_once(
        &self,
        what: &str,
        request: &[u8],
        seq: u32,
        each: &mut impl FnMut(Option<Message<'_>>) -> bool,
    ) -> Result<bool, Fault> {
        self.send(request)?;
        let mut whole = true;
        let mut buffer = Vec::new();
        loop {
            self.receive(&mut buffer, RecvFlags::empty()).map_err(no_answer)?;
            for message in Messages::of(&buffer).filter(|message| message.seq == seq) {
                whole &= message.flags & DUMP_INTR == 0;
                if let Some(answer) = codec::answer(&message) {
                    if answer.errno == 0 {
                        return Ok(whole);
                    }
                    return Err(Fault::Refused { what: what.to_owned(), answer });
                }
                if message.kind == DONE {
                    let errno = message.body.first_chunk().map_or(0, |n| i32::from_ne_bytes(*n));
                    if errno < 0 {
                        let errno = errno.checked_neg().unwrap_or(i32::MAX);
                        if errno == libc::EINTR {
                            return Ok(false);
                        }
                        let answer = Answer { seq, errno, text: None, offset: None, line: None };
                        return Err(Fault::Refused { what: what.to_owned(), answer });
                    }
                    return Ok(whole);
                }
                if !each(Some(message)) {
                    return Ok(true);
                }
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn no_answer(errno: Errno) -> Fault {
    match errno {
        Errno::AGAIN => Fault::NoAnswer,
        errno => errno.into(),
    }
}
