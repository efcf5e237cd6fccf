//! What a BSD knows: which ports are in use (netstat), whose addresses these are (getifaddrs).
//!
//! Nothing tells of changes there, so both are looked at again and again; and before somebody is
//! reported, once more. Translated ports are not known.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    os::fd::BorrowedFd,
};

use crate::{
    config::sensor::Interfaces,
    daemon::{
        ground::{Ground, Link, ask},
        netstat,
    },
    net::Cidr,
    sensor::{Facts, Probe, Proto, Service, Witness},
    time::Timestamp,
};

/// What we sent is remembered for so long, in seconds: an answer may be late.
const SENT_S: i64 = 60;
/// So many such conversations at most.
const SENT_MAX: usize = 8192;
/// Ports in use are looked at so often, in seconds; before somebody is reported they are not older
/// than a second.
const SERVICES_S: i64 = 5;

/// How netstat is asked for one family. Where it can, it is told not to cut addresses.
const NETSTAT: &str =
    if cfg!(any(target_os = "openbsd", target_os = "netbsd")) { "-an" } else { "-anW" };

/// A conversation: the protocol, who began it, with whom.
type Ends = (Proto, (IpAddr, u16), (IpAddr, u16));

/// The kernel, as the sensor asks it.
#[derive(Debug, Default)]
pub struct Kernel {
    ground: Ground,
    own: HashSet<IpAddr>,
    /// The broadcasts of its networks.
    broadcasts: HashSet<IpAddr>,
    services: Option<Vec<Service>>,
    services_at: Option<Timestamp>,
    sent: HashMap<Ends, Timestamp>,
    changed: bool,
    now: Timestamp,
}

impl Kernel {
    /// Looks around for the first time.
    pub fn new() -> Kernel {
        let mut kernel = Kernel::default();
        kernel.look_around(true);
        kernel
    }

    /// Nothing tells of changes.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// True if interfaces or addresses were found changed.
    pub fn look_if_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn look_around(&mut self, ask_for_gateways: bool) {
        // What cannot be read stays as it was.
        let Some(ground) = Ground::look(&self.ground.gateways, ask_for_gateways) else { return };
        self.changed |= ground != self.ground;
        self.own = ground.addresses.iter().map(|(address, _)| *address).collect();
        let networks = ground.addresses.iter().filter(|(address, _)| address.is_ipv4());
        self.broadcasts = networks.map(|(one, bits)| Cidr::new(*one, *bits).last()).collect();
        self.ground = ground;
    }

    /// What there is on this host.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// True if this is an address of ours.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// A second has passed.
    pub fn tick(&mut self, now: Timestamp) {
        self.now = now;
        let since = now.plus_secs(-SENT_S);
        self.sent.retain(|_, at| *at >= since && *at <= now);
        self.look_around(false);
    }

    /// Some seconds have passed.
    pub fn look_at_rules(&mut self) {
        self.look_around(true);
    }

    /// The ports that are in use; none if nobody says it.
    pub fn services(&mut self) -> Option<Vec<Service>> {
        self.look_at_services(SERVICES_S);
        self.services.clone()
    }

    /// Looks if it did not for so many seconds.
    fn look_at_services(&mut self, seconds: i64) {
        let fresh = |at: Timestamp| at <= self.now && at.plus_secs(seconds) > self.now;
        if self.services_at.is_some_and(fresh) {
            return;
        }
        self.services_at = Some(self.now);
        let families = ["inet", "inet6"].map(|family| ask(&["netstat", NETSTAT, "-f", family]));
        // A kernel without IPv6 knows of none. What cannot be read at all stays as it was.
        if families.iter().any(Option::is_some) {
            let text: String = families.into_iter().flatten().collect();
            self.services = Some(netstat::services(&text));
        }
    }

    /// This went out from a watched port of ours. One to ourselves or to all may have come in as
    /// well, under a forged name.
    pub fn note_sent(&mut self, packet: &Probe) {
        let to_all = match packet.target {
            IpAddr::V4(to) => to.is_broadcast() || self.broadcasts.contains(&packet.target),
            IpAddr::V6(_) => false,
        };
        if to_all || packet.target.is_multicast() || self.own.contains(&packet.target) {
            return;
        }
        if self.sent.len() < SENT_MAX {
            let (from, to) = ((packet.source, packet.source_port), (packet.target, packet.port));
            self.sent.insert((packet.proto, to, from), packet.time);
        }
    }

