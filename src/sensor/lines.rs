//! Every message of portsentry's, to the letter; and what we say beyond.
//!
//! A [`Said`] is what is to be said; [`Said::text`] puts it into the words of portsentry 1.2 or
//! 2.x. Blanks count: people and filters parse these lines.

use std::net::IpAddr;

use super::{
    kind::Kind,
    packet::{IpOptions, Proto},
    settings::{Form, Mode},
};
use crate::time::{Timestamp, Zone};

/// Of what a command said so many characters are shown.
const REASON_MAX: usize = 300;

/// What 2.x says of a probe beside its type.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Marks {
    pub ignored: bool,
    pub triggered: Option<bool>,
    pub noblock: Option<bool>,
    pub blocked: Option<bool>,
}

/// The three ways to act.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Wrappers,
    Route,
    Command,
}

impl Way {
    pub fn key(self) -> &'static str {
        match self {
            Way::Wrappers => "KILL_HOSTS_DENY",
            Way::Route => "KILL_ROUTE",
            Way::Command => "KILL_RUN_CMD",
        }
    }
}

/// What is to be said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// A probe.
    Alert { kind: Kind, host: IpAddr, proto: Proto, port: u16, options: IpOptions, marks: Marks },
    /// More of them, no port if over several.
    More { kind: Kind, host: IpAddr, proto: Proto, port: Option<u16>, times: u64 },
    /// Beside an alert.
    Options { host: IpAddr, proto: Proto, port: u16 },
    /// `BLOCK_*` is 0.
    NoResponse { host: IpAddr, proto: Proto },
    /// Nothing to do.
    Already { mode: Mode, host: IpAddr },
    /// Something was done.
    Done { way: Way, host: IpAddr, text: String },
    /// Something failed.
    Failed { way: Way, host: IpAddr, path: String },
    /// Why it failed, and whether it is tried again.
    Reason { way: Way, host: IpAddr, reason: String, again_s: Option<i64> },
    /// So the host is not blocked.
    NotBlocked { mode: Mode, host: IpAddr },
    /// The option holds no `$TARGET$`.
    NoTarget { way: Way, host: IpAddr },
    /// A line for the blocked and history files.
    Record { host: IpAddr, proto: Proto, port: u16, time: Timestamp, zone: Zone },
    /// Words that stand for themselves.
    Plain(String),
}

impl Said {
    /// Whom it is about: what is said of one host stays in order.
    pub fn host(&self) -> Option<IpAddr> {
        match self {
            Said::Alert { host, .. }
            | Said::More { host, .. }
            | Said::Options { host, .. }
            | Said::NoResponse { host, .. }
            | Said::Already { host, .. }
            | Said::Done { host, .. }
            | Said::Failed { host, .. }
            | Said::Reason { host, .. }
            | Said::NotBlocked { host, .. }
            | Said::NoTarget { host, .. }
            | Said::Record { host, .. } => Some(*host),
            Said::Plain(_) => None,
        }
    }

    /// The lines, mostly one; `name` is the host's, or its address again.
    pub fn text(&self, form: Form, name: &str) -> Vec<String> {
        let one = |text: String| vec![printable(&text)];
        match self {
            Said::Alert { kind, host, proto, port, options, marks } => one(match form {
                Form::One => {
                    format!("attackalert: {kind} from host: {name}/{host} to {proto} port: {port}")
                }
                Form::Two => scan(*kind, *host, name, *proto, *port, *options, *marks),
            }),
            Said::More { kind, host, proto, port: Some(port), times } => one(format!(
                "attackalert: {kind} from host: {name}/{host} to {proto} port: {port} repeated \
                 {times} times"
            )),
            Said::More { host, proto, port: None, times, .. } => one(format!(
                "attackalert: Scan from host: {name}/{host} to more {proto} ports repeated \
                 {times} times"
            )),
            Said::Options { host, proto, port } => one(format!(
                "attackalert: Packet from host: {name}/{host} to {proto} port: {port} has IP \
                 options set (detection avoidance technique)."
            )),
            Said::NoResponse { proto, .. } => one(format!(
                "attackalert: Ignoring {proto} response per configuration file setting."
            )),
            Said::Already { mode, host } => one(match mode.binds() && form == Form::One {
                true => format!("attackalert: Host: {host} is already blocked. Ignoring"),
                false => format!("attackalert: Host: {name}/{host} is already blocked Ignoring"),
            }),
            Said::Done { way: Way::Wrappers, host, text } => one(format!(
                "attackalert: Host {host} has been blocked via wrappers with string: \"{text}\""
            )),
            Said::Done { way: Way::Route, host, text } => one(format!(
                "attackalert: Host {host} has been blocked via dropped route using command: \
                 \"{text}\""
            )),
            Said::Done { way: Way::Command, host, text } => one(format!(
                "attackalert: External command run for host: {host} using command: \"{text}\""
            )),
            Said::Failed { way: Way::Wrappers, host, path } => vec![
                printable(&format!(
                    "adminalert: cannot open hosts.deny file: {path} for blocking."
                )),
                format!("securityalert: ERROR: There was an error trying to block host {host}"),
            ],
            Said::Failed { way: Way::Route, host, .. } => one(format!(
                "adminalert: ERROR: There was an error trying to block host (system fail) {host}"
            )),
            Said::Failed { way: Way::Command, host, .. } => one(format!(
                "adminalert: ERROR: There was an error trying to run command (system fail) {host}"
            )),
            Said::Reason { way, host, reason, again_s } => {
                let reason: String = reason.trim().chars().take(REASON_MAX).collect();
                let again = match again_s {
                    Some(seconds) => format!("tried again in {seconds} s"),
                    None => "tried again at its next probe".to_owned(),
                };
                let key = way.key();
                one(format!("adminalert: {key} failed for host {host}: {reason}; {again}"))
            }
            Said::NotBlocked { mode, host } => one(match (form, mode) {
                (Form::Two, _) => {
                    format!("attackalert: Error during target dispose {name}/{host}!")
                }
                (_, Mode::Tcp | Mode::Udp) => {
                    format!("attackalert: ERROR: Could not block host {host} !!")
                }
                (_, Mode::Stcp) => {
                    format!("attackalert: ERROR: Could not block host {name}/{host} !!")
                }
                _ => format!("attackalert: ERROR: Could not block host {name}/{host}!!"),
            }),
            Said::NoTarget { way, .. } => one(format!(
                "adminalert: No target variable specified in {} option. Skipping.",
                way.key()
            )),
            Said::Record { host, proto, port, time, zone } => {
                let date = zone.civil(*time).map(|civil| {
                    format!(
                        "{:02}/{:02}/{:04} {:02}:{:02}:{:02}",
                        civil.month, civil.day, civil.year, civil.hour, civil.minute, civil.second
                    )
                });
                one(format!(
                    "{} - {} Host: {name}/{host} Port: {port} {proto} Blocked",
                    time.secs(),
                    date.unwrap_or_default()
                ))
            }
            Said::Plain(text) => one(text.clone()),
        }
    }
}

