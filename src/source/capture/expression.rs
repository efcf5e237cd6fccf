//! The filter for libpcap: what is wanted, as an expression of pcap-filter(7).
//!
//! It says what the program for Linux says (`program.rs`), as far as an expression can. It has no
//! word for the way a packet goes, so our own addresses stand for that. BSD kernels take few
//! instructions; a longer filter runs in libpcap instead, which costs time and no packet.

use std::net::IpAddr;

use super::program::{Wanted, widened};

/// More ranges of ports than these become fewer and wider ones. FreeBSD's kernel takes 512
/// instructions; four lists as long as this and four addresses make some four hundred.
const RANGES_MAX: usize = 20;
/// With more own addresses than these, the filter does not ask for whom a packet is.
const ADDRESSES_MAX: usize = 16;

/// Behind these headers of IPv6 stands another one; see `program.rs`.
const EXTENSIONS: &str = "ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60 or \
     ip6[6] = 135 or ip6[6] = 139 or ip6[6] = 140 or ip6[6] = 253 or ip6[6] = 254";
const WHOLE: &str = "ip[6:2] & 0x1fff = 0";
const ANSWERS4: &str = "(tcp[13] & 4 != 0 or tcp[13] & 0x12 = 0x12)";
const ANSWERS6: &str = "(ip6[53] & 4 != 0 or ip6[53] & 0x12 = 0x12)";

/// The expression; none if nothing is wanted. With `ethernet`, frames to all are known by their
/// link address.
pub(super) fn of(wanted: &Wanted, ethernet: bool) -> Option<String> {
    let own = wanted.own.as_deref().filter(|own| own.len() <= ADDRESSES_MAX);
    let four = own.map(|own| own.iter().filter(|one| one.is_ipv4()).copied().collect());
    let six = own.map(|own| own.iter().filter(|one| one.is_ipv6()).copied().collect());
    let (four, six): (Option<Vec<IpAddr>>, Option<Vec<IpAddr>>) = (four, six);
    let parts = [
        whole("ip", destined("ip", &four, ethernet), incoming4(wanted)),
        whole("ip6", destined("ip6", &six, ethernet), incoming6(wanted)),
        whole("ip", sent("ip", &four), outgoing4(wanted)),
        whole("ip6", sent("ip6", &six), outgoing6(wanted)),
    ];
    any(parts.into_iter().flatten())
}

fn whole(family: &str, hosts: Option<String>, what: Option<String>) -> Option<String> {
    Some(format!("({family} and {} and {})", hosts?, what?))
}

/// Whether a packet is for us, or for all.
fn destined(family: &str, own: &Option<Vec<IpAddr>>, ethernet: bool) -> Option<String> {
    let Some(own) = own else { return Some(family.to_owned()) };
    let many = if family == "ip" { "ip[16] >= 224" } else { "ip6[24] = 0xff" };
    let hosts = own.iter().map(|one| format!("{family} dst host {one}"));
    let all = ethernet.then(|| "ether multicast".to_owned());
    any(hosts.chain([many.to_owned()]).chain(all))
}

/// Whether we sent it.
fn sent(family: &str, own: &Option<Vec<IpAddr>>) -> Option<String> {
    let Some(own) = own else { return Some(family.to_owned()) };
    any(own.iter().map(|one| format!("{family} src host {one}")))
}

fn incoming4(wanted: &Wanted) -> Option<String> {
    // A first fragment may end before the flags; of later ones only the second can hold them.
    let tcp = ports("tcp[2:2]", &wanted.tcp4).map(|ports| {
        format!(
            "(ip[9] = 6 and (ip[6:2] & 0x1fff = 1 or ({WHOLE} and (ip[6:2] & 0x2000 != 0 or \
             tcp[13] & 0x14 = 0) and {ports})))"
        )
    });
    let udp = ports("udp[2:2]", &wanted.udp4);
    any([tcp, udp.map(|ports| format!("(ip[9] = 17 and {WHOLE} and {ports})"))]
        .into_iter()
        .flatten())
}

