//! Packets by libpcap: a handle for each interface, as BSD has no device for all of them.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use nix::net::if_::if_nameindex;
use pcap::{Active, Capture, Error};

use super::{
    Eye, expression,
    program::{SNAP_BYTES, Wanted},
};

/// The longest link header that is taken off: Ethernet with tags.
const LINK_BYTES_MAX: u32 = 32;
/// So many bytes of a frame are handed over. On Linux libpcap cuts its ring of two megabytes into
/// pieces of this size, and the fewer they are the more is lost in a burst.
const FRAME_BYTES: u32 = if cfg!(target_os = "linux") { 2048 } else { SNAP_BYTES + LINK_BYTES_MAX };
/// So many interfaces are listened on.
const HANDLES_MAX: usize = 256;

/// Handles of libpcap.
#[derive(Default)]
pub(super) struct Handles {
    open: Vec<Handle>,
    wanted: Option<Wanted>,
    /// What handles lost that are closed.
    lost: u64,
    /// The next to be read first.
    turn: usize,
}

struct Handle {
    index: u32,
    name: String,
    link: Link,
    capture: Capture<Active>,
    lost: u64,
    /// What the kernel counted when it was asked last.
    counted: u32,
}

/// What stands before the IP header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Link {
    Ethernet,
    /// So many bytes of no interest.
    Bytes(usize),
}

impl Handles {
    /// Looks whether any interface can be listened on.
    pub fn open() -> io::Result<Handles> {
        let mut trouble = None;
        for (index, name) in interfaces()? {
            match Handle::open(index, &name) {
                Ok(_) => return Ok(Handles::default()),
                Err(error) => trouble = trouble.or(Some(format!("{name}: {error}"))),
            }
        }
        Err(io::Error::other(trouble.unwrap_or_else(|| "there is no interface".to_owned())))
    }

    /// Closes what is gone or not wanted any more.
    fn close(&mut self, keep: impl Fn(&Handle) -> bool) {
        let lost = &mut self.lost;
        self.open.retain_mut(|handle| {
            let stays = keep(handle);
            if !stays {
                *lost += handle.losses();
            }
            stays
        });
    }
}

impl Eye for Handles {
    fn want(&mut self, wanted: &Wanted) -> io::Result<Vec<String>> {
        // Without them what we send and what we are sent look alike.
        if wanted.own.is_none() {
            return Err(io::Error::other("this host's own addresses are not known"));
        }
        let there: BTreeMap<u32, String> = interfaces()?
            .into_iter()
            .filter(|(index, _)| wanted.interfaces.as_ref().is_none_or(|all| all.contains(index)))
            .take(HANDLES_MAX)
            .collect();
        self.close(|handle| there.get(&handle.index) == Some(&handle.name));
        let mut troubles = Vec::new();
        if self.wanted.as_ref() != Some(wanted) {
            for handle in &mut self.open {
                handle.filter(wanted).map_err(io::Error::other)?;
            }
            self.wanted = Some(wanted.clone());
        }
        for (index, name) in &there {
            if self.open.iter().any(|handle| handle.index == *index) {
                continue;
            }
            let opened = Handle::open(*index, name).and_then(|mut handle| {
                handle.filter(wanted).map_err(|error| error.to_string())?;
                Ok(handle)
            });
            match opened {
                Ok(handle) => self.open.push(handle),
                Err(error) => troubles.push(format!("{name}: {error}")),
            }
        }
        if self.open.is_empty() && !troubles.is_empty() {
            return Err(io::Error::other(troubles.join("; ")));
        }
        Ok(troubles)
    }

    fn receive(&mut self, limit: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let mut most = 0;
        let mut gone = Vec::new();
        // None is always the last.
        let count = self.open.len();
        self.turn = (self.turn + 1) % count.max(1);
        let (later, first) = self.open.split_at_mut(self.turn.min(count));
        for handle in first.iter_mut().chain(later) {
            let link = handle.link;
            let seen = handle.capture.dispatch(Some(limit), |packet| {
                if let Some(packet) = behind(link, packet.data) {
                    each(packet);
                }
            });
            match seen {
                Ok(seen) => most = most.max(seen),
                // It went down or away; when it is back it is opened again.
                Err(_) => gone.push(handle.index),
            }
        }
        if !gone.is_empty() {
            self.close(|handle| !gone.contains(&handle.index));
        }
        Ok(most)
    }

    fn lost(&mut self) -> u64 {
        self.lost + self.open.iter_mut().map(Handle::losses).sum::<u64>()
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.open.iter().map(|handle| handle.capture.as_fd()).collect()
    }
}

