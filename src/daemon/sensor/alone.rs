//! The sensor without a server: as a process of its own, or over a file of packets.

use std::{
    collections::HashSet,
    fs::File,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    News, Order, Post, Start,
    post::no_right,
    voice::{Voice, try_syslog},
};
use crate::{
    config::{Finding, sensor::SensorSpec},
    daemon::{
        helper::{Helper, HelperExecutor},
        log::{Level, Log, Target},
        privilege,
        runner::{exec::Executor, tools::Tools},
        start::{self, Fork, Herald, PidFile, Refusal, RefusalKind},
        turns,
    },
    sensor::{Block, Decoded, Decoder, Effects, Facts, Link, Mode, Probe, Proto, Sensor, Settings},
    source::{capture::Capture, pcap::Packets},
    time::{self, Zone},
};

/// So long is waited for the process in the background, in seconds.
const TIMEOUT_S: u64 = 30;
/// So many conversations of a file are remembered.
const SEEN_MAX: usize = 1 << 20;

/// A sensor of its own.
pub struct Alone {
    /// What is written about it.
    pub spec: SensorSpec,
    /// Reads that again.
    pub again: Box<dyn Fn() -> (SensorSpec, Vec<Finding>) + Send>,
    /// Stay in the foreground.
    pub foreground: bool,
    /// The file for the process id.
    pub pidfile: Option<PathBuf>,
    /// Says something to whoever typed it.
    pub warn: fn(&str),
}

/// Stands guard until it is told to go; in the background the process that was typed returns as soon
/// as the other one stands.
///
/// # Errors
/// Why it does not start.
pub fn guard_alone(alone: Alone) -> Result<(), Refusal> {
    let settings = &alone.spec.settings;
    if [settings.tcp, settings.udp].into_iter().flatten().any(|mode| !mode.binds())
        && let Err(error) = Capture::open(alone.spec.capture)
    {
        let text = format!("packets cannot be seen: {}", no_right(&error));
        return Err(Refusal::new(RefusalKind::NoRight, text));
    }
    let mut herald = Herald::none();
    // Who goes on to talk to nobody is told while they still look.
    if !alone.foreground
        && alone.spec.syslog
        && let Err(text) = try_syslog()
    {
        (alone.warn)(&text);
    }
    if !alone.foreground {
        match start::go_to_background(TIMEOUT_S)? {
            Fork::Parent => return Ok(()),
            Fork::Child(child) => herald = child,
        }
    }
    let stood = stand(alone, &mut herald);
    if let Err(refusal) = &stood {
        herald.refused(refusal);
    }
    stood
}

fn stand(alone: Alone, herald: &mut Herald) -> Result<(), Refusal> {
    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        iterator::Signals,
    };
    let Alone { spec, again, foreground, pidfile, warn: _ } = alone;
    // Without them it goes on as before.
    let _ = turns::ask_for_short_ones();
    let refused =
        |error: io::Error| Refusal::new(RefusalKind::Unavailable, format!("cannot start: {error}"));
    let target = if foreground { "STDERR" } else { "SYSLOG" };
    let log = |text: &str| -> io::Result<Log> {
        let target = Target::parse(text, "auto").map_err(|bad| io::Error::other(bad.0))?;
        Log::open(target, Level::INFO, false)
    };
    let mut log = log(target).or_else(|_| log("STDERR")).map_err(refused)?;
    let settings = &spec.settings;
    // Who may do all has to exist before we may not.
    let helper = match settings.runs_commands() {
        true => Some(Helper::start_own().map_err(refused)?),
        false => None,
    };
    let binds = [settings.tcp, settings.udp].into_iter().flatten().any(Mode::binds);
    if let Err(error) = privilege::drop_most(binds) {
        let text = format!("capabilities stay: {error}");
        log.write(time::now(), Level::ERROR, "sensor", format_args!("{text}"));
    }
    let executor: Box<dyn Executor> = match &helper {
        Some(helper) => Box::new(Either(Tools::new(), helper.executor().map_err(refused)?)),
        None => Box::new(Tools::new()),
    };
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(refused)?;
    let (sender, said) = std::sync::mpsc::channel();
    let output = Box::new(move |news| match news {
        News::Said(level, text) => sender.send((level, text)).is_ok(),
        News::Batch(_) => true,
    });
    let start = Start { spec, terminal: foreground, executor, output };
    let post = Post::start(start).map_err(refused)?;
    let _pidfile = pidfile.map(|path| PidFile::write(&path)).transpose()?;
    herald.ready();
    loop {
        for signal in signals.pending() {
            if signal != SIGHUP {
                post.stop();
                return Ok(());
            }
            let (spec, findings) = again();
            for finding in findings {
                log.write(time::now(), Level::WARNING, "sensor", format_args!("{finding}"));
            }
            if spec.broken || spec.settings.runs_commands() && helper.is_none() {
                let text = match spec.broken {
                    true => "the configuration has faults: all stays as it was",
                    false => {
                        "the KILL_ commands want a helper with the rights of root, which is started \
                         at the start only: restart needed, and all stays as it was"
                    }
                };
                log.write(time::now(), Level::ERROR, "sensor", format_args!("{text}"));
            } else {
                post.tell(Order::Reload(Box::new(spec)));
            }
        }
        while let Ok((level, text)) = said.try_recv() {
            log.write(time::now(), level, "sensor", format_args!("{text}"));
        }
        log.flush();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Commands by the helper, the rest by us.
struct Either(Tools, HelperExecutor);

impl Executor for Either {
    fn run(
        &mut self,
        step: &crate::action::plan::Step,
    ) -> Result<crate::daemon::runner::exec::Done, crate::daemon::runner::exec::Failed> {
        match step.work {
            crate::action::plan::Work::Shell(_) => self.1.run(step),
            _ => self.0.run(step),
        }
    }

    fn notes(&mut self) -> Vec<String> {
        let mut notes = self.0.notes();
        notes.extend(self.1.notes());
        notes
    }
}

/// Packets of a file that begin in a way that is not known here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unread {
    /// How many there were.
    pub packets: u64,
    /// How the first of them begins: a number of the `LINKTYPE_` registry.
    pub link: u16,
}

