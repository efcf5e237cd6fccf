//! The sensor: what portsentry reports, decided without a clock, a socket or a file.
//!
//! ```text
//! frame ─packet─► Probe ─watch─► watched? ─rules─► whose? ─trigger─► enough? ─flood─► a line? ──► Effects
//! ```
//!
//! A [`Sensor`] is a state machine. It is told what was seen ([`Sensor::handle_probe`],
//! [`Sensor::handle_connect`]), what is around (services, own addresses, ignored and banned
//! hosts), what became of commands, and what time it is; it answers with [`Effects`].

pub mod blocks;
pub mod effects;
pub mod flood;
pub mod fragments;
pub mod kind;
mod lines;
mod names;
mod networks;
pub mod packet;
pub mod ports;
mod rate;
mod recent;
mod response;
pub mod settings;
mod start;
pub mod trigger;
pub mod watch;

use std::{collections::HashSet, net::IpAddr};

pub use effects::{Detection, Effects, Line, Outcome, Record, RecordFile, Response, Shell, Step};
pub use kind::Kind;
pub use packet::{Connect, Decoded, Decoder, Flags, IpOptions, Link, Malformed, Probe, Proto};
pub use ports::PortSet;
pub use settings::{Block, Form, Mode, Settings, Trigger};

use crate::{
    net::{Cidr, plain},
    time::{Timestamp, Zone},
};
use blocks::{Blocks, Item, Out};
use flood::{Flood, Topic, Verdict};
use lines::{Marks, Said};
use names::{Names, Now};
use networks::Networks;
use trigger::Sources;
use watch::Watch;

/// So many networks that jails hold banned are known; probes of those beyond get their lines.
pub const BANNED_MAX: usize = 1_048_576;

/// So many protected hosts are told of once.
const PROTECTED_TOLD_MAX: usize = 1_024;

/// Losses are told once in so many seconds.
const DROPS_S: i64 = 10;

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
    /// How many sources are remembered at present.
    pub sources: u64,
    /// What the kernel or a ring dropped, as told by [`Sensor::handle_drops`].
    pub dropped: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Sensor {
    settings: Settings,
    zone: Zone,
    watch: Watch,
    own: Option<Own>,
    ignored: Networks,
    /// The ignore file could be read when it was last tried.
    ignores: bool,
    protected: Networks,
    protected_told: HashSet<IpAddr>,
    banned: Networks,
    sources: Sources,
    flood: Flood,
    blocks: Blocks,
    names: Names,
    drops: u64,
    drops_told: Option<Timestamp>,
    totals: Totals,
    items: Vec<Item>,
}

/// The addresses of this host.
#[derive(Debug, Default)]
struct Own {
    addresses: HashSet<IpAddr>,
    broadcasts: HashSet<IpAddr>,
}

/// What a report is about.
#[derive(Clone, Copy, Debug)]
struct Report {
    time: Timestamp,
    kind: Kind,
    source: IpAddr,
    proto: Proto,
    port: u16,
    mode: Mode,
    options: IpOptions,
}

impl Sensor {
    /// A sensor in its initial state. `zone` is that of the history file's dates, `services` what
    /// is in use at the start.
    pub fn new(settings: Settings, zone: Zone, services: &[Service]) -> Sensor {
        Sensor {
            watch: Watch::new(&settings, services),
            settings,
            zone,
            own: None,
            ignored: Networks::default(),
            ignores: true,
            protected: Networks::default(),
            protected_told: HashSet::new(),
            banned: Networks::default(),
            sources: Sources::new(),
            flood: Flood::new(),
            blocks: Blocks::default(),
            names: Names::default(),
            drops: 0,
            drops_told: None,
            totals: Totals::default(),
            items: Vec::new(),
        }
    }

    /// The lines of the start, mode by mode, as portsentry's processes write them. `unbound` are
    /// ports that the modes tcp and udp could not bind.
    pub fn start(&mut self, unbound: &[(Proto, u16)], now: Timestamp, effects: &mut Effects) {
        for text in start::lines(&self.settings, &self.watch, unbound) {
            self.put(Item::Line(Said::Plain(text)), now, effects);
        }
    }

