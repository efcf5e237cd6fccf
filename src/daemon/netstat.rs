//! What netstat(1) and route(8) of a BSD print: which ports are in use, and who leads out. Pure
//! text; `ground.rs` and the sensor's `kernel_bsd.rs` run them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    net::plain,
    sensor::{Proto, Service},
};

/// So many services are remembered.
const SERVICES_MAX: usize = 65_536;

/// The services among the lines of `netstat -an`: TCP that listens, UDP that is not connected.
pub fn services(text: &str) -> Vec<Service> {
    let mut found: Vec<Service> = text.lines().flat_map(row).take(SERVICES_MAX).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// `tcp46      0      0 *.80                   *.*                    LISTEN`
fn row(line: &str) -> Vec<Service> {
    let read = || {
        let mut words = line.split_whitespace();
        let (proto, family) = words.next()?.split_at_checked(3)?;
        let proto = match proto {
            "tcp" => Proto::Tcp,
            "udp" => Proto::Udp,
            _ => return None,
        };
        let (local, foreign, state) = (words.nth(2)?, words.next()?, words.next());
        let is_open = match proto {
            Proto::Tcp => state == Some("LISTEN"),
            Proto::Udp => foreign == "*.*",
        };
        let (host, port) = local.rsplit_once('.')?;
        let port: u16 = port.parse().ok()?;
        is_open.then_some((proto, family, host, port))
    };
    let Some((proto, family, host, port)) = read() else { return Vec::new() };
    let service = |address: IpAddr| Service { proto, address, port };
    if let Some(address) = address(host) {
        return vec![service(address)];
    }
    // All addresses; or one that was cut to fit its column, and then the port is taken for in use.
    let four = !family.starts_with('6');
    let six = family.contains('6');
    let any4 = four.then(|| service(Ipv4Addr::UNSPECIFIED.into()));
    let any6 = six.then(|| service(Ipv6Addr::UNSPECIFIED.into()));
    any4.into_iter().chain(any6).collect()
}

/// The gateway that `route -n get` tells of.
pub fn gateway(text: &str) -> Option<IpAddr> {
    text.lines().find_map(|line| address(line.trim().strip_prefix("gateway:")?.trim()))
}

/// An address; the interface behind a link-local one is cut off.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.split('%').next()?.parse().ok()?;
    Some(without_scope(plain(address)))
}

/// BSD kernels write the number of the interface into a link-local address; on the wire there are
/// zeros.
pub fn without_scope(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) if six.is_unicast_link_local() => {
            let [first, _, rest @ ..] = six.segments();
            let [a, b, c, d, e, f] = rest;
            IpAddr::from([first, 0, a, b, c, d, e, f])
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_as_each_bsd_prints_them() {
        let text = "\
Active Internet connections (including servers)
Proto Recv-Q Send-Q Local Address          Foreign Address        (state)
tcp4       0      0 192.0.2.7.22           198.51.100.9.50122     ESTABLISHED
tcp4       0      0 127.0.0.1.25           *.*                    LISTEN
tcp46      0      0 *.80                   *.*                    LISTEN
tcp6       0      0 *.22                   *.*                    LISTEN
tcp4       0      0 *.22                   *.*                    LISTEN
tcp6       0      0 fe80::1%em0.5.179      *.*                    LISTEN
tcp6       0      0 2001:db8:1:2:3:4.443   *.*                    LISTEN
tcp          0      0  *.113               *.*                    LISTEN
udp4       0      0 *.514                  *.*
udp6       0      0 *.514                  *.*
udp4       0      0 192.0.2.7.123          *.*
udp4       0      0 192.0.2.7.40000        192.0.2.53.53
udp4       0      0 *.*                    *.*
icm4       0      0 *.*                    *.*
Active UNIX domain sockets
c0ffee stream      0      0        0 c0ffee        0        0 /var/run/log
";
        let found: Vec<String> = services(text)
            .into_iter()
            .map(|one| format!("{} {} {}", one.proto, one.address, one.port))
            .collect();
        let mut expected = [
            "TCP 127.0.0.1 25",
            "TCP 0.0.0.0 80",
            "TCP :: 80",
            "TCP :: 22",
            "TCP 0.0.0.0 22",
            "TCP fe80::1 179",
            "TCP :: 443", // its address was cut
            "TCP 0.0.0.0 113",
            "UDP 0.0.0.0 514",
            "UDP :: 514",
            "UDP 192.0.2.7 123",
        ]
        .map(str::to_owned);
        let mut found = found;
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn gateways_are_read() {
        let text = "   route to: default\ndestination: default\n       mask: default\n    gateway: \
                    192.0.2.1\n        fib: 0\n  interface: em0\n      flags: <UP,GATEWAY,DONE>\n";
        assert_eq!(gateway(text), Some(IpAddr::from([192, 0, 2, 1])));
        assert_eq!(gateway("    gateway: fe80::1%em0\n"), "fe80::1".parse().ok());
        assert_eq!(gateway("    gateway: fe80:3::1%em0\n"), "fe80::1".parse().ok());
        assert_eq!(gateway("    gateway: link#2\n"), None);
        assert_eq!(gateway("route: route has not been found\n"), None);
    }
}
