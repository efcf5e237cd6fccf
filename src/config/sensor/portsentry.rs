//! `portsentry.conf`: `KEY="value"`, one a line, read as portsentry reads it.
//!
//! A key stands at the beginning of its line, followed by `=` or one blank; its value is what
//! stands between the first double quote and the next. Of a key given twice the first counts.
//! Where 1.2 goes on in silence with half of what was written, and 2.x exits at the first fault,
//! every fault is said here with its place.

use std::{collections::HashMap, path::Path};

use super::{
    super::{finding::Finding, nearest},
    keys::{HINTS, KEYS, Kind},
};
use crate::{
    place::{Located, Place},
    sensor::{Block, Settings, trigger::SCAN_PORTS_MAX},
};

/// portsentry 1.2 takes so many ports of a list.
const CLASSIC_PORTS_MAX: usize = 64;

/// What a portsentry.conf says, on top of defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    values: HashMap<&'static str, Located<String>>,
}

/// Cuts a file into keys and values.
pub(super) fn parse(text: &[u8], file: &str, findings: &mut Vec<Finding>) -> Written {
    let mut written = Written::default();
    for (number, line) in String::from_utf8_lossy(text).lines().enumerate() {
        let at = Place::new(Path::new(file), u32::try_from(number + 1).unwrap_or(u32::MAX));
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let bare = line.trim_start();
        if bare.starts_with('#') {
            continue;
        }
        let end = bare.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, behind) = bare.split_at(end.unwrap_or(bare.len()));
        let Some((key, _)) = KEYS.iter().find(|(key, _)| *key == name) else {
            findings.push(unknown(name, bare, at));
            continue;
        };
        if bare.len() != line.len() {
            let what =
                format!("{key} is not read, as it does not stand at the beginning of its line");
            findings.push(Finding::warning(at, what, "take the blanks before it away"));
            continue;
        }
        if !behind.starts_with(['=', ' ', '\t']) {
            findings.push(Finding::fault(at, format!("{key} has no value"), quoted(key)));
            continue;
        }
        let value = behind.split_once('"').and_then(|(_, rest)| rest.split_once('"'));
        let Some((value, _)) = value else {
            let what = format!("the value of {key} does not stand between double quotes");
            findings.push(Finding::fault(at, what, quoted(key)));
            continue;
        };
        if let Some(first) = written.values.get(key) {
            let what = format!(
                "{key} is given twice, and the first one counts: that of line {}",
                first.at.line
            );
            findings.push(Finding::warning(at, what, "remove one of them"));
            continue;
        }
        written.values.insert(key, Located::new(value.to_owned(), at));
    }
    written
}

fn quoted(key: &str) -> String {
    format!("write {key}=\"…\"")
}

fn unknown(name: &str, line: &str, at: Place) -> Finding {
    let upper = name.to_ascii_uppercase();
    let hint = HINTS.iter().find(|(known, _)| *known == upper);
    let same = KEYS.iter().map(|(key, _)| *key).find(|key| *key == upper);
    let near = same.or_else(|| nearest(&upper, KEYS.iter().map(|(key, _)| *key)));
    let write = match (hint, near) {
        (Some((_, hint)), _) => (*hint).to_owned(),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => "remove it, or put a # before it".to_owned(),
    };
    let what = match name.is_empty() {
        true => format!("nothing reads the line '{}'", super::super::ini::shorten(line)),
        false => format!("nothing reads the key {name}"),
    };
    Finding::warning(at, what, write)
}

impl Written {
    pub fn get(&self, key: &str) -> Option<&Located<String>> {
        self.values.get(key)
    }

    /// True if a key of the advanced modes stands in it: portsentry 2.x has none.
    pub fn is_advanced(&self) -> bool {
        self.values.keys().any(|key| key.starts_with("ADVANCED_"))
    }

    pub fn path(&self, key: &str, findings: &mut Vec<Finding>) -> Option<Located<String>> {
        let value = self.get(key)?;
        if !value.value.starts_with('/') {
            let what = format!("{key} names no absolute path, but '{}'", value.value);
            findings.push(Finding::fault(
                value.at.clone(),
                what,
                "write the whole path, from / on",
            ));
            return None;
        }
        Some(value.clone())
    }

    fn text(&self, key: &str, findings: &mut Vec<Finding>) -> Option<String> {
        let value = self.get(key)?;
        if value.value.trim().is_empty() {
            let what = format!("{key} is empty and counts as not given");
            findings.push(Finding::warning(value.at.clone(), what, "put a # before it"));
            return None;
        }
        Some(value.value.clone())
    }