fn scan(
    kind: Kind,
    host: IpAddr,
    name: &str,
    proto: Proto,
    port: u16,
    options: IpOptions,
    marks: Marks,
) -> String {
    let word = |mark: Option<bool>| match mark {
        Some(true) => "true",
        Some(false) => "false",
        None => "unset",
    };
    let options = match options {
        IpOptions::Unset => "not set",
        IpOptions::Set => "set",
        IpOptions::Unknown => "unknown",
    };
    format!(
        "Scan from: [{host}] ({name}) protocol: [{proto}] port: [{port}] type: [{}] IP opts: \
         [{options}] ignored: [{}] triggered: [{}] noblock: [{}] blocked: [{}]",
        kind.in_form_two(),
        marks.ignored,
        word(marks.triggered),
        word(marks.noblock),
        word(marks.blocked),
    )
}

/// A line of 2.x's history file: `2026-11-20T09:30:56.654+0000 ` and what the log says.
pub(super) fn history_two(time: Timestamp, zone: Zone, line: &str) -> String {
    let Some(civil) = zone.civil(time) else { return line.to_owned() };
    let east = civil.seconds_as_utc().map_or(0, |wall| wall - time.secs());
    let sign = if east < 0 { '-' } else { '+' };
    let minutes = east.abs() / 60;
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}{sign}{:02}{:02} {line}",
        civil.year,
        civil.month,
        civil.day,
        civil.hour,
        civil.minute,
        civil.second,
        time.micros().rem_euclid(1_000_000) / 1000,
        minutes / 60,
        minutes % 60,
    )
}

/// Nothing that would steer a terminal or begin another line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The lines of a mode's start up to the ports in use: what is told before is `is starting`.
pub(super) fn starting() -> String {
    "adminalert: PortSentry 1.2 is starting.".to_owned()
}

/// `PortSentry is now active and listening.`
pub(super) fn active(form: Form) -> String {
    match form {
        Form::One => "adminalert: PortSentry is now active and listening.".to_owned(),
        Form::Two => "Portsentry is now active and listening.".to_owned(),
    }
}

/// The two lines of the end, or 2.x's one.
pub(super) fn stopping(form: Form) -> Vec<String> {
    match form {
        Form::One => vec![
            "securityalert: PortSentry is shutting down".to_owned(),
            "adminalert: PortSentry is shutting down".to_owned(),
        ],
        Form::Two => vec!["Portsentry is shutting down".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stay_on_one_line_and_short() {
        let host: IpAddr = "192.0.2.1".parse().unwrap();
        let reason = format!("exit code 1: \u{1b}[2J{}\nsecond", "x".repeat(1000));
        let said = Said::Reason { way: Way::Route, host, reason, again_s: Some(2) };
        let text = said.text(Form::One, "192.0.2.1");
        let [line] = text.as_slice() else { panic!("{text:?}") };
        assert!(line.len() < 400 && !line.contains(['\u{1b}', '\n']), "{line}");
        assert!(line.starts_with("adminalert: KILL_ROUTE failed for host 192.0.2.1: exit code 1:"));
        assert!(line.ends_with("; tried again in 2 s"));
    }

    #[test]
    fn a_history_line_of_two_tells_zone_and_milliseconds() {
        let time = Timestamp::from_micros(1_795_167_056_654_321);
        let line = |east| history_two(time, Zone::Fixed(east), "Scan");
        assert_eq!(line(0), "2026-11-20T09:30:56.654+0000 Scan");
        assert_eq!(line(5400), "2026-11-20T11:00:56.654+0130 Scan");
        assert_eq!(line(-5400), "2026-11-20T08:00:56.654-0130 Scan");
    }
}
