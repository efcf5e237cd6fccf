//! The rules of a jail's chain, as nf_tables wants them: a row of expressions each.
//!
//! ```text
//! ct direction reply accept
//! ip saddr @addr4 meta l4proto tcp ct original proto-dst @ports counter drop
//! ip saddr @net4 …
//! icmpv6 type { nd-router-solicit, … } accept
//! ip6 saddr @addr6 …
//! ip6 saddr & ffff:ffff:ffff:ffff:: == @net6-64 …
//! ip6 saddr @net6 …
//! ```
//!
//! Ports stand in a named set: nft 1.0 prints an unnamed one behind `ct original proto-dst` as
//! something that it cannot read again.

use super::{
    codec::Writer,
    nft::{Home, Item, Shape, Transaction},
};
use crate::{
    action::sets::{NftGuard, Verdict},
    daemon::netlink::cover::Span,
};

/// Router and neighbour discovery and redirects: without them a host loses its neighbours.
const ICMPV6_PASSED: [u8; 5] = [133, 134, 135, 136, 137];
/// Protocols with ports, for a guard that names ports and no protocol.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];
/// `ct original` knows nothing before conntrack saw the packet (priority −200).
const CONNTRACK: i32 = -200;

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const IPPROTO_ICMPV6: u8 = 58;

/// So many rules a chain has.
pub const RULES: usize = 2 + Home::ALL.len();