    /// The interfaces to listen on. A member of a bridge has no address of its own and is not among
    /// them: its packets come again from there.
    pub fn interfaces(&self, wanted: &Interfaces) -> Option<Vec<u32>> {
        let takes = |link: &&Link| match wanted {
            Interfaces::All => true,
            Interfaces::Auto => !link.loopback,
            Interfaces::Named(names) => names.iter().any(|name| name.value == link.name),
        };
        Some(self.ground.links.iter().filter(takes).map(|link| link.index).collect())
    }
}

impl Witness for Kernel {
    fn facts(&mut self, probe: &Probe) -> Facts {
        let (from, to) = ((probe.source, probe.source_port), (probe.target, probe.port));
        let ours = self.sent.contains_key(&(probe.proto, from, to));
        if ours {
            return Facts { ours, ..Facts::default() };
        }
        self.look_at_services(1);
        let serves = |one: &Service| {
            let is_any = one.address.is_unspecified();
            let fits = one.address == probe.target
                || is_any && one.address.is_ipv4() == probe.target.is_ipv4();
            one.proto == probe.proto && one.port == probe.port && fits
        };
        Facts { served: self.services.iter().flatten().any(serves), ..Facts::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        place::{Located, Place},
        sensor::{Flags, IpOptions},
    };

    fn probe(proto: Proto, from: (&str, u16), to: (&str, u16)) -> Probe {
        Probe {
            time: Timestamp::from_secs(1000),
            source: from.0.parse().unwrap(),
            target: to.0.parse().unwrap(),
            proto,
            port: to.1,
            source_port: from.1,
            flags: Flags(Flags::SYN),
            options: IpOptions::Unset,
            fragmented: false,
        }
    }

    fn kernel() -> Kernel {
        let text =
            "tcp4 0 0 *.22 *.* LISTEN\ntcp6 0 0 ::1.25 *.* LISTEN\nudp4 0 0 192.0.2.7.53 *.*\n";
        let now = Timestamp::from_secs(1000);
        Kernel {
            services: Some(netstat::services(text)),
            services_at: Some(now),
            now,
            ..Kernel::default()
        }
    }

    #[test]
    fn a_port_in_use_is_served_on_its_address_and_protocol_alone() {
        let rows = [
            (Proto::Tcp, "192.0.2.7", 22, true),
            (Proto::Tcp, "2001:db8::7", 22, false),
            (Proto::Udp, "192.0.2.7", 22, false),
            (Proto::Tcp, "2001:db8::7", 25, false),
            (Proto::Udp, "192.0.2.7", 53, true),
            (Proto::Udp, "192.0.2.8", 53, false),
        ];
        for (proto, target, port, served) in rows {
            let source = if target.contains(':') { "2001:db8::9" } else { "198.51.100.9" };
            let facts = kernel().facts(&probe(proto, (source, 4000), (target, port)));
            assert_eq!(facts.served, served, "{proto} {target} {port}");
        }
    }

    #[test]
    fn an_answer_to_what_was_sent_is_ours_for_a_minute() {
        let mut kernel = kernel();
        let (us, them) = (("192.0.2.7", 69), ("198.51.100.9", 4000));
        kernel.note_sent(&probe(Proto::Udp, us, them));
        assert!(kernel.facts(&probe(Proto::Udp, them, us)).ours);
        assert!(!kernel.facts(&probe(Proto::Udp, ("198.51.100.9", 4001), us)).ours);
        kernel.tick(Timestamp::from_secs(1061));
        kernel.services_at = Some(kernel.now);
        assert!(!kernel.facts(&probe(Proto::Udp, them, us)).ours);
        // Nobody answers what goes to all.
        kernel.note_sent(&probe(Proto::Udp, us, ("224.0.0.1", 5353)));
        assert!(kernel.sent.is_empty());
    }

    #[test]
    fn loopback_is_listened_on_if_it_is_asked_for() {
        let kernel = Kernel::new();
        let loopback = kernel.ground.links.iter().find(|link| link.loopback).unwrap();
        let has = |wanted| kernel.interfaces(&wanted).unwrap().contains(&loopback.index);
        assert!(!has(Interfaces::Auto));
        assert!(has(Interfaces::All));
        let name = Located::new(loopback.name.clone(), Place::command_line());
        assert!(has(Interfaces::Named(vec![name])));
        assert!(kernel.is_own("127.0.0.1".parse().unwrap()));
    }
}
