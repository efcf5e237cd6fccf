//! `Watch`: which ports are watched on which address, now.
//!
//! A mode asks for ports; what somebody uses is taken away from them. A service counts on the
//! address on which it listens, so that one on loopback hides nothing. A port that was in use at
//! the start, or for longer than [`SETTLED_S`], stays unwatched for a grace after it closes: the
//! clients of a service that restarts are not scanners. And a port that was seen translated (to a
//! container, say) is in use although nobody listens.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Service, Watched, packet::Proto, ports::PortSet, settings::Settings};
use crate::time::Timestamp;

/// A port in use for longer is a service, whose restart is waited for; seconds.
pub const SETTLED_S: i64 = 60;

/// A port once seen translated is taken for translated for so many seconds.
pub const TRANSLATED_S: i64 = 86_400;

/// So many services are kept in mind. Beyond, a port in use is taken for free as soon as its own
/// listener is not among the first so many; the conversation's [`super::Facts`] still tell.
pub const SERVICES_MAX: usize = 65_536;

/// And so many translated ports.
pub const TRANSLATED_MAX: usize = 8_192;

#[derive(Clone, Copy, Debug)]
struct Use {
    /// None if it was there at the start.
    since: Option<Timestamp>,
    /// When it closed; none while it is open.
    closed: Option<Timestamp>,
}

impl Use {
    /// Until when it hides its port; none while it is open.
    fn until(self, grace_s: u32) -> Option<Timestamp> {
        let closed = self.closed?;
        let settled = self.since.is_none_or(|since| closed > since.plus_secs(SETTLED_S));
        Some(if settled { closed.plus_secs(i64::from(grace_s)) } else { closed })
    }
}

/// The ports that a mode asks for, without those in use.
#[derive(Debug)]
pub(super) struct Watch {
    /// By protocol: TCP, UDP.
    wanted: [PortSet; 2],
    grace_s: u32,
    services: BTreeMap<Service, Use>,
    translated: HashMap<Service, Timestamp>,
    own: Option<Vec<IpAddr>>,
    watched: Watched,
    generation: u64,
}

fn index(proto: Proto) -> usize {
    match proto {
        Proto::Tcp => 0,
        Proto::Udp => 1,
    }
}

fn pick<T>(pair: &[T; 2], proto: Proto) -> &T {
    let [tcp, udp] = pair;
    if index(proto) == 0 { tcp } else { udp }
}

