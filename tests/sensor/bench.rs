//! A sensor on a bench: probes go in by short calls, texts come out.

use std::net::IpAddr;

use sentryban::{
    sensor::{
        Connect, Effects, Facts, Flags, IpOptions, Outcome, Probe, Proto, Sensor, Service, Settings,
    },
    time::{Timestamp, Zone},
};

/// Our address, as in the recorded scans.
pub const OWN: &str = "10.77.0.2";
/// And the attacker's.
pub const HOST: &str = "10.77.0.1";

pub struct Bench {
    pub sensor: Sensor,
    pub effects: Effects,
    pub now: Timestamp,
    /// What the kernel answers.
    pub facts: Facts,
    /// How often it was asked.
    pub asked: usize,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn service(proto: Proto, address: &str, port: u16) -> Service {
    Service { proto, address: ip(address), port }
}

impl Bench {
    pub fn new(settings: Settings) -> Bench {
        Bench::with(settings, &[])
    }

    pub fn with(settings: Settings, services: &[Service]) -> Bench {
        let mut sensor = Sensor::new(settings, Zone::Fixed(0), services);
        sensor.set_own(&[
            (ip(OWN), 24),
            (ip("fd77::2"), 64),
            (ip("127.0.0.1"), 8),
            (ip("::1"), 128),
        ]);
        Bench {
            sensor,
            effects: Effects::default(),
            now: Timestamp::from_secs(1_795_166_841),
            facts: Facts::default(),
            asked: 0,
        }
    }

    pub fn wait(&mut self, seconds: i64) {
        self.now = self.now.plus_secs(seconds);
        self.sensor.handle_timeout(self.now, &mut self.effects);
    }

    pub fn probe_of(&self, proto: Proto, source: &str, target: &str, port: u16) -> Probe {
        Probe {
            time: self.now,
            source: ip(source),
            target: ip(target),
            proto,
            port,
            source_port: 40_000,
            flags: Flags(if proto == Proto::Tcp { Flags::SYN } else { 0 }),
            options: IpOptions::Unset,
            fragmented: false,
        }
    }

    pub fn send(&mut self, probe: Probe) {
        let (facts, asked) = (self.facts, &mut self.asked);
        let mut witness = |_: &Probe| {
            *asked += 1;
            facts
        };
        self.sensor.handle_probe(&probe, &mut witness, self.now, &mut self.effects);
    }

    pub fn syn(&mut self, source: &str, port: u16) {
        let probe = self.probe_of(Proto::Tcp, source, target_for(source), port);
        self.send(probe);
    }

    pub fn udp(&mut self, source: &str, port: u16) {
        let probe = self.probe_of(Proto::Udp, source, target_for(source), port);
        self.send(probe);
    }

    pub fn connect(&mut self, proto: Proto, source: &str, port: u16) {
        let connect = Connect { time: self.now, source: Some(ip(source)), proto, port };
        self.sensor.handle_connect(&connect, self.now, &mut self.effects);
    }

    pub fn answer(&mut self, id: u64, steps: &[Result<(), &str>]) {
        let steps = steps.iter().map(|step| step.map_err(str::to_owned)).collect();
        self.sensor.handle_outcome(&Outcome { id, steps }, self.now, &mut self.effects);
    }

    /// The lines since the last call; forgets all other effects.
    pub fn lines(&mut self) -> Vec<String> {
        let effects = std::mem::take(&mut self.effects);
        effects.lines.iter().map(|line| line.text.to_string()).collect()
    }

    pub fn effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }
}

fn target_for(source: &str) -> &'static str {
    if source.contains(':') { "fd77::2" } else { OWN }
}

/// `attackalert: TCP SYN/Normal scan from host: HOST/HOST to TCP port: PORT`.
pub fn syn_line(host: &str, port: u16) -> String {
    format!("attackalert: TCP SYN/Normal scan from host: {host}/{host} to TCP port: {port}")
}

pub fn already(host: &str) -> String {
    format!("attackalert: Host: {host}/{host} is already blocked Ignoring")
}

pub const NO_TCP: &str = "attackalert: Ignoring TCP response per configuration file setting.";
