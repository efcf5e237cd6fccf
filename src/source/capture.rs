//! `Capture`: packets as they come in, without their link headers, sieved by the kernel.
//!
//! There are two ways to them: a packet socket of Linux (`capture/packet.rs`), and libpcap
//! (`capture/libpcap.rs`), which is there in builds with the feature `pcap` and the only one on a
//! BSD. What the kernel is to let through is said once (`Wanted`), and told to the one as a program
//! (`capture/program.rs`), to the other as an expression (`capture/expression.rs`).

#[cfg(any(test, feature = "pcap"))]
mod expression;
#[cfg(feature = "pcap")]
mod libpcap;
#[cfg(target_os = "linux")]
mod packet;
mod program;
#[cfg(target_os = "linux")]
mod raw;

use std::{fmt, io, os::fd::BorrowedFd};

pub use program::{INSTRUCTIONS_MAX, Instruction, SNAP_BYTES, Wanted, compile};

/// By what packets are captured: `capture` in `[sensor]`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CaptureKind {
    /// What the system has: a packet socket on Linux, else libpcap.
    #[default]
    Auto,
    /// A packet socket of Linux.
    Packet,
    /// libpcap.
    Pcap,
}

impl CaptureKind {
    /// All of them.
    pub const ALL: [CaptureKind; 3] = [CaptureKind::Auto, CaptureKind::Packet, CaptureKind::Pcap];

    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            CaptureKind::Auto => "auto",
            CaptureKind::Packet => "packet",
            CaptureKind::Pcap => "pcap",
        }
    }

    /// True if this build can capture so. `Auto` is always let through: without it the modes tcp
    /// and udp still work.
    pub fn is_there(self) -> bool {
        match self {
            CaptureKind::Auto => true,
            CaptureKind::Packet => cfg!(target_os = "linux"),
            CaptureKind::Pcap => cfg!(feature = "pcap"),
        }
    }
}

impl fmt::Display for CaptureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One way to see packets.
trait Eye: Send {
    fn want(&mut self, wanted: &Wanted) -> io::Result<Vec<String>>;
    fn receive(&mut self, limit: usize, each: &mut dyn FnMut(&[u8])) -> io::Result<usize>;
    fn lost(&mut self) -> u64;
    fn fds(&self) -> Vec<BorrowedFd<'_>>;
}

/// Packets, as far as they are wanted.
pub struct Capture {
    eye: Box<dyn Eye>,
    behind: bool,
}

impl Capture {
    /// Opens it; nothing comes before [`Capture::want`] was called.
    ///
    /// # Errors
    ///
    /// Without the right to it: CAP_NET_RAW, or root. And where this build has no such thing.
    pub fn open(kind: CaptureKind) -> io::Result<Capture> {
        let eye = open(kind)?;
        Ok(Capture { eye, behind: false })
    }

    /// From now on this is wanted. To be told again from time to time, since interfaces come and go.
    /// What cannot be seen nevertheless, in words; mostly nothing.
    ///
    /// # Errors
    ///
    /// Nothing can be seen.
    pub fn want(&mut self, wanted: &Wanted) -> io::Result<Vec<String>> {
        self.eye.want(wanted)
    }

    /// Shows packets that wait, each from its IP header on, and at most `limit` of an interface; how
    /// many there were.
    ///
    /// # Errors
    ///
    /// The system does not hand them over. An interface that goes down is no fault.
    pub fn receive(&mut self, limit: usize, mut each: impl FnMut(&[u8])) -> io::Result<usize> {
        let count = self.eye.receive(limit, &mut each)?;
        self.behind = count >= limit;
        Ok(count)
    }

    /// True if more may wait than was received, which its descriptors need not tell: libpcap reads
    /// more than it shows.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// Packets that were wanted and did not fit, since it was opened.
    pub fn lost(&mut self) -> u64 {
        self.eye.lost()
    }

    /// What is readable when there are packets.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.eye.fds()
    }
}

fn open(kind: CaptureKind) -> io::Result<Box<dyn Eye>> {
    #[cfg(target_os = "linux")]
    if kind != CaptureKind::Pcap {
        return Ok(Box::new(packet::Socketed::open()?));
    }
    #[cfg(feature = "pcap")]
    if kind != CaptureKind::Packet {
        return Ok(Box::new(libpcap::Handles::open()?));
    }
    let text = match kind {
        CaptureKind::Packet => "packet sockets are Linux' own",
        CaptureKind::Auto | CaptureKind::Pcap => {
            "this build is without libpcap (cargo build --features pcap); the modes tcp and udp work"
        }
    };
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}