    /// The lines of the end; what was being coalesced or waited for is told before.
    pub fn stop(&mut self, now: Timestamp, effects: &mut Effects) {
        self.summarise(now, true, effects);
        self.tell_drops(now, effects);
        while let Some(host) = self.names.overdue(now, true) {
            self.handle_name(host, None, now, effects);
        }
        let modes = [self.settings.tcp, self.settings.udp].into_iter().flatten();
        let processes = match self.settings.form {
            Form::One => modes.count(),
            Form::Two => 1,
        };
        for _ in 0..processes {
            for text in lines::stopping(self.settings.form) {
                self.put(Item::Line(Said::Plain(text)), now, effects);
            }
        }
    }

    /// New settings (HUP, reload). What is known of sources and services stays.
    pub fn reload(&mut self, settings: Settings) {
        self.settings = settings;
        self.watch.reload(&self.settings);
        self.blocks.reload();
    }

    /// What it was told to do.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is in use now. Tell it whenever that may have changed, and at least every few seconds.
    /// True if [`Sensor::watched`] changed.
    pub fn set_services(&mut self, services: &[Service], now: Timestamp) -> bool {
        self.watch.set_services(services, now)
    }

    /// The addresses of this host, each with the length of its network's prefix (for broadcasts).
    /// Before the first call every target counts as ours. True if [`Sensor::watched`] changed.
    pub fn set_own(&mut self, own: &[(IpAddr, u8)]) -> bool {
        let addresses: Vec<IpAddr> = own.iter().map(|(address, _)| plain(*address)).collect();
        // A network of two addresses or fewer has no broadcast.
        let wide = own.iter().filter(|(address, bits)| address.is_ipv4() && *bits < 31);
        let broadcasts = wide.map(|(address, bits)| Cidr::new(*address, *bits).last());
        let limited = [IpAddr::V4(std::net::Ipv4Addr::BROADCAST)];
        self.own = Some(Own {
            addresses: addresses.iter().copied().collect(),
            broadcasts: broadcasts.chain(limited).collect(),
        });
        self.watch.set_own(addresses)
    }

    /// The ignore file's networks; none if it cannot be read (which is told once, as 1.2 does).
    pub fn set_ignored(
        &mut self,
        networks: Option<&[Cidr]>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        if networks.is_none() && self.ignores {
            let text = "attackalert: ERROR: cannot open ignore file. Blocking host anyway.";
            self.put(Item::Line(Said::Plain(text.to_owned())), now, effects);
        }
        self.ignores = networks.is_some();
        self.ignored = Networks::of(networks.unwrap_or_default());
    }

    /// Hosts that are reported but never acted upon: gateways and resolvers.
    pub fn set_protected(&mut self, networks: &[Cidr]) {
        self.protected = Networks::of(networks);
        self.protected_told.clear();
    }

    /// Some jail of this server holds a ban of the network, or none does any more.
    pub fn set_banned(&mut self, network: Cidr, banned: bool) {
        match banned {
            true if self.banned.len() < BANNED_MAX => self.banned.insert(network),
            true => {}
            false => self.banned.remove(network),
        }
    }

    /// The hosts that a blocked file names after somebody else changed it: whoever was taken out
    /// may be blocked anew. Records that this sensor gave out must be in the file by then.
    pub fn set_blocked(&mut self, mode: Mode, hosts: &[IpAddr]) {
        self.blocks.set_blocked(mode, hosts);
    }

    /// A packet came.
    pub fn handle_probe(
        &mut self,
        probe: &Probe,
        witness: &mut dyn Witness,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(report) = self.wanted(probe) else { return };
        self.totals.seen += 1;
        let Probe { source, proto, port, target, .. } = *probe;
        let is_banned = self.banned.contains(source);
        if is_banned {
            self.totals.banned += 1;
            // Between two tellings nothing depends on what the kernel knows.
            if !self.flood.is_due(&mut self.sources, source, now) {
                return;
            }
        }
        match self.flood.question(&mut self.sources, source, proto, port, now) {
            Ok(false) => {}
            Ok(true) => {
                let facts = witness.facts(probe);
                if facts.translated {
                    self.watch.set_translated(Service { proto, address: target, port }, now);
                }
                if facts.translated || facts.ours || facts.served {
                    return;
                }
                self.flood.is_genuine(source, proto, port, now);
            }
            // Too many at once to be sure of each.
            Err(()) => {
                self.totals.coalesced += 1;
                return;
            }
        }
        self.report(report, is_banned, now, effects);
    }

