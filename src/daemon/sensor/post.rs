//! The loop of the post: waits, receives, decides, delivers.

use std::{
    collections::HashSet,
    io::{self, PipeReader, Read},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Letter, Mailbox, News, Order, Output, Start, Status, ears::Ears, files::Files, kernel::Kernel,
    respond::Responder, voice::Voice,
};
use crate::{
    config::sensor::{SensorSpec, ignore},
    daemon::{
        log::Level,
        resolver::{Answer, Question, Resolver},
        surroundings,
    },
    net::Cidr,
    sensor::{Connect, Decoded, Decoder, Effects, Flags, Link, Mode, Proto, Sensor},
    source::{
        capture::{Capture, Wanted},
        listen::{Bound, Kind},
    },
    time::{self, Timestamp, Zone},
};

/// So many packets are received before what they led to is delivered.
const PACKETS_PER_TURN: usize = 512;
/// Services, addresses and losses are looked at so often, in microseconds.
const LOOK_US: i64 = 1_000_000;
/// Rules that translate addresses, name servers and ports that could not be bound: so often.
const SLOW_LOOK_US: i64 = 5_000_000;
/// Files that people edit are looked at before packets, at most so often, in microseconds.
const FILES_US: i64 = 500;
/// From so many packets a second on, the kernel gathers them for so long before they are taken: to
/// be woken for each of a flood costs more than the packet does.
const FLOOD_PER_S: i64 = 20_000;
const GATHER: Duration = Duration::from_micros(500);
/// How many there are a second is judged anew so often, in microseconds.
const PACE_US: i64 = 20_000;
/// At the end so many packets are still looked at: more than wait for us, less than a flood brings.
const LAST_PACKETS_MAX: usize = 65_536;
/// So many letters are read in a row.
const LETTERS_PER_TURN: usize = 256;

/// The post's own thread.
pub struct Loop {
    spec: SensorSpec,
    sensor: Sensor,
    decoder: Decoder,
    effects: Effects,
    kernel: Kernel,
    capture: Option<Capture>,
    bound: Bound,
    ears: Ears,
    voice: Voice,
    files: Files,
    responder: Responder,
    resolver: Option<Resolver<()>>,
    banned: HashSet<Cidr>,
    output: Output,
    mailbox: Mailbox,
    inbox: Receiver<Letter>,
    bell: PipeReader,
    status: Arc<Mutex<Status>>,
    now: Timestamp,
    look_due: Timestamp,
    slow_look_due: Timestamp,
    files_due: Timestamp,
    /// The ports for which the kernel's filter was made.
    generation: Option<u64>,
    lost: u64,
    pace: Pace,
    /// Nobody hears us any more.
    deaf: bool,
}

/// How fast packets come.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    since: Timestamp,
    packets: usize,
    is_flood: bool,
}

impl Pace {
    fn add(&mut self, packets: usize, now: Timestamp) {
        let passed = now.micros().saturating_sub(self.since.micros());
        if !(0..PACE_US).contains(&passed) {
            let packets = i64::try_from(self.packets).unwrap_or(i64::MAX);
            // A clock that was set back says nothing.
            self.is_flood = passed > 0 && packets.saturating_mul(1_000_000) / FLOOD_PER_S > passed;
            (self.since, self.packets) = (now, 0);
        }
        self.packets += packets;
    }
}

impl Loop {
    /// Opens everything.
    pub fn new(
        start: Start,
        bell: PipeReader,
        inbox: Receiver<Letter>,
        mailbox: Mailbox,
        status: Arc<Mutex<Status>>,
    ) -> io::Result<Loop> {
        let Start { spec, terminal, executor, output } = start;
        let now = time::now();
        let mut kernel = Kernel::new();
        let services = kernel.services().unwrap_or_default();
        let sensor = Sensor::new(spec.settings.clone(), Zone::Local, &services);
        let responder = {
            let mailbox = mailbox.clone();
            Responder::spawn(executor, move |outcome, notes| {
                mailbox.send(Letter::Done(outcome, notes));
            })?
        };
        let mut post = Loop {
            sensor,
            decoder: Decoder::new(),
            effects: Effects::default(),
            kernel,
            capture: None,
            bound: Bound::default(),
            ears: Ears::new(),
            voice: Voice::new(terminal),
            files: Files::default(),
            responder,
            resolver: None,
            banned: HashSet::new(),
            output,
            mailbox,
            inbox,
            bell,
            status,
            now,
            look_due: now,
            slow_look_due: now,
            files_due: Timestamp::default(),
            generation: None,
            lost: 0,
            pace: Pace::default(),
            deaf: false,
            spec,
        };
        rustix::io::ioctl_fionbio(&post.bell, true)?;
        post.settle_in();
        if let Err(trouble) = post.files.empty_blocked() {
            post.say(Level::ERROR, trouble);
        }
        let unbound = post.unbound();
        post.sensor.start(&unbound, now, &mut post.effects);
        post.deliver();
        Ok(post)
    }

