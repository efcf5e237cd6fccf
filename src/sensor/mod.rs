//! The sensor: what portsentry reports, decided without a clock, a socket or a file.
//!
//! ```text
//! frame ─packet─► Probe ─watch─► watched? ─rules─► whose? ─trigger─► enough? ─flood─► a line? ──► Effects
//! ```
//!
//! A [`Sensor`] is a state machine. It is told what was seen ([`Sensor::handle_probe`],
//! [`Sensor::handle_connect`]), what is around (services, own addresses, ignored and banned
//! hosts), what became of commands, and what time it is; it answers with [`Effects`].

pub mod effects;
mod fragments;
pub mod packet;
pub mod ports;
pub mod settings;

use std::net::IpAddr;

pub use effects::{Detection, Effects, Line, Outcome, Record, RecordFile, Response, Shell, Step};
pub use packet::{Connect, Decoded, Decoder, Flags, IpOptions, Link, Malformed, Probe, Proto};
pub use ports::PortSet;
pub use settings::{Block, Form, Mode, Settings, Trigger};

use crate::{
    net::Cidr,
    time::{Timestamp, Zone},
};

/// A port that somebody uses: a listening TCP socket, or a UDP socket without a peer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Service {
    /// TCP or UDP.
    pub proto: Proto,
    /// The local address: `0.0.0.0` for all of IPv4, `::` for all of IPv6. A socket that serves
    /// both families is two services. Sockets that the sensor itself bound are none.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// What the kernel knows of the conversation to which a packet belongs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// We began it: the packet answers, or is related to, traffic of our own.
    pub ours: bool,
    /// It is translated: another address or port answers.
    pub translated: bool,
    /// Somebody listens on this very address and port by now.
    pub served: bool,
}

/// Who knows [`Facts`]. Asked at most once for each probe, and only for one that would otherwise
/// be counted.
pub trait Witness {
    /// What is known of this packet's conversation.
    fn facts(&mut self, probe: &Probe) -> Facts;
}

impl<F: FnMut(&Probe) -> Facts> Witness for F {
    fn facts(&mut self, probe: &Probe) -> Facts {
        self(probe)
    }
}

/// Ports to look at, for a filter of the kernel. Some may be watched on one address of this host
/// and not on another; [`Sensor::handle_probe`] knows.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Watched {
    /// TCP over IPv4, in the modes stcp and atcp; empty otherwise.
    pub tcp4: PortSet,
    /// TCP over IPv6.
    pub tcp6: PortSet,
    /// UDP over IPv4, in the modes sudp and audp.
    pub udp4: PortSet,
    /// UDP over IPv6.
    pub udp6: PortSet,
}

/// Counts that people may want to know; they only grow.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Probes and connections handed in.
    pub seen: u64,
    /// Of these, those that were reported, by a line of their own or with others.
    pub reported: u64,
    /// Those from ignored hosts.
    pub ignored: u64,
    /// Those reported in a summary only.
    pub coalesced: u64,
    /// Those from hosts that a jail holds banned.
    pub banned: u64,
    /// What the kernel or a ring dropped, as told by [`Sensor::handle_drops`].
    pub dropped: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Sensor {
    settings: Settings,
}

impl Sensor {
    /// A sensor in its initial state. `zone` is that of the history file's dates, `services` what
    /// is in use at the start.
    pub fn new(settings: Settings, zone: Zone, services: &[Service], now: Timestamp) -> Sensor {
        let _ = (zone, services, now);
        Sensor { settings }
    }

    /// The lines of the start, mode by mode: `PortSentry 1.2 is starting.`, the ports of the lists,
    /// `PortSentry is now active and listening.`. `unbound` are ports that the modes tcp and udp
    /// could not bind.
    pub fn start(&mut self, unbound: &[(Proto, u16)], now: Timestamp, effects: &mut Effects) {
        let _ = (unbound, now, effects);
    }

    /// The lines of the end; what was being coalesced or waited for is told before.
    pub fn stop(&mut self, now: Timestamp, effects: &mut Effects) {
        let _ = (now, effects);
    }