    /// A connection or datagram came to a socket that we bound.
    pub fn handle_connect(&mut self, connect: &Connect, now: Timestamp, effects: &mut Effects) {
        let Connect { time, source, proto, port } = *connect;
        let Some(mode) = self.settings.mode(proto).filter(|mode| mode.binds()) else { return };
        self.totals.seen += 1;
        let Some(source) = source.map(plain) else {
            let topic =
                Topic { source: std::net::Ipv4Addr::UNSPECIFIED.into(), proto, port: Some(port) };
            if self.flood.judge(&mut self.sources, topic, Kind::Connect, now) == Verdict::Line {
                let text = format!(
                    "attackalert: Possible stealth scan from unknown host to {proto} port: {port} \
                     (accept failed)"
                );
                self.put(Item::Line(Said::Plain(text)), now, effects);
            }
            return;
        };
        if self.is_own(source) || is_nobody(source) {
            return;
        }
        // Who completes a handshake with us was answered.
        if proto == Proto::Tcp {
            self.blocks.answered(source, now);
        }
        let is_banned = self.banned.contains(source);
        if is_banned {
            self.totals.banned += 1;
        }
        let (kind, options) = (Kind::Connect, IpOptions::Unknown);
        let report = Report { time, kind, source, proto, port, mode, options };
        self.report(report, is_banned, now, effects);
    }

    /// A packet came that is none; told only where portsentry has a line for it.
    pub fn handle_malformed(&mut self, what: &Malformed, now: Timestamp, effects: &mut Effects) {
        let Malformed::HeaderLength { words, source, proto } = *what else { return };
        let Some(proto) = Proto::of(proto) else { return };
        if self.settings.mode(proto).is_none_or(Mode::binds)
            || self.is_own(source)
            || self.ignored.contains(source)
        {
            return;
        }
        let topic = Topic { source, proto, port: Some(0) };
        if self.flood.judge(&mut self.sources, topic, Kind::Null, now) == Verdict::Line {
            let text = format!(
                "attackalert: Illegal IP header length detected in {proto} packet: {words} from \
                 (possible) host: {source}"
            );
            self.put(Item::Line(Said::Plain(text)), now, effects);
        }
    }

    /// A packet of ours went to this host (a TCP segment with RST or SYN and ACK, or an ICMP
    /// error): a block of it does not hold. Only asked for while [`Sensor::wants_answers`].
    pub fn handle_answer(&mut self, host: IpAddr, now: Timestamp) {
        self.blocks.answered(plain(host), now);
    }

    /// True while some host counts as blocked, so that it matters whether we answer it.
    pub fn wants_answers(&self) -> bool {
        self.blocks.holds_any()
    }

    /// What became of a response.
    pub fn handle_outcome(&mut self, outcome: &Outcome, now: Timestamp, effects: &mut Effects) {
        let mut items = std::mem::take(&mut self.items);
        let responses = &mut effects.responses;
        let mut out = Out { items: &mut items, responses, zone: self.zone };
        self.blocks.outcome(outcome, now, &mut out);
        self.put_all(items, now, effects);
    }

    /// The name of an address that [`Effects::lookups`] asked for; none if it has none.
    pub fn handle_name(
        &mut self,
        address: IpAddr,
        name: Option<&str>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let (waited, name) = self.names.answer(address, name, now);
        for (time, item) in waited {
            self.write(&item, name.as_deref(), time, effects);
        }
    }

    /// So many packets were lost since the last call; told at most every few seconds.
    pub fn handle_drops(&mut self, packets: u64, now: Timestamp, effects: &mut Effects) {
        self.totals.dropped = self.totals.dropped.saturating_add(packets);
        self.drops = self.drops.saturating_add(packets);
        let is_due = |told: Timestamp| now >= told.plus_secs(DROPS_S) || now < told;
        if self.drops_told.is_none_or(is_due) {
            self.tell_drops(now, effects);
        }
    }

    fn tell_drops(&mut self, now: Timestamp, effects: &mut Effects) {
        if self.drops > 0 {
            let text = format!(
                "adminalert: {} packets were lost before they could be looked at",
                std::mem::take(&mut self.drops)
            );
            self.drops_told = Some(now);
            self.put(Item::Line(Said::Plain(text)), now, effects);
        }
    }