/// Prints what the packets of a file would have led to. Modes that bind ports see no packets: their
/// lists are watched instead. What was not read is told.
///
/// # Errors
/// The file cannot be read, or is no capture file.
pub fn replay(mut settings: Settings, path: &Path) -> io::Result<Option<Unread>> {
    settings.tcp = settings.tcp.map(|mode| if mode == Mode::Tcp { Mode::Stcp } else { mode });
    settings.udp = settings.udp.map(|mode| if mode == Mode::Udp { Mode::Sudp } else { mode });
    (settings.block_tcp, settings.block_udp) = (Block::No, Block::No);
    let mut packets = Packets::open(io::BufReader::new(File::open(path)?))?;
    let mut voice = Voice::new(true);
    let mut decoder = Decoder::new();
    let mut effects = Effects::default();
    let mut sensor: Option<Sensor> = None;
    let mut seen: HashSet<End> = HashSet::new();
    let mut last = time::now();
    let mut unread: Option<Unread> = None;
    while let Some(packet) = packets.next_packet()? {
        let Some(link) = link(packet.link) else {
            unread.get_or_insert(Unread { packets: 0, link: packet.link }).packets += 1;
            continue;
        };
        last = packet.time;
        let sensor = sensor.get_or_insert_with(|| Sensor::new(settings.clone(), Zone::Local, &[]));
        if sensor.poll_timeout().is_some_and(|due| due <= last) {
            let _ = sensor.handle_timeout(last, &mut effects);
        }
        match decoder.decode(link, &packet.bytes, packet.time) {
            Decoded::Probe(probe) => {
                let (there, back) = ends(&probe);
                // Who was asked before only answers.
                let mut witness =
                    |_: &Probe| Facts { ours: seen.contains(&back), ..Facts::default() };
                sensor.handle_probe(&probe, &mut witness, last, &mut effects);
                if seen.len() < SEEN_MAX {
                    seen.insert(there);
                }
            }
            Decoded::Malformed(what) => sensor.handle_malformed(&what, last, &mut effects),
            Decoded::Icmp { .. } | Decoded::Fragment | Decoded::Other => {}
        }
        voice.say(&effects.lines);
        effects.clear();
    }
    if let Some(sensor) = &mut sensor {
        let _ = sensor.handle_timeout(last, &mut effects);
        voice.say(&effects.lines);
    }
    Ok(unread)
}

type End = (Proto, IpAddr, u16, IpAddr, u16);

/// A conversation as this packet has it, and as its answers do.
fn ends(probe: &Probe) -> (End, End) {
    let (from, to) = ((probe.source, probe.source_port), (probe.target, probe.port));
    ((probe.proto, from.0, from.1, to.0, to.1), (probe.proto, to.0, to.1, from.0, from.1))
}

/// By the numbers of `LINKTYPE_`.
fn link(number: u16) -> Option<Link> {
    Some(match number {
        1 => Link::Ethernet,
        12 | 14 | 101 | 228 | 229 => Link::Raw,
        113 => Link::Cooked,
        276 => Link::Cooked2,
        0 | 108 => Link::Null,
        _ => return None,
    })
}