    fn number(&self, key: &str, findings: &mut Vec<Finding>) -> Option<u32> {
        let value = self.get(key)?;
        let number = value.value.trim().parse::<u32>();
        if number.is_err() {
            let what = format!("{key} is no whole number, but '{}'", value.value);
            findings.push(Finding::fault(value.at.clone(), what, "write digits only, such as 3"));
        }
        number.ok()
    }

    /// A number of few; every other counts as 0, as in portsentry.
    fn choice(&self, key: &str, most: u32, findings: &mut Vec<Finding>) -> u32 {
        let Some(value) = self.get(key) else { return 0 };
        match value.value.trim().parse::<u32>() {
            Ok(number) if number <= most => number,
            _ => {
                let what = format!("{key}=\"{}\" counts as 0", value.value);
                let write = if most == 1 { "write 0 or 1" } else { "write 0, 1 or 2" };
                findings.push(Finding::warning(value.at.clone(), what, write));
                0
            }
        }
    }

    /// Everything that the pure sensor is told, but the modes.
    pub fn settings(&self, findings: &mut Vec<Finding>) -> Settings {
        let mut settings = Settings::default();
        for (key, kind) in KEYS {
            match kind {
                Kind::Ports => {
                    if let Some(ports) = self.ports(key, findings) {
                        match *key {
                            "TCP_PORTS" => settings.tcp_ports = ports,
                            "UDP_PORTS" => settings.udp_ports = ports,
                            "ADVANCED_EXCLUDE_TCP" => settings.exclude_tcp = ports,
                            _ => settings.exclude_udp = ports,
                        }
                    }
                }
                Kind::Below => {
                    if let Some(end) = self.below(key, findings) {
                        match *key {
                            "ADVANCED_PORTS_TCP" => settings.advanced_tcp = end,
                            _ => settings.advanced_udp = end,
                        }
                    }
                }
                Kind::Path | Kind::Flag | Kind::Block | Kind::Number | Kind::Text => {}
            }
        }
        // A file that says nothing of exclusions excludes nothing.
        if self.get("ADVANCED_EXCLUDE_TCP").is_none() {
            settings.exclude_tcp.clear();
        }
        if self.get("ADVANCED_EXCLUDE_UDP").is_none() {
            settings.exclude_udp.clear();
        }
        settings.resolve = self.choice("RESOLVE_HOST", 1, findings) == 1;
        let block = |number| match number {
            1 => Block::All,
            2 => Block::Command,
            _ => Block::No,
        };
        settings.block_tcp = block(self.choice("BLOCK_TCP", 2, findings));
        settings.block_udp = block(self.choice("BLOCK_UDP", 2, findings));
        settings.kill_route = self.text("KILL_ROUTE", findings);
        settings.kill_hosts_deny = self.text("KILL_HOSTS_DENY", findings);
        settings.kill_run_cmd = self.text("KILL_RUN_CMD", findings);
        settings.kill_run_cmd_first = self.choice("KILL_RUN_CMD_FIRST", 1, findings) == 1;
        settings.banner = self.text("PORT_BANNER", findings);
        self.triggers(&mut settings, findings);
        self.commands(&settings, findings);
        settings
    }

    fn triggers(&self, settings: &mut Settings, findings: &mut Vec<Finding>) {
        let both = self.number("SCAN_TRIGGER", findings).unwrap_or(0);
        let tcp = self.number("SCAN_TRIGGER_TCP", findings).unwrap_or(both);
        let udp = self.number("SCAN_TRIGGER_UDP", findings).unwrap_or(both);
        settings.trigger.hits_tcp = tcp;
        settings.trigger.hits_udp = udp;
        if let Some(ports) = self.number("SCAN_PORTS", findings) {
            settings.trigger.ports = ports;
            if let Some(value) = self.get("SCAN_PORTS").filter(|_| ports > SCAN_PORTS_MAX) {
                let what = format!("SCAN_PORTS=\"{ports}\" counts as {SCAN_PORTS_MAX}");
                let write = format!("write a number up to {SCAN_PORTS_MAX}");
                findings.push(Finding::warning(value.at.clone(), what, write));
            }
        }
        if let Some(window) = self.number("SCAN_WINDOW", findings) {
            settings.trigger.window_s = window.max(1);
            if let Some(value) = self.get("SCAN_WINDOW").filter(|_| settings.trigger.ports < 2) {
                let what = "SCAN_WINDOW does nothing by itself";
                let write = "say with SCAN_PORTS=\"…\" how many different ports are a scan";
                findings.push(Finding::warning(value.at.clone(), what, write));
            }
        }
    }

