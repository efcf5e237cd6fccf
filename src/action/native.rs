//! The table of built-in banactions, and what they share.

use super::{
    Banaction, Call, Change, Plan,
    dry_run::DryRun,
    firewallcmd::Firewallcmd,
    hostsdeny::HostsDeny,
    ipf::Ipf,
    ipfw::Ipfw,
    ipset::Ipset,
    iptables::Iptables,
    nft::Nft,
    npf::Npf,
    pf::Pf,
    route::Route,
    sets::{self, Roll},
    settings::{Platform, Settings},
    ufw::Ufw,
};
use crate::{
    net::Cidr,
    ticket::{Ban, Id},
};

/// Makes a built-in banaction by its name; `auto` is resolved by the runner, which can try.
///
/// # Errors
///
/// What is wrong with the settings and what to write.
pub fn native(name: &str, settings: &Settings) -> Result<Box<dyn Banaction>, String> {
    Ok(match name {
        "nft" => Box::new(Nft::new(settings)?),
        "ipset" => Box::new(Ipset::new(settings)?),
        "iptables" => Box::new(Iptables::new(settings)),
        "ipfw" => Box::new(Ipfw::new(settings)?),
        "pf" => Box::new(Pf::new(settings)),
        "ipf" => Box::new(Ipf::new(settings)),
        "npf" => Box::new(Npf::new(settings)),
        "hostsdeny" => Box::new(HostsDeny::new(settings)),
        "route" => Box::new(Route::new(settings)?),
        "ufw" => Box::new(Ufw::new(settings)),
        "firewallcmd" => Box::new(Firewallcmd::new(settings)),
        "dry-run" => Box::new(DryRun::new(Box::new(Nft::new(settings)?))),
        _ => return Err(format!("there is no built-in banaction '{name}'")),
    })
}

/// What `auto` tries, in order.
pub fn candidates(platform: Platform) -> &'static [&'static str] {
    match platform {
        Platform::Linux => &["nft", "ipset", "iptables"],
        Platform::Bsd => &["pf", "ipfw"],
    }
}

/// The addresses of bans with their places; ids that are none are left out (the runner does not
/// send any to an action that takes no text).
pub(super) fn nets(bans: &[Ban]) -> impl Iterator<Item = (usize, Cidr)> {
    bans.iter().enumerate().filter_map(|(index, ban)| Some((index, ban.id.network()?)))
}

/// Elements to add, with timeouts of at most `max_s`.
pub(super) fn additions(bans: &[Ban], call: &Call, max_s: u64) -> Vec<Change> {
    let net = |ban: &Ban| ban.id.network();
    let add = |ban| {
        let timeout_s = sets::timeout_s(ban, call.now, max_s);
        Some(Change::Add { net: net(ban)?, timeout_s })
    };
    bans.iter().filter_map(add).collect()
}

/// Puts a ban into a roll, with a timeout of at most `max_s`; an id that is no address is none.
pub(super) fn enrol(ban: &Ban, call: &Call, max_s: u64, roll: &mut Roll) -> bool {
    if let Some(net) = ban.id.network() {
        roll.push(net, sets::timeout_s(ban, call.now, max_s));
    }
    true
}

/// Elements to delete.
pub(super) fn deletions(bans: &[Ban]) -> Vec<Change> {
    nets(bans).map(|(_, net)| Change::Delete { net }).collect()
}

/// The words of a listing that are addresses or networks.
pub(super) fn addresses(output: &str) -> Vec<Id> {
    let words = output.split_whitespace();
    let ids = words.map(|word| Id::parse(word.trim_end_matches(',')));
    ids.filter(|id| id.network().is_some()).collect()
}

/// An address or network with its length, always.
pub(super) fn with_bits(net: Cidr) -> String {
    format!("{}/{}", net.address(), net.bits())
}

/// No plan if there is nothing to do.
pub(super) fn unless_empty(empty: bool, plan: impl FnOnce() -> Plan) -> Plan {
    if empty { Plan::default() } else { plan() }
}
