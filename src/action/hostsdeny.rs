//! hostsdeny: lines in a section of ours on top of `/etc/hosts.deny`, for services with libwrap.

use std::{net::IpAddr, sync::Arc};

use super::{
    Banaction, Call, Plan, Scope, Traits, native,
    plan::{EditFile, LineChange, Work},
    sets::BATCH_MAX,
    settings::Settings,
};
use crate::{
    net::Cidr,
    ticket::{Ban, Id},
};

/// The banaction `hostsdeny`.
#[derive(Debug)]
pub struct HostsDeny {
    name: String,
    path: String,
    section: String,
    daemons: String,
    /// Behind each address; `hosts.allow` with its options needs the verdict.
    ending: &'static str,
}

impl HostsDeny {
    /// Options: `file` (/etc/hosts.deny), `daemon_list` (ALL).
    pub fn new(settings: &Settings) -> HostsDeny {
        let path = settings.get("file").unwrap_or("/etc/hosts.deny").to_owned();
        let daemons = settings.get("daemon_list").unwrap_or("ALL");
        let plain = |c: &char| c.is_ascii_alphanumeric() || " ,._-@".contains(*c);
        HostsDeny {
            name: settings.name.clone(),
            section: settings.label.chars().map(|c| if c.is_control() { '_' } else { c }).collect(),
            daemons: daemons.chars().filter(plain).collect(),
            ending: if path.ends_with("allow") { " : deny" } else { "" },
            path,
        }
    }

    fn edit(&self, change: LineChange) -> Plan {
        let (path, section) = (self.path.clone(), self.section.clone());
        Plan::one(Work::Edit(EditFile { path, section, change }))
    }

    fn lines(&self, bans: &[Ban]) -> Vec<String> {
        let line = |net| format!("{}: {}{}", self.daemons, pattern(net), self.ending);
        native::nets(bans).map(|(_, net)| line(net)).collect()
    }
}

/// As hosts_access(5) writes an address or a network.
fn pattern(net: Cidr) -> String {
    match (net.address(), net.is_single()) {
        (IpAddr::V4(address), true) => address.to_string(),
        (IpAddr::V6(address), true) => format!("[{address}]"),
        (IpAddr::V6(address), false) => format!("[{address}]/{}", net.bits()),
        (IpAddr::V4(address), false) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(net.bits())).unwrap_or(0);
            format!("{address}/{}", std::net::Ipv4Addr::from(mask))
        }
    }
}

impl Banaction for HostsDeny {
    fn name(&self) -> &str {
        &self.name
    }

    fn traits(&self) -> Traits {
        Traits {
            kind: Arc::from("hostsdeny"),
            watched: true,
            guards: true,
            takes_networks: true,
            batch_max: BATCH_MAX,
            ..Traits::default()
        }
    }

    fn at_start(&self) -> Vec<Scope> {
        vec![None]
    }

    fn scope_of(&self, _ban: &Ban) -> Scope {
        None
    }

    fn start(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        self.edit(LineChange::Inspect)
    }

    fn ban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.edit(LineChange::Add(self.lines(bans)))
    }

    fn prolong(&self, _bans: &[Ban], _call: &Call) -> Plan {
        Plan::default()
    }

    fn unban(&self, bans: &[Ban], _call: &Call) -> Plan {
        self.edit(LineChange::Remove(self.lines(bans)))
    }

    fn flush(&self, _scope: Scope, _done: &[Scope]) -> Option<Plan> {
        Some(self.edit(LineChange::Clear))
    }

    fn stop(&self, _scope: Scope, _done: &[Scope]) -> Plan {
        self.edit(LineChange::Clear)
    }

    fn check(&self, _scope: Scope, sample: &[Ban]) -> Option<Plan> {
        (!sample.is_empty()).then(|| self.edit(LineChange::Check(self.lines(sample))))
    }

    fn list(&self) -> Option<Plan> {
        Some(self.edit(LineChange::List))
    }

    fn listed(&self, output: &str) -> Vec<Id> {
        let address = |line: &str| {
            let (_, rest) = line.split_once(": ")?;
            let rest = rest.strip_suffix(self.ending).unwrap_or(rest);
            let (address, mask) = rest.split_once('/').unwrap_or((rest, ""));
            let bits = match mask.parse::<std::net::Ipv4Addr>() {
                Ok(mask) => mask.to_bits().leading_ones().to_string(),
                Err(_) => mask.to_owned(),
            };
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            let text = if bits.is_empty() { bare.to_owned() } else { format!("{bare}/{bits}") };
            Some(Id::parse(&text)).filter(|id| id.network().is_some())
        };
        output.lines().filter_map(address).collect()
    }
}
