//! `[sensor]` of sentryban.conf.

use super::{
    super::{
        finding::Finding,
        jail_options::{self, HINTS},
        nearest,
        text::{Options, Text},
    },
    Interfaces, defaults,
};
use crate::{
    place::Located,
    sensor::{Form, Mode, Proto},
    source::capture::CaptureKind,
};

/// The keys of `[sensor]`.
pub(in crate::config) const OPTIONS: &[&str] = &[
    "enabled",
    "modes",
    "tcp_mode",
    "udp_mode",
    "config",
    "interfaces",
    "capture",
    "service_grace",
    "protect",
    "form",
    "syslog",
    "syslog_facility",
    "syslog_level",
    "log",
    "hosts_deny",
];

/// The longest name that an interface can have.
const INTERFACE_BYTES_MAX: usize = 15;

const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

const LEVELS: &[(&str, u8)] = &[
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("err", 3),
    ("error", 3),
    ("warning", 4),
    ("warn", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

/// What the section says of one protocol: nothing, that it is not watched, or how it is.
pub(super) type Wish = Option<Option<Located<Mode>>>;

/// Reads the section's values one by one; each that cannot be used is a fault.
pub(super) struct Section<'a> {
    pub written: &'a Options,
    pub findings: &'a mut Vec<Finding>,
}

impl Section<'_> {
    fn get(&self, name: &str) -> Option<&Text> {
        self.written.get(name).filter(|value| !value.as_str().trim().is_empty())
    }

    fn fault(&mut self, value: &Text, what: String, write: String) {
        self.findings.push(Finding::fault(value.at(), what, write).within("sensor"));
    }

    /// Keys that nobody reads.
    pub fn unknown(&mut self) {
        for (name, value) in self.written {
            if OPTIONS.contains(&name.as_str()) {
                continue;
            }
            let hint = HINTS.iter().find(|(known, _)| known == name);
            let write = match (nearest(name, OPTIONS.iter().copied()), hint) {
                (Some(near), None) => format!("did you mean '{near}'?"),
                (_, Some((_, hint))) => (*hint).to_owned(),
                (None, None) => "remove it".to_owned(),
            };
            let what = format!("nothing reads the option '{name}' of [sensor]");
            self.findings.push(Finding::warning(value.at(), what, write).within("sensor"));
        }
    }

    /// Yes, no, or none for `auto`.
    pub fn enabled(&mut self) -> Option<bool> {
        let value = self.get("enabled").filter(|value| value.as_str().trim() != "auto")?.clone();
        let flag = jail_options::flag(value.as_str());
        if flag.is_none() {
            let what = format!("'enabled = {}' is none of yes, no and auto", value.as_str());
            self.fault(&value, what, "write yes, no or auto".to_owned());
        }
        flag
    }

    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.get(name).cloned() else { return default };
        jail_options::flag(value.as_str()).unwrap_or_else(|| {
            self.findings.push(jail_options::no_flag(name, &value).within("sensor"));
            default
        })
    }

    pub fn grace(&mut self, default: u32) -> u32 {
        let Some(value) = self.get("service_grace").cloned() else { return default };
        match jail_options::span("service_grace", &value, 0) {
            Ok(seconds) => u32::try_from(seconds).unwrap_or(u32::MAX),
            Err(fault) => {
                self.findings.push(fault.within("sensor"));
                default
            }
        }
    }

    pub fn form(&mut self) -> Form {
        let Some(value) = self.get("form").cloned() else { return Form::One };
        match value.as_str().trim() {
            "1" | "1.2" | "1.x" => Form::One,
            "2" | "2.0" | "2.x" => Form::Two,
            other => {
                let what = format!("'form = {other}' is no form of lines");
                self.fault(&value, what, "write 1.2 or 2.x".to_owned());
                Form::One
            }
        }
    }

    /// A number by its name in `<syslog.h>`, with or without `LOG_`.
    fn named(&mut self, name: &str, names: &[(&str, u8)], default: u8) -> u8 {
        let Some(value) = self.get(name).cloned() else { return default };
        let low = value.as_str().trim().to_ascii_lowercase();
        let word = low.strip_prefix("log_").unwrap_or(&low);
        if let Some((_, number)) = names.iter().find(|(known, _)| *known == word) {
            return *number;
        }
        let what = format!("'{name} = {}' is unknown to syslog", value.as_str());
        let write = match nearest(word, names.iter().map(|(known, _)| *known)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => {
                let all: Vec<&str> = names.iter().map(|(known, _)| *known).collect();
                format!("write one of {}", all.join(", "))
            }
        };
        self.fault(&value, what, write);
        default
    }

    pub fn facility(&mut self) -> u8 {
        self.named("syslog_facility", FACILITIES, 3)
    }

    pub fn level(&mut self) -> u8 {
        self.named("syslog_level", LEVELS, 5)
    }

    /// An absolute path.
    pub fn path(&mut self, name: &str) -> Option<Located<String>> {
        let value = self.get(name)?.clone();
        let path = value.located().map(|path| path.trim().to_owned());
        if !path.value.starts_with('/') {
            let what = format!("'{name} = {}' is no absolute path", path.value);
            self.fault(&value, what, "write the whole path, from / on".to_owned());
            return None;
        }
        Some(path)
    }

    pub fn interfaces(&mut self) -> Interfaces {
        let Some(value) = self.get("interfaces").cloned() else { return Interfaces::Auto };
        let mut named = Vec::new();
        for line in value.lines() {
            for word in line.value.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
                match word {
                    "auto" => return Interfaces::Auto,
                    "all" | "ALL" | "any" => return Interfaces::All,
                    _ if word.len() > INTERFACE_BYTES_MAX || word.contains('/') => {
                        let what = format!("'{word}' is no name that an interface can have");
                        self.fault(&value, what, "write auto, all, or names such as eth0".into());
                    }
                    _ => named.push(Located::new(word.to_owned(), line.at.clone())),
                }
            }
        }
        Interfaces::Named(named)
    }

    pub fn capture(&mut self) -> CaptureKind {
        let Some(value) = self.get("capture").cloned() else { return CaptureKind::Auto };
        let word = value.as_str().trim();
        let known = CaptureKind::ALL.into_iter().find(|kind| kind.word() == word);
        let (what, write) = match known {
            Some(kind) if kind.is_there() => return kind,
            Some(CaptureKind::Pcap) => (
                "'capture = pcap', and this build is without libpcap".to_owned(),
                "write auto, or build with `cargo build --release --features pcap`",
            ),
            Some(kind) => {
                let what = format!("'capture = {kind}' is there on Linux alone");
                (what, "write auto, or pcap in a build with the feature pcap")
            }
            None => (
                format!("'capture = {word}' is no way to see packets"),
                "write auto, packet (a packet socket of Linux) or pcap (libpcap)",
            ),
        };
        self.fault(&value, what, write.to_owned());
        CaptureKind::Auto
    }

    /// What the section wishes for TCP and for UDP.
    pub fn modes(&mut self) -> [Wish; 2] {
        let mut wishes: [Wish; 2] = [None, None];
        if let Some(value) = self.get("modes").cloned() {
            // Who lists modes wants no other.
            wishes = [Some(None), Some(None)];
            for line in value.lines() {
                for word in line.value.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
                    self.add_mode(word, &line.at, &value, &mut wishes);
                }
            }
        }
        for (name, proto) in [("tcp_mode", Proto::Tcp), ("udp_mode", Proto::Udp)] {
            let Some(value) = self.written.get(name).cloned() else { continue };
            let wish = match value.as_str().trim() {
                "" | "no" | "none" | "off" => Some(None),
                word => match defaults::mode(word, proto) {
                    Ok(mode) => Some(Some(Located::new(mode, value.at()))),
                    Err((what, write)) => {
                        self.fault(&value, format!("{name}: {what}"), write);
                        None
                    }
                },
            };
            let [tcp, udp] = &mut wishes;
            *(if proto == Proto::Tcp { tcp } else { udp }) = wish;
        }
        wishes
    }

    fn add_mode(
        &mut self,
        word: &str,
        at: &crate::place::Place,
        value: &Text,
        wishes: &mut [Wish; 2],
    ) {
        let Some(mode) = Mode::of(word.trim_start_matches('-')) else {
            let words = Mode::ALL.map(Mode::word);
            let write = match (word.parse::<u32>(), nearest(word, words.into_iter())) {
                (Ok(_), _) => {
                    "modes are words: write one of tcp, stcp, atcp and one of udp, sudp, \
                               audp"
                        .to_owned()
                }
                (_, Some(near)) => format!("did you mean {near}?"),
                _ => "write one of tcp, stcp, atcp and one of udp, sudp, audp".to_owned(),
            };
            return self.fault(value, format!("'{word}' is not a valid mode"), write);
        };
        let [tcp, udp] = wishes;
        let place = if mode.proto() == Proto::Tcp { tcp } else { udp };
        if let Some(Some(first)) = place {
            let what = format!("{} and {mode} cannot both watch {}", first.value, mode.proto());
            return self.fault(value, what, "choose one of them".to_owned());
        }
        *place = Some(Some(Located::new(mode, at.clone())));
    }
}
