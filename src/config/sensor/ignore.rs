//! `portsentry.ignore`, `portsentry.ignore.static`: hosts and networks that are never reported.
//!
//! One a line, with or without a length of prefix; what stands behind is a comment. Unlike
//! portsentry 1.2, blanks before it do no harm, bits of the host are cut off, and `0.0.0.0/0` means
//! all; unlike 2.x, one bad line leaves the others standing.

use std::{net::IpAddr, path::Path};

use super::super::finding::Finding;
use crate::{net::Cidr, place::Place};

/// So many networks are taken from a file.
pub const NETWORKS_MAX: usize = 65_536;

/// So much of a file is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Reads an ignore file's text. A line that cannot be read is a finding and left out.
pub fn parse(text: &[u8], file: &str) -> (Vec<Cidr>, Vec<Finding>) {
    let (mut networks, mut findings) = (Vec::new(), Vec::new());
    for (number, line) in String::from_utf8_lossy(text).lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let Some(word) = line.split([' ', '\t', '\r', ',', ';']).find(|word| !word.is_empty())
        else {
            continue;
        };
        let at = Place::new(Path::new(file), u32::try_from(number + 1).unwrap_or(u32::MAX));
        match network(word) {
            Ok(network) if networks.len() < NETWORKS_MAX => networks.push(network),
            Ok(_) => {
                let what = format!("only the first {NETWORKS_MAX} lines of this file are taken");
                findings.push(Finding::warning(at, what, "join them to networks"));
                break;
            }
            Err((what, write)) => findings.push(Finding::warning(at, what, write)),
        }
    }
    (networks, findings)
}

fn network(word: &str) -> Result<Cidr, (String, &'static str)> {
    let (address, bits) = match word.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (word, None),
    };
    let Ok(parsed) = address.parse::<IpAddr>() else {
        let what = format!("'{word}' is no address and is not ignored");
        return Err((what, "write an address or a network, such as 192.0.2.0/24 or 2001:db8::/32"));
    };
    let longest = if parsed.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => longest,
        Some(bits) => match bits.parse::<u8>() {
            Ok(bits) if bits <= longest => bits,
            _ => {
                let what = format!("'{word}' has no valid length of prefix and is not ignored");
                let write = match parsed.is_ipv4() {
                    true => "write a number from 0 to 32 behind the slash",
                    false => "write a number from 0 to 128 behind the slash",
                };
                return Err((what, write));
            }
        },
    };
    Ok(Cidr::new(parsed, bits))
}

/// Reads the hosts that a `portsentry.blocked.MODE` names; what is no such line is left out.
pub fn blocked_hosts(text: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(text);
    let host = |line: &str| -> Option<IpAddr> {
        let (_, behind) = line.split_once(" Host: ")?;
        let (names, _) = behind.split_once(" Port: ")?;
        names.rsplit('/').next()?.parse().ok()
    };
    text.lines().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_people_write_them() {
        let text = b"# comment\n\n127.0.0.1/32\n  10.77.0.99/24 # ours\n0.0.0.0\n0.0.0.0/0 all\n\
            2001:db8::7/32\nfe80::1\r\ngate.example.org\n10.0.0.0/33\n10.0.0.0/\n192.0.2.9";
        let (networks, findings) = parse(text, "/x/portsentry.ignore");
        let shown: Vec<String> = networks.iter().map(Cidr::to_string).collect();
        assert_eq!(
            shown,
            [
                "127.0.0.1",
                "10.77.0.0/24",
                "0.0.0.0",
                "0.0.0.0/0",
                "2001:db8::/32",
                "fe80::1",
                "192.0.2.9",
            ]
        );
        let said: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert_eq!(
            said,
            [
                "/x/portsentry.ignore:9: warning: 'gate.example.org' is no address and is not ignored; \
             write an address or a network, such as 192.0.2.0/24 or 2001:db8::/32",
                "/x/portsentry.ignore:10: warning: '10.0.0.0/33' has no valid length of prefix and is \
             not ignored; write a number from 0 to 32 behind the slash",
                "/x/portsentry.ignore:11: warning: '10.0.0.0/' has no valid length of prefix and is \
             not ignored; write a number from 0 to 32 behind the slash",
            ]
        );
    }

    #[test]
    fn a_blocked_file_names_hosts() {
        let text =
            b"1795166841 - 11/20/2026 09:27:21 Host: 10.77.0.1/10.77.0.1 Port: 1 TCP Blocked\n\
            1795166841 - 11/20/2026 09:27:21 Host: a/b.example/2001:db8::1 Port: 7 UDP Blocked\n\
            rubbish\n\xff\xfe Host: x Port: y\n";
        let hosts: Vec<String> = blocked_hosts(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(hosts, ["10.77.0.1", "2001:db8::1"]);
    }
}