    /// New settings (HUP, reload). What is known of sources and services stays.
    pub fn reload(&mut self, settings: Settings, now: Timestamp) {
        let _ = now;
        self.settings = settings;
    }

    /// What it was told to do.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is in use now. Tell it whenever that may have changed, and at least every few seconds.
    /// True if [`Sensor::watched`] changed.
    #[must_use]
    pub fn set_services(&mut self, services: &[Service], now: Timestamp) -> bool {
        let _ = (services, now);
        false
    }

    /// The addresses of this host, each with the length of its network's prefix (for broadcasts).
    /// Before the first call every target counts as ours.
    pub fn set_own(&mut self, own: &[(IpAddr, u8)]) {
        let _ = own;
    }

    /// The ignore file's networks; none if it cannot be read (which is told once, as 1.2 does).
    pub fn set_ignored(
        &mut self,
        networks: Option<&[Cidr]>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let _ = (networks, now, effects);
    }

    /// Hosts that are reported but never acted upon: gateways and resolvers.
    pub fn set_protected(&mut self, networks: &[Cidr]) {
        let _ = networks;
    }

    /// Some jail of this server holds a ban of the network, or none does any more.
    pub fn set_banned(&mut self, network: Cidr, banned: bool) {
        let _ = (network, banned);
    }

    /// The hosts that a blocked file names after somebody else changed it: whoever was taken out
    /// may be blocked anew.
    pub fn set_blocked(&mut self, mode: Mode, hosts: &[IpAddr]) {
        let _ = (mode, hosts);
    }

    /// A packet came.
    pub fn handle_probe(
        &mut self,
        probe: &Probe,
        witness: &mut dyn Witness,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let _ = (probe, witness, now, effects);
    }

    /// A connection or datagram came to a socket that we bound.
    pub fn handle_connect(&mut self, connect: &Connect, now: Timestamp, effects: &mut Effects) {
        let _ = (connect, now, effects);
    }

    /// A packet came that is none.
    pub fn handle_malformed(&mut self, what: &Malformed, now: Timestamp, effects: &mut Effects) {
        let _ = (what, now, effects);
    }

    /// A packet of ours went to this host (a TCP segment with RST or SYN and ACK, or an ICMP
    /// error): a block of it does not hold. Only asked for while [`Sensor::wants_answers`].
    pub fn handle_answer(&mut self, host: IpAddr, now: Timestamp) {
        let _ = (host, now);
    }

    /// True while some host counts as blocked, so that it matters whether we answer it.
    pub fn wants_answers(&self) -> bool {
        false
    }

    /// What became of a response.
    pub fn handle_outcome(&mut self, outcome: &Outcome, now: Timestamp, effects: &mut Effects) {
        let _ = (outcome, now, effects);
    }

    /// The name of an address that [`Effects::lookups`] asked for; none if it has none.
    pub fn handle_name(
        &mut self,
        address: IpAddr,
        name: Option<&str>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let _ = (address, name, now, effects);
    }

    /// So many packets were lost since the last call; told at most every few seconds.
    pub fn handle_drops(&mut self, packets: u64, now: Timestamp, effects: &mut Effects) {
        let _ = (packets, now, effects);
    }

    /// When [`Sensor::handle_timeout`] wants to be called; ask again after every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// Time went by; a call too early does no harm. True if [`Sensor::watched`] changed.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Timestamp, effects: &mut Effects) -> bool {
        let _ = (now, effects);
        false
    }

    /// The ports to look at. Ask again when a call said that they changed, and after a reload or
    /// [`Sensor::handle_probe`] when [`Sensor::generation`] is another.
    pub fn watched(&self) -> Watched {
        Watched::default()
    }

    /// Grows whenever [`Sensor::watched`] changes.
    pub fn generation(&self) -> u64 {
        0
    }

    /// The counts.
    pub fn totals(&self) -> Totals {
        Totals::default()
    }
}
