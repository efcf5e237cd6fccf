//! Watch: what others do to our table in nf_tables, told by the kernel as it happens.
//!
//! What our own sockets do ([`Own`]) is no news. ipset and iptables announce nothing: whoever uses
//! them has to look, with [`super::Netlink::ipset_state`].

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::RecvFlags,
};
use socket2::{SockFilter, SockRef};

use super::{
    codec::{Message, Messages},
    fault::{Fault, Part},
    nft::{self, Listed, kind},
    option,
    socket::{Own, Socket},
};
use crate::action::sets::NFT_TABLE;

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// So many datagrams are read before what was found is handed out.
const DATAGRAMS_MAX: usize = 4096;

/// What is not there any more, or not as it was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Lost {
    /// The kernel had more news than room: anything may be lost.
    Unknown,
    /// The table, or it was put to sleep.
    Table,
    /// A chain.
    Chain(String),
    /// Rules of this chain.
    Rules(String),
    /// A set.
    Set(String),
    /// Elements of this set.
    Elements(String),
}

/// Listens to what happens to our table.
#[derive(Debug)]
pub struct Watch {
    ear: Ear,
    own: Own,
    buffer: Vec<u8>,
}

/// The socket of a watch, for whoever wants it not to listen for a while.
///
/// The kernel writes a message for each element that comes or goes if anybody on the machine
/// listens, and throws it away again where a filter says so: of a million bans that is two thirds of
/// the time.
#[derive(Clone, Debug)]
pub(super) struct Ear(Arc<Socket>);

impl Ear {
    /// Listens, or does not. What happens while it does not is lost.
    pub(super) fn listen(&self, on: bool) -> Result<(), Fault> {
        Ok(option::listen(&*self.0, GROUP, on)?)
    }
}

impl Watch {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// [`Fault::Unavailable`] where the kernel does not let us.
    pub fn open(own: &Own) -> Result<Watch, Fault> {
        let socket = Socket::open(Part::Nft, 1 << (GROUP - 1), own)?;
        // A hundred thousand bans of our own would leave no room for real news: what our sockets
        // caused does not even arrive. The word at 12 is the port id of the first message, and a
        // datagram tells of one transaction only. The filter reads words in network order.
        let word = |number: u32| u32::from_be_bytes(number.to_ne_bytes());
        let filter = [
            SockFilter::new(0x20, 0, 0, 12),               // load the word at 12
            SockFilter::new(0x54, 0, 0, word(Own::MASK)),  // and
            SockFilter::new(0x15, 0, 1, word(own.base())), // if it is equal,
            SockFilter::new(0x06, 0, 0, 0),                // take nothing of it,
            SockFilter::new(0x06, 0, 0, u32::MAX),         // else all.
        ];
        // Without it there is more to read, and nothing else changes.
        let _ = SockRef::from(&socket).attach_filter(&filter);
        Ok(Watch { ear: Ear(Arc::new(socket)), own: own.clone(), buffer: Vec::new() })
    }

    pub(super) fn ear(&self) -> Ear {
        self.ear.clone()
    }

    /// Waits for losses, at most so long (none: for ever), and tells each once. Empty if there was
    /// no news, or none that concerns us.
    ///
    /// # Errors
    ///
    /// When the socket fails; open another.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<Lost>, Fault> {
        if !readable(&*self.ear.0, timeout)? {
            return Ok(Vec::new());
        }
        let mut lost = BTreeSet::new();
        for _ in 0..DATAGRAMS_MAX {
            match self.ear.0.receive(&mut self.buffer, RecvFlags::DONTWAIT) {
                Ok(()) => (),
                Err(Errno::AGAIN) => break,
                Err(Errno::NOBUFS) => {
                    lost.insert(Lost::Unknown);
                    continue;
                }
                Err(errno) => return Err(errno.into()),
            }
            let messages = Messages::of(&self.buffer);
            lost.extend(messages.filter(|m| !self.own.has(m.portid)).filter_map(|m| loss(&m)));
        }
        Ok(lost.into_iter().collect())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.0.as_fd()
    }
}

/// What a message tells to be lost; none if nothing of ours is.
pub fn loss(message: &Message<'_>) -> Option<Lost> {
    let kind = nft::kind_of(message)?;
    let attrs = message.nf_attrs();
    if message.body.first() != Some(&nft::FAMILY) || attrs.text(1) != Some(NFT_TABLE) {
        return None;
    }
    let name = |at| attrs.text(at).map(str::to_owned);
    match kind {
        kind::DEL_TABLE => Some(Lost::Table),
        kind::NEW_TABLE => match nft::listed(message)? {
            Listed::Table { dormant: true, .. } => Some(Lost::Table),
            _ => None,
        },
        kind::DEL_CHAIN => name(3).map(Lost::Chain),
        kind::DEL_RULE => name(2).map(Lost::Rules),
        // Sets of a rule, without a name of their own, go with it.
        kind::DEL_SET => name(2).filter(|set| !set.starts_with("__")).map(Lost::Set),
        // What lapses is removed by nobody: by the kernel itself, whose port is 0.
        kind::DEL_ELEMENT if message.portid != 0 => name(2).map(Lost::Elements),
        _ => None,
    }
}

/// Waits until there is something to read; false if there was nothing in time.
pub(super) fn readable(socket: &impl AsFd, timeout: Option<Duration>) -> Result<bool, Fault> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    let mut fds = [PollFd::new(socket, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