/// All addresses of the family of this one.
fn every(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

impl Watch {
    pub fn new(settings: &Settings, services: &[Service]) -> Watch {
        let mut watch = Watch {
            wanted: Default::default(),
            grace_s: 0,
            services: BTreeMap::new(),
            translated: HashMap::new(),
            own: None,
            watched: Watched::default(),
            generation: 0,
        };
        watch.ask(settings);
        for service in services.iter().take(SERVICES_MAX) {
            watch.services.insert(*service, Use { since: None, closed: None });
        }
        watch.settle();
        watch
    }

    fn ask(&mut self, settings: &Settings) {
        // What the modes tcp and udp bind, they hear of without a filter.
        let of = |proto: Proto| match settings.mode(proto) {
            Some(mode) if !mode.binds() => settings.wanted(proto),
            _ => PortSet::new(),
        };
        self.wanted = [of(Proto::Tcp), of(Proto::Udp)];
        self.grace_s = settings.service_grace_s;
    }

    /// New settings; what is known of services stays.
    pub fn reload(&mut self, settings: &Settings) {
        self.ask(settings);
        self.settle();
    }

    pub fn set_own(&mut self, own: Vec<IpAddr>) -> bool {
        self.own = Some(own);
        self.settle()
    }

    /// What is in use now; true if the watched ports changed.
    pub fn set_services(&mut self, services: &[Service], now: Timestamp) -> bool {
        let mut open: Vec<Service> = services.to_vec();
        open.sort_unstable();
        for (service, usage) in &mut self.services {
            match open.binary_search(service).is_ok() {
                true if usage.closed.is_some() => {
                    // Within its grace it is the same service again; else it began anew.
                    let is_same = usage.until(self.grace_s).is_some_and(|until| now < until);
                    let since = if is_same { usage.since } else { Some(now) };
                    *usage = Use { since, closed: None };
                }
                true => {}
                false => usage.closed = usage.closed.or(Some(now)),
            }
        }
        for service in open {
            if self.services.len() < SERVICES_MAX {
                self.services.entry(service).or_insert(Use { since: Some(now), closed: None });
            }
        }
        self.expire(now)
    }

    /// A packet to this address and port is answered by another.
    pub fn set_translated(&mut self, service: Service, now: Timestamp) {
        if self.translated.len() >= TRANSLATED_MAX && !self.translated.contains_key(&service) {
            let oldest = self.translated.iter().min_by_key(|(service, at)| (**at, **service));
            if let Some(oldest) = oldest.map(|(service, _)| *service) {
                self.translated.remove(&oldest);
            }
        }
        self.translated.insert(service, now);
        self.settle();
    }

    /// Forgets what is over; true if the watched ports changed.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let grace_s = self.grace_s;
        self.services.retain(|_, usage| usage.until(grace_s).is_none_or(|until| now < until));
        self.translated.retain(|_, seen| now < seen.plus_secs(TRANSLATED_S));
        self.settle()
    }

    /// When [`Watch::expire`] has something to do.
    pub fn deadline(&self) -> Option<Timestamp> {
        let services = self.services.values().filter_map(|usage| usage.until(self.grace_s));
        let translated = self.translated.values().map(|seen| seen.plus_secs(TRANSLATED_S));
        services.chain(translated).min()
    }

    /// True if packets to this address and port are to be reported.
    pub fn watches(&self, proto: Proto, target: IpAddr, port: u16) -> bool {
        pick(&self.wanted, proto).contains(port) && !self.is_used(proto, target, port)
    }

    /// True if somebody uses the port on this address, or did so within the grace.
    pub fn is_used(&self, proto: Proto, target: IpAddr, port: u16) -> bool {
        [every(target), target].into_iter().any(|address| {
            let service = Service { proto, address, port };
            self.services.contains_key(&service) || self.translated.contains_key(&service)
        })
    }

    /// The ports that somebody uses on any address but loopback: at the start portsentry names
    /// them.
    pub fn used(&self, proto: Proto) -> PortSet {
        let of_proto = self.services.keys().filter(|service| service.proto == proto);
        let outside = of_proto.filter(|service| !service.address.is_loopback());
        outside.map(|service| service.port).collect()
    }

    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Works out what a filter should let through.
    fn settle(&mut self) -> bool {
        let [tcp, udp] = &self.wanted;
        let mut watched =
            Watched { tcp4: tcp.clone(), tcp6: tcp.clone(), udp4: udp.clone(), udp6: udp.clone() };
        // A port leaves the filter when it is used on all addresses of a family that we have.
        let mut used: HashMap<(Proto, bool, u16), usize> = HashMap::new();
        let translated =
            self.translated.keys().filter(|service| !self.services.contains_key(service));
        for service in self.services.keys().chain(translated) {
            let Service { proto, address, port } = *service;
            let is_own = |own: &Vec<IpAddr>| own.contains(&address);
            if address.is_unspecified() {
                watched.set_mut(proto, address.is_ipv4()).remove(port);
            } else if self.own.as_ref().is_some_and(is_own) {
                *used.entry((proto, address.is_ipv4(), port)).or_default() += 1;
            }
        }
        let own = self.own.as_deref().unwrap_or_default();
        let count = |is_ipv4| own.iter().filter(|own| own.is_ipv4() == is_ipv4).count();
        let (count4, count6) = (count(true), count(false));
        for ((proto, is_ipv4, port), count) in used {
            if count >= if is_ipv4 { count4 } else { count6 } {
                watched.set_mut(proto, is_ipv4).remove(port);
            }
        }
        let changed = watched != self.watched;
        if changed {
            self.watched = watched;
            self.generation += 1;
        }
        changed
    }
}

impl Watched {
    fn set_mut(&mut self, proto: Proto, is_ipv4: bool) -> &mut PortSet {
        match (proto, is_ipv4) {
            (Proto::Tcp, true) => &mut self.tcp4,
            (Proto::Tcp, false) => &mut self.tcp6,
            (Proto::Udp, true) => &mut self.udp4,
            (Proto::Udp, false) => &mut self.udp6,
        }
    }

    /// The ports of one protocol and family.
    pub fn ports(&self, proto: Proto, is_ipv4: bool) -> &PortSet {
        match (proto, is_ipv4) {
            (Proto::Tcp, true) => &self.tcp4,
            (Proto::Tcp, false) => &self.tcp6,
            (Proto::Udp, true) => &self.udp4,
            (Proto::Udp, false) => &self.udp6,
        }
    }
}