    /// When [`Sensor::handle_timeout`] wants to be called; ask again after every other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let drops = self.drops_told.filter(|_| self.drops > 0).map(|told| told.plus_secs(DROPS_S));
        let deadlines = [
            self.watch.deadline(),
            self.flood.deadline(),
            self.blocks.deadline(),
            self.names.deadline(),
            drops,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Time went by; a call too early does no harm. True if [`Sensor::watched`] changed.
    pub fn handle_timeout(&mut self, now: Timestamp, effects: &mut Effects) -> bool {
        while let Some(host) = self.names.overdue(now, false) {
            self.handle_name(host, None, now, effects);
        }
        self.summarise(now, false, effects);
        if self.drops_told.is_some_and(|told| now >= told.plus_secs(DROPS_S)) {
            self.tell_drops(now, effects);
        }
        let mut items = std::mem::take(&mut self.items);
        let responses = &mut effects.responses;
        let mut out = Out { items: &mut items, responses, zone: self.zone };
        self.blocks.timeout(now, &mut out);
        self.put_all(items, now, effects);
        self.watch.expire(now)
    }

    /// The ports to look at. Ask again when a call said that they changed, and whenever
    /// [`Sensor::generation`] is another: a probe may show a port to be translated.
    pub fn watched(&self) -> &Watched {
        self.watch.watched()
    }

    /// Grows whenever [`Sensor::watched`] changes.
    pub fn generation(&self) -> u64 {
        self.watch.generation()
    }

    /// The counts.
    pub fn totals(&self) -> Totals {
        Totals { sources: self.sources.len() as u64, ..self.totals }
    }

    // ---- one probe -----------------------------------------------------------------------------

    /// What a probe is, if anybody wants to hear of it.
    fn wanted(&self, probe: &Probe) -> Option<Report> {
        let Probe { time, source, target, proto, port, options, .. } = *probe;
        let mode = self.settings.mode(proto).filter(|mode| !mode.binds())?;
        let kind = Kind::of(probe)?;
        if !self.watch.watches(proto, target, port) || !self.is_ours(target, proto) {
            return None;
        }
        if self.is_own(source) || is_nobody(source) {
            return None;
        }
        Some(Report { time, kind, source, proto, port, mode, options })
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.own.as_ref().is_some_and(|own| own.addresses.contains(&address))
    }

    /// True if packets to this address are for us.
    fn is_ours(&self, target: IpAddr, proto: Proto) -> bool {
        let Some(own) = &self.own else { return true };
        own.addresses.contains(&target) || proto == Proto::Udp && own.broadcasts.contains(&target)
    }

    fn report(&mut self, report: Report, is_banned: bool, now: Timestamp, effects: &mut Effects) {
        let Report { kind, source, proto, port, mode, options, .. } = report;
        let topic = Topic { source, proto, port: Some(port) };
        if self.ignored.contains(source) {
            self.totals.ignored += 1;
            let marks = Marks { ignored: true, ..Marks::default() };
            if !is_banned {
                self.remark(report, marks, topic, now, effects);
            }
            return;
        }
        if !self.sources.hit(&self.settings.trigger, source, proto, port, now) {
            let marks = Marks { triggered: Some(false), ..Marks::default() };
            if !is_banned {
                self.remark(report, marks, topic, now, effects);
            }
            return;
        }
        self.totals.reported += 1;
        effects.banner |= kind == Kind::Connect && self.settings.banner.is_some();
        let has_line =
            !is_banned && self.flood.judge(&mut self.sources, topic, kind, now) == Verdict::Line;
        let block = self.settings.block(proto);
        let marks = Marks {
            ignored: false,
            triggered: Some(true),
            noblock: Some(block == Block::No),
            blocked: Some(self.blocks.holds(source)),
        };
        let alert = Said::Alert { kind, host: source, proto, port, options, marks };
        if !has_line {
            self.totals.coalesced += u64::from(!is_banned);
            if self.flood.tells(&mut self.sources, source, now) {
                self.detect(&report, &alert, true, effects);
            }
            return;
        }
        self.detect(&report, &alert, false, effects);
        self.put(Item::Line(alert), now, effects);
        if options == IpOptions::Set && self.settings.form == Form::One {
            self.put(Item::Line(Said::Options { host: source, proto, port }), now, effects);
        }
        self.respond(source, mode, port, now, effects);
    }

    /// What 2.x says of probes that do not count.
    fn remark(
        &mut self,
        report: Report,
        marks: Marks,
        topic: Topic,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Report { kind, source: host, proto, port, options, .. } = report;
        if self.settings.form == Form::Two
            && self.flood.judge(&mut self.sources, topic, kind, now) == Verdict::Line
        {
            let alert = Said::Alert { kind, host, proto, port, options, marks };
            self.put(Item::Line(alert), now, effects);
        }
    }

    fn detect(&self, report: &Report, alert: &Said, quiet: bool, effects: &mut Effects) {
        let Report { time, source, proto, port, .. } = *report;
        // Jails do not wait for names.
        let text = alert.text(self.settings.form, &source.to_string()).concat().into();
        effects.detections.push(Detection { time, text, source, proto, port, quiet });
    }

    fn respond(
        &mut self,
        host: IpAddr,
        mode: Mode,
        port: u16,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let block = self.settings.block(mode.proto());
        // Where 1.2 notes whom it would have blocked, 2.x has nothing to add to its line.
        if block == Block::No && self.settings.form == Form::Two {
            return;
        }
        if block != Block::No && self.is_protected(host) {
            if self.protected_told.len() < PROTECTED_TOLD_MAX && self.protected_told.insert(host) {
                let text = format!(
                    "adminalert: Host {host} is protected (gateway, resolver or link-local): not blocked"
                );
                self.put(Item::Line(Said::Plain(text)), now, effects);
            }
            return;
        }
        let mut items = std::mem::take(&mut self.items);
        let responses = &mut effects.responses;
        let mut out = Out { items: &mut items, responses, zone: self.zone };
        self.blocks.alert(&self.settings, mode, host, port, now, &mut out);
        self.put_all(items, now, effects);
    }

    fn is_protected(&self, host: IpAddr) -> bool {
        let is_link_local = matches!(host, IpAddr::V6(host) if host.is_unicast_link_local());
        is_link_local || self.protected.contains(host)
    }

    // ---- saying it -----------------------------------------------------------------------------

    fn summarise(&mut self, now: Timestamp, all: bool, effects: &mut Effects) {
        let (counted, rest) = self.flood.summary(now, all);
        for (Topic { source: host, proto, port }, (times, kind)) in counted {
            let said = Said::More { kind, host, proto, port, times };
            self.put(Item::Line(said), now, effects);
        }
        if rest > 0 {
            let text = format!(
                "adminalert: Flood: {rest} more packets of the last {} seconds got no line of \
                 their own",
                flood::WINDOW_S
            );
            self.put(Item::Line(Said::Plain(text)), now, effects);
        }
    }

    fn put_all(&mut self, mut items: Vec<Item>, now: Timestamp, effects: &mut Effects) {
        for item in items.drain(..) {
            self.put(item, now, effects);
        }
        self.items = items;
    }

    /// Says something now, or when the name of whom it is about is known.
    fn put(&mut self, item: Item, now: Timestamp, effects: &mut Effects) {
        let (Item::Line(said) | Item::Record(_, said)) = &item;
        let host = said.host().filter(|_| self.settings.resolve);
        let name = match host.map(|host| (host, self.names.ask(host, &item, now))) {
            None => None,
            Some((_, Now::Say(name))) => name,
            Some((host, Now::Wait(asks))) => {
                effects.lookups.extend(asks.then_some(host));
                return;
            }
        };
        self.write(&item, name.as_deref(), now, effects);
    }

    fn write(&self, item: &Item, name: Option<&str>, time: Timestamp, effects: &mut Effects) {
        let (Item::Line(said) | Item::Record(_, said)) = item;
        let address = said.host().map(|host| host.to_string()).unwrap_or_default();
        let texts = said.text(self.settings.form, name.unwrap_or(&address));
        match item {
            Item::Line(_) => {
                let is_scan = matches!(said, Said::Alert { .. });
                for text in texts {
                    if is_scan && self.settings.form == Form::Two {
                        let line = lines::history_two(time, self.zone, &text);
                        effects.records.push(Record { file: RecordFile::History, line });
                    }
                    effects.lines.push(Line { time, text: text.into() });
                }
            }
            Item::Record(file, _) => {
                // 2.x has its own history, of every line.
                let skipped = self.settings.form == Form::Two && *file == RecordFile::History;
                let kept = texts.into_iter().filter(|_| !skipped);
                effects.records.extend(kept.map(|line| Record { file: *file, line }));
            }
        }
    }
}

/// Addresses that stand for nobody whom one could report.
fn is_nobody(source: IpAddr) -> bool {
    let is_broadcast = matches!(source, IpAddr::V4(source) if source.is_broadcast());
    source.is_unspecified() || source.is_loopback() || source.is_multicast() || is_broadcast
}