    /// Stands guard until it is told to go.
    pub fn run(mut self) {
        while !self.deaf {
            let ready = self.wait();
            self.now = time::now();
            if !self.read_letters() {
                break;
            }
            // Whose address and which interface it is has to be known before a packet is looked at;
            // all else that is looked at from time to time can wait for the packet.
            if self.kernel.look_if_changed() {
                self.look(true);
            }
            self.look_at_files();
            let received = if ready.capture { self.receive() } else { 0 };
            for nth in ready.bound {
                self.accept(nth);
            }
            if self.sensor.poll_timeout().is_some_and(|due| due <= self.now) {
                let _ = self.sensor.handle_timeout(self.now, &mut self.effects);
            }
            self.deliver();
            self.look(false);
            self.sieve();
            if self.pace.is_flood && (1..PACKETS_PER_TURN).contains(&received) {
                thread::sleep(GATHER);
            }
        }
        self.receive_last();
        self.sensor.stop(self.now, &mut self.effects);
        self.deliver();
        self.voice.finish();
    }

    // ---- what is to be waited for ---------------------------------------------------------------

    fn wait(&self) -> Ready {
        // Packets that were read already make no descriptor ready.
        let more = self.capture.as_ref().is_some_and(Capture::is_behind);
        let due = self.sensor.poll_timeout().map_or(self.look_due, |due| due.min(self.look_due));
        let micros = if more { 0 } else { until(due, time::now()) };
        let timeout = Timespec { tv_sec: micros / 1_000_000, tv_nsec: micros % 1_000_000 * 1000 };
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        let capture = fds.len();
        let seen = self.capture.iter().flat_map(Capture::fds);
        fds.extend(seen.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let capture = capture..fds.len();
        fds.extend(self.kernel.news().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(self.voice.is_behind().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        let first = fds.len();
        let bound = self.bound.sockets();
        fds.extend(bound.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        // Interrupted: the next turn waits again.
        if poll(&mut fds, Some(&timeout)).unwrap_or(0) == 0 {
            return Ready { capture: more, bound: Vec::new() };
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let bound = fds.iter().skip(first).enumerate();
        Ready {
            capture: more || fds.get(capture).is_some_and(|fds| fds.iter().any(is_ready)),
            bound: bound.filter(|(_, fd)| is_ready(fd)).map(|(nth, _)| nth).collect(),
        }
    }

    /// False if it is told to go.
    fn read_letters(&mut self) -> bool {
        let mut rings = [0; 512];
        while matches!(self.bell.read(&mut rings), Ok(length) if length == rings.len()) {}
        for _ in 0..LETTERS_PER_TURN {
            let Ok(letter) = self.inbox.try_recv() else { return true };
            match letter {
                Letter::Order(Order::Stop) => return false,
                Letter::Order(order) => self.obey(order),
                Letter::Done(outcome, notes) => {
                    notes.into_iter().for_each(|note| self.say(Level::WARNING, note));
                    self.sensor.handle_outcome(&outcome, self.now, &mut self.effects);
                }
                Letter::Named(address, name) => {
                    let (now, effects) = (self.now, &mut self.effects);
                    self.sensor.handle_name(address, name.as_deref(), now, effects);
                }
            }
        }
        // More may wait than the bell has rung for by now.
        self.look_due = self.now;
        true
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Hear(follow) => self.ears.add(*follow),
            Order::Forget(jail) => self.ears.remove(&jail),
            Order::Banned(changes) => changes.iter().for_each(|(net, is)| self.ban(*net, *is)),
            Order::AllBanned(all) => {
                let now: HashSet<Cidr> = all.into_iter().collect();
                let gone: Vec<Cidr> = self.banned.difference(&now).copied().collect();
                gone.into_iter().for_each(|net| self.ban(net, false));
                now.into_iter().for_each(|net| self.ban(net, true));
            }
            Order::Reload(spec) => self.reload(*spec),
            Order::Stop => {}
        }
    }

    fn ban(&mut self, net: Cidr, is: bool) {
        let changed = if is { self.banned.insert(net) } else { self.banned.remove(&net) };
        if changed {
            self.sensor.set_banned(net, is);
        }
    }

    fn reload(&mut self, spec: SensorSpec) {
        if spec.capture != self.spec.capture {
            self.capture = None;
        }
        self.sensor.reload(spec.settings.clone());
        self.spec = spec;
        self.settle_in();
    }

    // ---- what is around -------------------------------------------------------------------------

    /// Takes up what the configuration says.
    fn settle_in(&mut self) {
        let spec = &self.spec;
        let priority = spec.syslog.then(|| spec.syslog_facility * 8 + spec.syslog_level);
        self.voice.direct(priority, spec.log.as_ref().map(|log| log.value.clone().into()));
        self.files.place(&self.spec);
        self.bind();
        self.generation = None;
        self.files_due = Timestamp::default();
        (self.look_due, self.slow_look_due) = (self.now, self.now);
        let changed = self.kernel.look_if_changed();
        self.look(changed);
        self.look_at_files();
        self.sieve();
    }

    fn bind(&mut self) {
        let settings = &self.spec.settings;
        let listed = |proto, kind, mode| {
            let binds = settings.mode(proto) == Some(mode);
            let ports = settings.ports(proto).iter().filter(move |_| binds);
            ports.map(move |port| (kind, *port))
        };
        let wanted: Vec<(Kind, u16)> = listed(Proto::Tcp, Kind::Tcp, Mode::Tcp)
            .chain(listed(Proto::Udp, Kind::Udp, Mode::Udp))
            .filter(|(_, port)| *port != 0)
            .collect();
        // What was bound and stays so is bound anew.
        self.bound = Bound::default();
        self.bound = Bound::bind(wanted);
    }

    fn unbound(&self) -> Vec<(Proto, u16)> {
        let proto = |kind| if kind == Kind::Tcp { Proto::Tcp } else { Proto::Udp };
        self.bound.missing().iter().map(|(kind, port)| (proto(*kind), *port)).collect()
    }

    /// Looks at what is due to be looked at, or at everything because interfaces or addresses
    /// changed.
    fn look(&mut self, changed: bool) {
        let is_due = |due: Timestamp| due <= self.now || due > plus(self.now, 2 * SLOW_LOOK_US);
        let slow = is_due(self.slow_look_due);
        if is_due(self.look_due) || changed {
            self.look_due = plus(self.now, LOOK_US);
            self.kernel.tick(self.now);
            // Where nobody says what is in use, nothing that was has closed.
            if let Some(mut services) = self.kernel.services() {
                let bound = &self.bound;
                services.retain(|one| {
                    let kind = if one.proto == Proto::Tcp { Kind::Tcp } else { Kind::Udp };
                    !(one.address.is_unspecified() && bound.has((kind, one.port)))
                });
                let _ = self.sensor.set_services(&services, self.now);
            }
            self.count_losses();
        }
        if slow || changed {
            self.slow_look_due = plus(self.now, SLOW_LOOK_US);
            self.kernel.look_at_rules();
            self.bound.retry();
            let own = &self.kernel.ground().addresses;
            // A host without addresses has not been asked.
            if !own.is_empty() {
                self.sensor.set_own(own);
            }
            let mut protected: Vec<IpAddr> = Vec::new();
            if self.spec.protect {
                protected.extend(&self.kernel.ground().gateways);
                protected.extend(surroundings::resolvers());
            }
            let single = |one: IpAddr| Cidr::new(one, 128);
            let protected: Vec<Cidr> = protected.into_iter().map(single).collect();
            self.sensor.set_protected(&protected);
            self.generation = None;
        }
        self.look_at_files();
    }

    fn look_at_files(&mut self) {
        if self.files_due > self.now && self.files_due <= plus(self.now, FILES_US) {
            return;
        }
        self.files_due = plus(self.now, FILES_US);
        for (mode, text) in self.files.changed_blocked() {
            self.sensor.set_blocked(mode, &ignore::blocked_hosts(&text));
        }
        let Some((path, text)) = self.files.ignored(&self.spec) else { return };
        let networks = text.map(|text| {
            let (networks, findings) = ignore::parse(&text, &path.to_string_lossy());
            for finding in findings {
                self.say(Level::WARNING, finding.to_string());
            }
            networks
        });
        self.sensor.set_ignored(networks.as_deref(), self.now, &mut self.effects);
    }

    fn count_losses(&mut self) {
        if let Some(capture) = &mut self.capture {
            let lost = capture.lost();
            let new = lost.saturating_sub(self.lost);
            self.lost = lost;
            if new > 0 {
                self.sensor.handle_drops(new, self.now, &mut self.effects);
            }
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.totals = self.sensor.totals();
        status.unbound = self.bound.missing().len();
    }

    /// Makes the kernel's filter fit what is watched.
    fn sieve(&mut self) {
        let generation = self.sensor.generation();
        let answers = self.sensor.wants_answers();
        if self.generation == Some(generation.wrapping_mul(2) + u64::from(answers)) {
            return;
        }
        self.generation = Some(generation.wrapping_mul(2) + u64::from(answers));
        let watched = self.sensor.watched();
        let udp = !watched.udp4.is_empty() || !watched.udp6.is_empty();
        if watched.tcp4.is_empty() && watched.tcp6.is_empty() && !udp {
            self.capture = None;
            return;
        }
        let own = self.kernel.ground().addresses.iter().map(|(address, _)| *address);
        let own: Vec<IpAddr> = own.collect();
        let wanted = Wanted {
            tcp4: watched.tcp4.ranges(),
            tcp6: watched.tcp6.ranges(),
            udp4: watched.udp4.ranges(),
            udp6: watched.udp6.ranges(),
            interfaces: self.kernel.interfaces(&self.spec.interfaces),
            own: (!own.is_empty()).then_some(own),
            sent_udp: udp,
            answers,
        };
        let opened = match self.capture.take() {
            Some(capture) => Ok(capture),
            None => {
                self.lost = 0;
                Capture::open(self.spec.capture)
            }
        };
        let opened = opened.and_then(|mut capture| {
            let unseen = capture.want(&wanted)?;
            self.capture = Some(capture);
            Ok(unseen)
        });
        let trouble = match opened {
            Ok(unseen) if unseen.is_empty() => None,
            Ok(unseen) => {
                Some(format!("the sensor does not see all packets: {}", unseen.join("; ")))
            }
            Err(error) => Some(format!("the sensor cannot see packets: {}", no_right(&error))),
        };
        let known = {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut status.trouble, trouble.clone())
        };
        if let Some(trouble) = trouble.filter(|trouble| known.as_ref() != Some(trouble)) {
            self.say(Level::ERROR, trouble);
        }
    }

    // ---- what comes in --------------------------------------------------------------------------

    /// How many packets there were.
    fn receive(&mut self) -> usize {
        let Some(capture) = &mut self.capture else { return 0 };
        let (now, decoder, sensor) = (self.now, &mut self.decoder, &mut self.sensor);
        let (kernel, effects) = (&mut self.kernel, &mut self.effects);
        let received = capture.receive(PACKETS_PER_TURN, |packet| {
            match decoder.decode(Link::Raw, packet, now) {
                Decoded::Probe(probe) if kernel.is_own(probe.source) => match probe.proto {
                    Proto::Udp => kernel.note_sent(&probe),
                    Proto::Tcp if probe.flags.any(Flags::RST | Flags::ACK) => {
                        sensor.handle_answer(probe.target, now);
                    }
                    Proto::Tcp => {}
                },
                Decoded::Probe(probe) => sensor.handle_probe(&probe, kernel, now, effects),
                Decoded::Malformed(what) => sensor.handle_malformed(&what, now, effects),
                Decoded::Icmp { .. } | Decoded::Fragment | Decoded::Other => {}
            }
        });
        let received = received.unwrap_or_else(|error| {
            self.capture = None;
            self.generation = None;
            self.say(Level::ERROR, format!("packets cannot be read any more: {error}"));
            0
        });
        self.pace.add(received, self.now);
        received
    }

    /// What came before the end counts, and what was lost is told of.
    fn receive_last(&mut self) {
        let mut left = LAST_PACKETS_MAX;
        while left > 0 && !self.deaf {
            let received = self.receive();
            self.deliver();
            if received < PACKETS_PER_TURN {
                break;
            }
            left = left.saturating_sub(received);
        }
        self.count_losses();
    }

    fn accept(&mut self, nth: usize) {
        let (now, sensor, effects) = (self.now, &mut self.sensor, &mut self.effects);
        let banner = self.spec.settings.banner.as_deref();
        self.bound.take(nth, |(kind, port), who| {
            let proto = if kind == Kind::Tcp { Proto::Tcp } else { Proto::Udp };
            let source = who.map(|who| who.ip());
            sensor.handle_connect(&Connect { time: now, source, proto, port }, now, effects);
            let wanted = std::mem::take(&mut effects.banner);
            banner.filter(|_| wanted).map(|banner| banner.as_bytes().to_vec())
        });
    }

    // ---- what goes out --------------------------------------------------------------------------

    fn deliver(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        let preface = self.voice.preface();
        if let Some(batch) = self.ears.hear(&effects.detections, &preface, self.now)
            && !(self.output)(News::Batch(batch))
        {
            self.deaf = true;
        }
        for response in effects.responses.drain(..) {
            if let Some(outcome) = self.responder.run(response) {
                self.mailbox.send(Letter::Done(outcome, Vec::new()));
            }
        }
        if let Some((level, trouble)) = self.voice.say(&effects.lines) {
            self.say(level, trouble);
        }
        for trouble in self.files.write(&effects.records) {
            self.say(Level::ERROR, trouble);
        }
        for address in effects.lookups.drain(..) {
            self.look_up(address);
        }
        effects.clear();
        // Whatever came meanwhile is kept.
        if self.effects.is_empty() {
            self.effects = effects;
        }
    }

    fn look_up(&mut self, address: IpAddr) {
        if self.resolver.is_none() {
            let mailbox = self.mailbox.clone();
            let spawned = Resolver::spawn(move |question, answer, ()| match (question, answer) {
                (Question::Name(address), Answer::Name(name)) => {
                    mailbox.send(Letter::Named(address, name))
                }
                _ => true,
            });
            self.resolver = spawned.ok();
        }
        let asked = self.resolver.as_ref().is_some_and(|r| r.ask(Question::Name(address), ()));
        if !asked {
            self.mailbox.send(Letter::Named(address, None));
        }
    }

    fn say(&mut self, level: Level, text: String) {
        if !(self.output)(News::Said(level, text)) {
            self.deaf = true;
        }
    }
}

/// Who has something.
#[derive(Default)]
struct Ready {
    capture: bool,
    bound: Vec<usize>,
}

/// So many microseconds to wait; a clock that was set back makes everything due far away.
fn until(due: Timestamp, now: Timestamp) -> i64 {
    due.micros().saturating_sub(now.micros()).clamp(0, LOOK_US)
}

/// An error, and what it takes.
pub(super) fn no_right(error: &io::Error) -> String {
    match error.kind() {
        // Packet sockets, or a library, that are not there at all.
        io::ErrorKind::Unsupported => error.to_string(),
        _ if cfg!(target_os = "linux") => format!("{error}; it takes root, or CAP_NET_RAW"),
        _ => format!("{error}; it takes the right to read /dev/bpf"),
    }
}

fn plus(time: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(time.micros().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_holds_up_nothing() {
        let at = Timestamp::from_secs;
        assert_eq!(until(at(100), at(100 - 86_400)), LOOK_US);
        assert_eq!(until(at(100), at(101)), 0);
        assert_eq!(until(Timestamp::from_micros(1_500), Timestamp::from_micros(1_000)), 500);
    }

    /// A packet after each so many microseconds, for a second.
    fn is_flood(every_us: i64) -> bool {
        let mut pace = Pace::default();
        (0..1_000_000 / every_us)
            .for_each(|nth| pace.add(1, Timestamp::from_micros(nth * every_us)));
        pace.is_flood
    }

    #[test]
    fn a_flood_is_gathered_and_a_scan_is_not() {
        assert!(is_flood(10));
        assert!(!is_flood(100));
        let mut pace = Pace { since: Timestamp::default(), packets: 10_000, is_flood: true };
        pace.add(1, Timestamp::from_secs(60));
        assert!(!pace.is_flood, "it was long ago");
        let mut pace = Pace { since: Timestamp::from_secs(60), packets: 1, is_flood: true };
        pace.add(1, Timestamp::from_secs(1));
        assert!(!pace.is_flood, "the clock was set back");
    }
}