impl Handle {
    /// Opens one; it hears nothing before it was told what.
    fn open(index: u32, name: &str) -> Result<Handle, String> {
        let text = |error: Error| match error {
            // libpcap's own words, without the crate's.
            Error::PcapError(text) => text,
            error => error.to_string(),
        };
        let snap = i32::try_from(FRAME_BYTES).unwrap_or(i32::MAX);
        let capture = Capture::from_device(name).map_err(text)?;
        let capture = capture.snaplen(snap).promisc(false).immediate_mode(true);
        let capture = capture.open().and_then(Capture::setnonblock).map_err(text)?;
        let kind = capture.get_datalink().get_name().map_err(text)?;
        let link = link(&kind).ok_or_else(|| format!("its link type {kind} is not known here"))?;
        Ok(Handle { index, name: name.to_owned(), link, capture, lost: 0, counted: 0 })
    }

    fn filter(&mut self, wanted: &Wanted) -> Result<(), Error> {
        // BSD counts from zero again behind a new filter.
        self.losses();
        match expression::of(wanted, self.link == Link::Ethernet) {
            Some(expression) => self.capture.filter(&expression, true),
            // No packet is so short.
            None => self.capture.filter("less 1", true),
        }
    }

    fn losses(&mut self) -> u64 {
        // What cannot be asked for is not known to be lost.
        if let Ok(stat) = self.capture.stats() {
            let new = stat.dropped.checked_sub(self.counted).unwrap_or(stat.dropped);
            self.counted = stat.dropped;
            self.lost += u64::from(new);
        }
        self.lost
    }
}

/// The interfaces that there are, each with its number.
fn interfaces() -> io::Result<Vec<(u32, String)>> {
    let all = if_nameindex()?;
    let named = |one: &nix::net::if_::Interface| {
        let name = one.name().to_str().ok()?;
        Some((one.index(), name.to_owned()))
    };
    Ok(all.iter().filter_map(named).collect())
}

/// By the name that libpcap gives a type of link.
fn link(name: &str) -> Option<Link> {
    Some(match name {
        "EN10MB" => Link::Ethernet,
        "NULL" | "LOOP" => Link::Bytes(4),
        "RAW" | "IPV4" | "IPV6" => Link::Bytes(0),
        "LINUX_SLL" => Link::Bytes(16),
        "LINUX_SLL2" => Link::Bytes(20),
        _ => return None,
    })
}

/// The packet behind its link header. A VLAN tag belongs to an interface of its own, where the
/// packet comes again; one that tells a priority alone does not.
fn behind(link: Link, frame: &[u8]) -> Option<&[u8]> {
    let mut at = match link {
        Link::Bytes(bytes) => return frame.get(bytes..),
        Link::Ethernet => 12,
    };
    loop {
        let half = |at: usize| {
            let bytes = frame.get(at..)?.first_chunk::<2>()?;
            Some(u16::from_be_bytes(*bytes))
        };
        match half(at)? {
            0x0800 | 0x86dd => return frame.get(at + 2..),
            0x8100 | 0x88a8 | 0x9100 if half(at + 2)? & 0xfff == 0 => at += 4,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every expression is one for libpcap, on every type of link, and within what BSD takes.
    #[test]
    fn expressions_compile_for_every_link() {
        let ranges = |step: u16| (0..60).map(|n| (n * step, n * step + 3)).collect();
        let wanted = Wanted {
            tcp4: ranges(100),
            tcp6: ranges(100),
            udp4: ranges(90),
            udp6: ranges(90),
            interfaces: None,
            own: ["192.0.2.7", "198.51.100.7", "2001:db8::7", "fe80::1"]
                .map(|one| Some(one.parse().unwrap()))
                .into_iter()
                .collect(),
            sent_udp: true,
            answers: true,
        };
        let alone = Wanted { own: None, udp6: Vec::new(), ..wanted.clone() };
        for (number, ethernet) in [(1, true), (0, false), (108, false), (12, false), (113, false)] {
            for wanted in [&wanted, &alone] {
                let capture = Capture::dead(pcap::Linktype(number)).unwrap();
                let expression = expression::of(wanted, ethernet).unwrap();
                let program = capture.compile(&expression, true).unwrap();
                let length = program.get_instructions().len();
                assert!(length <= 512, "{number}: {length}");
            }
        }
    }

    #[test]
    fn link_headers_are_taken_off() {
        let frame = |head: &[u8]| [&[0xff; 12], head, b"packet"].concat();
        let rows: [(Link, Vec<u8>, bool); 7] = [
            (Link::Ethernet, frame(&[0x08, 0x00]), true),
            (Link::Ethernet, frame(&[0x86, 0xdd]), true),
            (Link::Ethernet, frame(&[0x81, 0x00, 0xe0, 0x00, 0x08, 0x00]), true),
            (Link::Ethernet, frame(&[0x81, 0x00, 0x00, 0x05, 0x08, 0x00]), false),
            (Link::Ethernet, frame(&[0x08, 0x06]), false),
            (Link::Bytes(4), b"\x02\0\0\0packet".to_vec(), true),
            (Link::Bytes(16), b"short".to_vec(), false),
        ];
        for (link, frame, comes) in rows {
            assert_eq!(
                behind(link, &frame),
                comes.then_some(&b"packet"[..]),
                "{link:?} {frame:x?}"
            );
        }
    }
}