/// Which protocols a guard's rules look at; empty for all.
///
/// # Errors
///
/// The name that nobody knows.
pub fn protocols(guard: &NftGuard) -> Result<Vec<u8>, String> {
    let mut numbers = Vec::new();
    for name in &guard.ports.protocols {
        numbers.push(match name.to_ascii_lowercase().as_str() {
            "all" | "any" | "ip" => return Ok(Vec::new()),
            "icmp" => 1,
            "tcp" => 6,
            "udp" => 17,
            "dccp" => 33,
            "gre" => 47,
            "esp" => 50,
            "ah" => 51,
            "icmpv6" | "ipv6-icmp" => IPPROTO_ICMPV6,
            "sctp" => 132,
            "udplite" => 136,
            other => other.parse().map_err(|_| name.clone())?,
        });
    }
    if numbers.is_empty() && !guard.ports.ranges.is_empty() {
        numbers.extend(WITH_PORTS);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// The ports of a guard as elements of its set: in order, none twice.
pub fn ports(guard: &NftGuard) -> Vec<Item> {
    let mut ranges: Vec<(u16, u16)> =
        guard.ports.ranges.iter().map(|(a, b)| (*a.min(b), *a.max(b))).collect();
    ranges.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    let item = |(from, to): (u16, u16)| Item {
        span: Span { first: from.into(), last: to.into() },
        timeout_ms: None,
    };
    joined.into_iter().map(item).collect()
}

/// Writes all rules of the chain, which is empty; sets are there. Of `spared` the spare sets are
/// asked as well.
pub fn write(
    transaction: &mut Transaction,
    guard: &NftGuard,
    spared: &[Home],
    protocols: &[u8],
    verdict: Verdict,
) {
    let chain = &guard.chain;
    let what = |of: &str| format!("add the rule of chain {chain} for {of}");
    transaction.rule(chain, what("replies"), |writer| {
        ct(writer, 1, None);
        compare(writer, &[1]);
        decide(writer, 1);
    });
    for home in Home::ALL {
        if home == Home::Addr6 {
            let types = transaction.anonymous(Shape::ICMPV6, &ICMPV6_PASSED);
            transaction.rule(chain, what("ICMPv6"), |writer| {
                meta(writer, 15);
                compare(writer, &[NFPROTO_IPV6]);
                meta(writer, 16);
                compare(writer, &[IPPROTO_ICMPV6]);
                payload(writer, 2, 0, 1);
                look_up(writer, "__set%d", Some(types));
                decide(writer, 1);
            });
        }
        let spare = spared.contains(&home).then(|| home.spare(&guard.sets));
        for set in [home.name(&guard.sets)].into_iter().chain(spare) {
            ask(transaction, guard, (home, &set), protocols, verdict);
        }
    }
}

/// The rule that asks one set.
fn ask(
    transaction: &mut Transaction,
    guard: &NftGuard,
    (home, set): (Home, &str),
    protocols: &[u8],
    verdict: Verdict,
) {
    let several = match protocols {
        [] | [_] => None,
        several => Some(transaction.anonymous(Shape::PROTOCOLS, several)),
    };
    let what = format!("add the rule of chain {} for {set}", guard.chain);
    transaction.rule(&guard.chain, what, |writer| {
        meta(writer, 15);
        let (family, offset, length) =
            if home.v6() { (NFPROTO_IPV6, 8, 16) } else { (NFPROTO_IPV4, 12, 4) };
        compare(writer, &[family]);
        payload(writer, 1, offset, length);
        if home == Home::Wide6 {
            mask64(writer);
        }
        look_up(writer, set, None);
        match (protocols, several) {
            ([one], _) => {
                meta(writer, 16);
                compare(writer, &[*one]);
            }
            (_, Some(several)) => {
                meta(writer, 16);
                look_up(writer, "__set%d", Some(several));
            }
            _ => (),
        }
        if !guard.ports.ranges.is_empty() {
            match guard.priority > CONNTRACK {
                true => ct(writer, 12, Some(0)),
                false => payload(writer, 2, 2, 2),
            }
            look_up(writer, &guard.port_set, None);
        }
        if guard.counter {
            counter(writer);
        }
        match verdict {
            Verdict::Drop => decide(writer, 0),
            Verdict::Reject => reject(writer),
        }
    });
}

/// One expression: its name, and what it is told.
fn expression(writer: &mut Writer, name: &str, tell: impl FnOnce(&mut Writer)) {
    let element = writer.open(1);
    writer.put_text(1, name);
    let data = writer.open(2);
    tell(writer);
    writer.close(data);
    writer.close(element);
}

/// Loads something about the packet into register 1.
fn meta(writer: &mut Writer, key: u32) {
    expression(writer, "meta", |writer| {
        writer.put_u32(1, 1);
        writer.put_u32(2, key);
    });
}

/// Loads something about the connection into register 1.
fn ct(writer: &mut Writer, key: u32, direction: Option<u8>) {
    expression(writer, "ct", |writer| {
        writer.put_u32(1, 1);
        writer.put_u32(2, key);
        if let Some(direction) = direction {
            writer.put(3, &[direction]);
        }
    });
}

/// Loads bytes of the packet into register 1, from its network (1) or transport (2) header.
fn payload(writer: &mut Writer, base: u32, offset: u32, length: u32) {
    expression(writer, "payload", |writer| {
        writer.put_u32(1, 1);
        writer.put_u32(2, base);
        writer.put_u32(3, offset);
        writer.put_u32(4, length);
    });
}

/// Goes on only if register 1 is equal.
fn compare(writer: &mut Writer, bytes: &[u8]) {
    expression(writer, "cmp", |writer| {
        writer.put_u32(1, 1);
        writer.put_u32(2, 0);
        value(writer, 3, bytes);
    });
}

/// Keeps the first 64 bits of register 1.
fn mask64(writer: &mut Writer) {
    expression(writer, "bitwise", |writer| {
        writer.put_u32(1, 1);
        writer.put_u32(2, 1);
        writer.put_u32(3, 16);
        value(writer, 4, &(u128::from(u64::MAX) << 64).to_be_bytes());
        value(writer, 5, &[0; 16]);
    });
}

/// Goes on only if register 1 is in a set.
fn look_up(writer: &mut Writer, set: &str, id: Option<u32>) {
    expression(writer, "lookup", |writer| {
        writer.put_text(1, set);
        writer.put_u32(2, 1);
        if let Some(id) = id {
            writer.put_u32(4, id);
        }
    });
}

fn counter(writer: &mut Writer) {
    expression(writer, "counter", |writer| {
        writer.put_u64(1, 0);
        writer.put_u64(2, 0);
    });
}

/// Drops (0) or accepts (1).
fn decide(writer: &mut Writer, code: u32) {
    expression(writer, "immediate", |writer| {
        writer.put_u32(1, 0);
        let data = writer.open(2);
        let verdict = writer.open(2);
        writer.put_u32(1, code);
        writer.close(verdict);
        writer.close(data);
    });
}

/// Answers "port unreachable", in the words of the packet's family.
fn reject(writer: &mut Writer) {
    expression(writer, "reject", |writer| {
        writer.put_u32(1, 2);
        writer.put(2, &[1]);
    });
}

fn value(writer: &mut Writer, kind: u16, bytes: &[u8]) {
    let data = writer.open(kind);
    writer.put(1, bytes);
    writer.close(data);
}
