//! What the kernel knows: which ports are in use, whose addresses these are, whose conversation.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    os::fd::{AsFd, BorrowedFd},
    thread,
    time::Duration,
};

use crate::{
    config::sensor::Interfaces,
    daemon::netlink::{
        conntrack::{Conntrack, Tuple},
        links::{Ground, Link, Links},
        nat,
        services::{self, Services},
    },
    net::Cidr,
    sensor::{Facts, Probe, Proto, Service, Witness},
    time::Timestamp,
};

/// What we sent is remembered for so long, in seconds: an answer may be late.
const SENT_S: i64 = 60;
/// So many such conversations at most.
const SENT_MAX: usize = 8192;
/// Where packets are translated, their conversation may not be tracked yet when we see them. So
/// often it is asked for again, and so long is waited in between.
const ASKED_AGAIN: usize = 3;
const PAUSE: Duration = Duration::from_micros(500);
/// So many waits are spent within a second.
const PAUSES_MAX: usize = 100;

/// The kernel, as the sensor asks it.
#[derive(Debug)]
pub struct Kernel {
    services: Option<Services>,
    tracks: Option<Conntrack>,
    links: Option<Links>,
    /// The ground could not be seen.
    missed: bool,
    /// It is to be looked at although nothing was told.
    again: bool,
    ground: Ground,
    own: HashSet<IpAddr>,
    /// The broadcasts of its networks.
    broadcasts: HashSet<IpAddr>,
    sent: HashMap<Tuple, Timestamp>,
    translates: bool,
    pauses_left: usize,
    now: Timestamp,
}

impl Kernel {
    /// Opens what can be opened.
    pub fn new() -> Kernel {
        let mut kernel = Kernel {
            services: Services::open().ok(),
            tracks: Conntrack::open().ok(),
            links: Links::open().ok(),
            missed: false,
            again: false,
            ground: Ground::default(),
            own: HashSet::new(),
            broadcasts: HashSet::new(),
            sent: HashMap::new(),
            translates: false,
            pauses_left: PAUSES_MAX,
            now: Timestamp::default(),
        };
        kernel.look_around();
        kernel.look_at_rules();
        kernel
    }

    /// What tells that the network changed.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.links.as_ref().map(AsFd::as_fd)
    }

    /// True if interfaces or addresses changed since they were looked at last; they are looked at
    /// again.
    pub fn look_if_changed(&mut self) -> bool {
        let again = std::mem::take(&mut self.again);
        let told = match self.links.as_mut().map(Links::changed) {
            Some(Ok(told)) => told,
            Some(Err(_)) => {
                self.links = Links::open().ok();
                true
            }
            None => false,
        };
        (told || again) && self.look_around()
    }

    fn look_around(&mut self) -> bool {
        let looked = self.links.as_mut().map(Links::look);
        self.missed = !matches!(looked, Some(Ok(_)));
        // What cannot be read stays as it was, until the next second.
        let Some(Ok(ground)) = looked else { return false };
        let changed = ground != self.ground;
        self.own = ground.addresses.iter().map(|(address, _)| *address).collect();
        let networks = ground.addresses.iter().filter(|(address, _)| address.is_ipv4());
        self.broadcasts = networks.map(|(one, bits)| Cidr::new(*one, *bits).last()).collect();
        self.ground = ground;
        changed
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
        self.pauses_left = PAUSES_MAX;
        self.again = self.missed;
        // What could not be opened may have been short of something for a moment.
        self.links = self.links.take().or_else(|| Links::open().ok());
        self.tracks = self.tracks.take().or_else(|| Conntrack::open().ok());
        self.services = self.services.take().or_else(|| Services::open().ok());
        let since = now.plus_secs(-SENT_S);
        self.sent.retain(|_, at| *at >= since && *at <= now);
    }

    /// Looks whether this host translates addresses.
    pub fn look_at_rules(&mut self) {
        self.translates = nat::is_there().unwrap_or(self.translates);
    }

    /// The ports that are in use; none if nobody says.
    pub fn services(&mut self) -> Option<Vec<Service>> {
        match self.services.as_mut().map(Services::all) {
            Some(Ok(found)) => Some(found),
            _ => services::listed(),
        }
    }

    /// This went out from a watched port of ours. One to ourselves or to all may have come in as
    /// well, under a forged name; it would only use up room, and nobody answers it.
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
            let answer = Tuple { protocol: number(packet.proto), from: to, to: from };
            self.sent.insert(answer, packet.time);
        }
    }

    /// The interfaces to listen on; none for all.
    pub fn interfaces(&self, wanted: &Interfaces) -> Option<Vec<u32>> {
        let takes = |link: &Link| match wanted {
            Interfaces::All => true,
            Interfaces::Auto => !is_left_out(&link.name),
            Interfaces::Named(names) => names.iter().any(|name| name.value == link.name),
        };
        if *wanted == Interfaces::All && !self.ground.links.iter().any(|link| link.enslaved) {
            return None;
        }
        // Whoever names a port of a bridge wants it.
        let is_named = matches!(wanted, Interfaces::Named(_));
        let again = |link: &&Link| link.enslaved && !is_named;
        let links = self.ground.links.iter().filter(|link| takes(link) && !again(link));
        Some(links.map(|link| link.index).collect())
    }
}