    /// Ways to act that are wanted and not there, or that cannot work.
    fn commands(&self, settings: &Settings, findings: &mut Vec<Finding>) {
        for (key, block) in [("BLOCK_TCP", settings.block_tcp), ("BLOCK_UDP", settings.block_udp)] {
            let (lacks, write) = match block {
                Block::No => (false, ""),
                Block::All => (
                    settings.kill_route.is_none()
                        && settings.kill_hosts_deny.is_none()
                        && settings.kill_run_cmd.is_none(),
                    "set KILL_ROUTE, KILL_HOSTS_DENY or KILL_RUN_CMD; or write 0 and leave it to a \
                     jail with `backend = sensor`",
                ),
                Block::Command => (settings.kill_run_cmd.is_none(), "set KILL_RUN_CMD; or write 0"),
            };
            if let Some(value) = self.get(key).filter(|_| lacks) {
                let what =
                    format!("{key}=\"{}\" blocks nobody: there is nothing to run", value.value);
                findings.push(Finding::warning(value.at.clone(), what, write));
            }
        }
        for (key, text) in [
            ("KILL_ROUTE", &settings.kill_route),
            ("KILL_HOSTS_DENY", &settings.kill_hosts_deny),
            ("KILL_RUN_CMD", &settings.kill_run_cmd),
        ] {
            let (Some(value), Some(text)) = (self.get(key), text) else { continue };
            if key != "KILL_RUN_CMD" && !text.contains("$TARGET$") {
                let what = format!(
                    "{key} has no $TARGET$ and is left out, so that nobody counts as blocked"
                );
                let write = "write $TARGET$ where the attacker's address belongs";
                findings.push(Finding::warning(value.at.clone(), what, write));
            }
            let program = text.split_whitespace().next().unwrap_or_default();
            if program.rsplit('/').next() == Some("nft") && text.contains("comment '") {
                let what = format!(
                    "{key} will fail: the shell takes the quotes of the comment away, and nft gets \
                     several words"
                );
                let write =
                    "write a comment of one word without quotes, such as comment portsentry";
                findings.push(Finding::warning(value.at.clone(), what, write));
            }
        }
    }

    fn below(&self, key: &str, findings: &mut Vec<Finding>) -> Option<u32> {
        let end = self.number(key, findings)?;
        if end > 65_536 {
            let at = self.get(key)?.at.clone();
            let what = format!("{key}=\"{end}\" is more than there are ports");
            findings.push(Finding::fault(at, what, "write a number up to 65536"));
            return None;
        }
        Some(end)
    }

    fn ports(&self, key: &str, findings: &mut Vec<Finding>) -> Option<Vec<u16>> {
        let value = self.get(key)?;
        let mut ports = Vec::new();
        let mut seen = crate::sensor::PortSet::new();
        let items: Vec<&str> = value.value.split(',').map(str::trim).collect();
        let is_exclusion = key.starts_with("ADVANCED_");
        if items == [""] {
            if !is_exclusion {
                let what = format!("{key} names no port");
                findings.push(Finding::fault(
                    value.at.clone(),
                    what,
                    "write ports, such as \"1,11,15-20\"",
                ));
            }
            return is_exclusion.then_some(ports);
        }
        let mut has_range = false;
        for item in &items {
            match range(item) {
                Ok((first, last)) => {
                    has_range |= first != last;
                    for port in first..=last {
                        if !seen.contains(port) {
                            seen.insert(port);
                            ports.push(port);
                        }
                    }
                }
                Err((what, write)) => {
                    let what = format!("{key}: '{item}' {what}");
                    findings.push(Finding::fault(value.at.clone(), what, write));
                }
            }
        }
        if !has_range && !is_exclusion && items.len() > CLASSIC_PORTS_MAX {
            let what = format!(
                "{key} lists {} ports, of which portsentry 1.2 takes the first {CLASSIC_PORTS_MAX}; \
                 all are watched",
                items.len()
            );
            findings.push(Finding::warning(value.at.clone(), what, ""));
        }
        Some(ports)
    }
}

fn range(item: &str) -> Result<(u16, u16), (&'static str, &'static str)> {
    const WRITE: &str = "write a number from 1 to 65535, or a range such as 10-20";
    let port = |text: &str| -> Result<u16, (&'static str, &'static str)> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(("is no port", WRITE));
        }
        match text.parse::<u16>() {
            Ok(0) | Err(_) => Err(("is beyond the ports that there are", WRITE)),
            Ok(port) => Ok(port),
        }
    };
    match item.split_once('-') {
        None => port(item).map(|port| (port, port)),
        Some((first, last)) => match (port(first)?, port(last)?) {
            (first, last) if first <= last => Ok((first, last)),
            _ => Err(("ends before it begins", "write the smaller number first")),
        },
    }
}