fn incoming6(wanted: &Wanted) -> Option<String> {
    let tcp = ports("ip6[42:2]", &wanted.tcp6);
    let udp = ports("ip6[42:2]", &wanted.udp6);
    let chained =
        (tcp.is_some() || udp.is_some()).then(|| format!("(({EXTENSIONS}) and ip6[40] != 58)"));
    let tcp = tcp.map(|ports| format!("(ip6[6] = 6 and ip6[53] & 0x14 = 0 and {ports})"));
    let udp = udp.map(|ports| format!("(ip6[6] = 17 and {ports})"));
    any([tcp, udp, chained].into_iter().flatten())
}

fn outgoing4(wanted: &Wanted) -> Option<String> {
    let tcp = wanted.answers.then(|| ports("tcp[0:2]", &wanted.tcp4)).flatten();
    let tcp = tcp.map(|ports| format!("(ip[9] = 6 and {WHOLE} and {ANSWERS4} and {ports})"));
    let udp = wanted.sent_udp.then(|| ports("udp[0:2]", &wanted.udp4)).flatten();
    let udp = udp.map(|ports| format!("(ip[9] = 17 and {WHOLE} and {ports})"));
    any([tcp, udp].into_iter().flatten())
}

fn outgoing6(wanted: &Wanted) -> Option<String> {
    let tcp = wanted.answers.then(|| ports("ip6[40:2]", &wanted.tcp6)).flatten();
    let tcp = tcp.map(|ports| format!("(ip6[6] = 6 and {ANSWERS6} and {ports})"));
    let udp = wanted.sent_udp.then(|| ports("ip6[40:2]", &wanted.udp6)).flatten();
    let udp = udp.map(|ports| format!("(ip6[6] = 17 and {ports})"));
    any([tcp, udp].into_iter().flatten())
}

/// Whether the number at `at` lies in one of these ranges.
fn ports(at: &str, ranges: &[(u16, u16)]) -> Option<String> {
    any(widened(ranges, RANGES_MAX).into_iter().map(|(first, last)| match first == last {
        true => format!("{at} = {first}"),
        false => format!("({at} >= {first} and {at} <= {last})"),
    }))
}

fn any(parts: impl IntoIterator<Item = String>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().collect();
    (!parts.is_empty()).then(|| format!("({})", parts.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_names_what_is_wanted_and_no_more() {
        let wanted = Wanted {
            tcp4: vec![(1, 21), (23, 23)],
            own: Some(vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()]),
            ..Wanted::default()
        };
        let text = of(&wanted, true).unwrap();
        let expected = "((ip and (ip dst host 192.0.2.7 or ip[16] >= 224 or ether multicast) and \
             ((ip[9] = 6 and (ip[6:2] & 0x1fff = 1 or (ip[6:2] & 0x1fff = 0 and (ip[6:2] & 0x2000 \
             != 0 or tcp[13] & 0x14 = 0) and ((tcp[2:2] >= 1 and tcp[2:2] <= 21) or tcp[2:2] = \
             23))))))";
        assert_eq!(text, format!("{expected})"));
        let wanted = Wanted { udp6: vec![(69, 69)], sent_udp: true, tcp4: Vec::new(), ..wanted };
        let text = of(&wanted, false).unwrap();
        for part in [
            "(ip6 and (ip6 dst host 2001:db8::7 or ip6[24] = 0xff) and ((ip6[6] = 17 and (ip6[42:2] \
             = 69)) or ((ip6[6] = 0 or",
            "(ip6 and (ip6 src host 2001:db8::7) and ((ip6[6] = 17 and (ip6[40:2] = 69))))",
        ] {
            assert!(text.contains(part), "{text}\n{part}");
        }
        assert_eq!(of(&Wanted::default(), true), None);
    }

    #[test]
    fn long_lists_become_wide_and_many_addresses_are_not_asked_for() {
        let wanted = Wanted {
            tcp4: (0..200).map(|n| (n * 10, n * 10)).collect(),
            own: Some((0..100).map(|n| IpAddr::from([192, 0, 2, n])).collect()),
            ..Wanted::default()
        };
        let text = of(&wanted, true).unwrap();
        assert!(text.matches("tcp[2:2]").count() <= 2 * RANGES_MAX, "{text}");
        assert!(!text.contains("host"), "{text}");
    }
}