impl Witness for Kernel {
    fn facts(&mut self, probe: &Probe) -> Facts {
        let packet = Tuple {
            protocol: number(probe.proto),
            from: (probe.source, probe.source_port),
            to: (probe.target, probe.port),
        };
        let served = self.services.as_mut().is_some_and(|all| all.takes(probe).unwrap_or(false));
        let mut facts = Facts { ours: self.sent.contains_key(&packet), translated: false, served };
        if facts.ours || served {
            return facts;
        }
        let Some(tracks) = &mut self.tracks else { return facts };
        for again in 0..=ASKED_AGAIN {
            match tracks.find(&packet) {
                Ok(Some(entry)) => {
                    (facts.ours, facts.translated) = (entry.answers, entry.translated);
                    return facts;
                }
                Ok(None) if self.translates && again < ASKED_AGAIN && self.pauses_left > 0 => {
                    self.pauses_left -= 1;
                    thread::sleep(PAUSE);
                }
                Ok(None) => return facts,
                // Where it cannot be asked it need not be asked again.
                Err(fault) if fault.is_unavailable() => {
                    self.tracks = None;
                    return facts;
                }
                Err(_) => return facts,
            }
        }
        facts
    }
}

fn number(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
    }
}

/// Loopback, and what docker, podman, libvirt and lxc call their bridges and pairs: what happens
/// there happens among containers.
pub fn is_left_out(name: &str) -> bool {
    const PREFIXES: [&str; 7] = ["docker", "virbr", "vnet", "lxc", "lxdbr", "podman", "cni"];
    let hex = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    name == "lo"
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.strip_prefix("br-").is_some_and(hex)
        || name.strip_prefix("veth").is_some_and(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_opened_or_seen_is_tried_again() {
        let mut kernel = Kernel {
            services: None,
            tracks: None,
            links: None,
            missed: true,
            ground: Ground::default(),
            ..Kernel::new()
        };
        assert!(!kernel.look_if_changed(), "not for each packet");
        kernel.tick(Timestamp::from_secs(1));
        assert!(kernel.look_if_changed());
        assert!(kernel.ground().links.iter().any(|link| link.name == "lo"), "{:?}", kernel.ground);
        assert!(kernel.services.is_some() && kernel.tracks.is_some() && !kernel.missed);
        kernel.tick(Timestamp::from_secs(2));
        assert!(!kernel.again);
    }

    #[test]
    fn interfaces_of_containers_are_left_out_by_name() {
        let out = ["lo", "docker0", "br-0a1b2c3d4e5f", "virbr0", "vnet3", "lxcbr0", "lxdbr0"];
        let out_too = ["podman0", "cni0", "veth0a1b2c3"];
        for name in out.into_iter().chain(out_too) {
            assert!(is_left_out(name), "{name}");
        }
        for name in ["eth0", "br0", "br-lan", "wlan0", "enp3s0", "veth-uplink", "vethx", "tun0"] {
            assert!(!is_left_out(name), "{name}");
        }
    }
}
