//! portsentry's history and blocked files: lines of 1.x and 2.x, and the binary blocked file of 2.x.
//!
//! A host's name in a line is what its owner put into the DNS: only the address counts, which
//! portsentry itself wrote. portsentry knows no end of a block, so a ban has no length of its own.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use chrono::DateTime;

use super::{BANS_MAX, Imported, ImportedBan, Kind};
use crate::{
    net::plain,
    ticket::{Evidence, Id},
    time::Timestamp,
};

/// A longer line is none of portsentry's.
const LINE_BYTES_MAX: u64 = 8192;

/// A binary blocked file holds 6 or 18 bytes a host; a larger file is none.
const BLOCKED_BYTES_MAX: u64 = 64 << 20;

/// `AF_INET` everywhere; `AF_INET6` of Linux, FreeBSD, macOS, OpenBSD and NetBSD.
const INET: u16 = 2;
const INET6: [u16; 4] = [10, 28, 30, 24];

/// What a line says.
#[derive(Debug, Eq, PartialEq)]
enum Said {
    Blocked(IpAddr, Timestamp),
    /// It is portsentry's, but nobody was blocked.
    Nothing,
}

/// Reads a binary blocked file of 2.x; none if it is no such file.
pub(super) fn blocked(path: &Path) -> io::Result<Option<Imported>> {
    let mut file = File::open(path)?;
    let mut family = [0; 2];
    if file.metadata()?.len() > BLOCKED_BYTES_MAX || file.read_exact(&mut family).is_err() {
        return Ok(None);
    }
    let family = u16::from_ne_bytes(family);
    if family != INET && !INET6.contains(&family) {
        return Ok(None);
    }
    let bytes = std::fs::read(path)?;
    let mut imported = Imported::new(Kind::Portsentry2Blocked);
    let mut seen = std::collections::HashSet::new();
    let mut rest = bytes.as_slice();
    while let Some((family, behind)) = rest.split_first_chunk::<2>() {
        let family = u16::from_ne_bytes(*family);
        let (address, behind): (IpAddr, _) = if family == INET {
            let Some((address, behind)) = behind.split_first_chunk::<4>() else { return Ok(None) };
            (Ipv4Addr::from(*address).into(), behind)
        } else if INET6.contains(&family) {
            let Some((address, behind)) = behind.split_first_chunk::<16>() else { return Ok(None) };
            (plain(Ipv6Addr::from(*address).into()), behind)
        } else {
            return Ok(None);
        };
        rest = behind;
        if seen.insert(address) {
            imported.bans.push(ban(address, None));
        }
    }
    Ok(rest.is_empty().then_some(imported))
}

/// Reads a history or a blocked file of lines; none if no line is portsentry's.
pub(super) fn text(path: &Path) -> io::Result<Option<Imported>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut imported = Imported::new(Kind::Portsentry1);
    let mut known: HashMap<IpAddr, usize> = HashMap::new();
    let mut is_ours = false;
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        if bytes.len() as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            skip_line(&mut reader)?;
            imported.unread(number, "too long for a line of portsentry");
            continue;
        }
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        let said = match said_by_1(line) {
            Err(_) if line.contains("Scan from: [") => {
                let said = said_by_2(line);
                if said.is_ok() {
                    imported.kind = Kind::Portsentry2;
                }
                said
            }
            said => said,
        };
        match said {
            Ok(Said::Nothing) => is_ours = true,
            Ok(Said::Blocked(address, at)) => {
                is_ours = true;
                let there = imported.bans.len();
                let index = *known.entry(address).or_insert(there);
                match imported.bans.get_mut(index) {
                    Some(ban) => {
                        ban.from = ban.from.max(Some(at));
                        ban.failures = ban.failures.saturating_add(1);
                    }
                    None if there >= BANS_MAX => {
                        known.remove(&address);
                        imported.unread(number, format!("more than {BANS_MAX} bans"));
                    }
                    None => imported.bans.push(ban(address, Some(at))),
                }
            }
            Err(why) => imported.unread(number, why),
        }
    }
    imported.bans.sort_by_key(|ban| ban.from);
    Ok(is_ours.then_some(imported))
}

/// Reads up to the next newline without keeping what is there.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let newline = memchr::memchr(b'\n', buffer);
        let length = newline.map_or(buffer.len(), |at| at + 1);
        reader.consume(length);
        if newline.is_some() {
            return Ok(());
        }
    }
}

fn ban(address: IpAddr, from: Option<Timestamp>) -> ImportedBan {
    ImportedBan {
        jail: None,
        id: Id::from(address),
        from,
        time: None,
        count: 1,
        failures: 1,
        evidence: Evidence::default(),
        current: true,
        forgiven: false,
    }
}

/// `1795167912 - 11/20/2026 09:45:12 Host: NAME/ADDR Port: 2001 TCP Blocked`, read from both ends:
/// what stands between belongs to the name.
fn said_by_1(line: &str) -> Result<Said, &'static str> {
    let (stamp, rest) = line.split_once(" - ").ok_or("no line of portsentry")?;
    let stamp: i64 = stamp.parse().map_err(|_| "no time at its beginning")?;
    let (_, hosts) = rest.split_once(" Host: ").ok_or("no host")?;
    let rest = hosts.strip_suffix(" Blocked").ok_or("it does not end with Blocked")?;
    let (rest, protocol) = rest.rsplit_once(' ').ok_or("no protocol")?;
    if protocol != "TCP" && protocol != "UDP" {
        return Err("neither TCP nor UDP");
    }
    let (hosts, port) = rest.rsplit_once(" Port: ").ok_or("no port")?;
    port.parse::<u16>().map_err(|_| "no number as its port")?;
    let (_, address) = hosts.rsplit_once('/').ok_or("no address behind the name")?;
    let address = address.parse().map(plain).map_err(|_| "no address behind the name")?;
    Ok(Said::Blocked(address, Timestamp::from_secs(stamp)))
}

/// `2026-11-20T09:32:56.038+0000 Scan from: [ADDR] (NAME) protocol: [TCP] … blocked: [true]`.
fn said_by_2(line: &str) -> Result<Said, &'static str> {
    let (stamp, rest) = line.split_once(" Scan from: [").ok_or("no scan")?;
    let at = DateTime::parse_from_str(stamp, "%Y-%m-%dT%H:%M:%S%.f%z")
        .map_err(|_| "no time at its beginning")?;
    let (address, rest) = rest.split_once(']').ok_or("no address")?;
    let address = address.parse().map(plain).map_err(|_| "no address")?;
    let (_, blocked) =
        rest.rsplit_once(" blocked: [").ok_or("it does not say whether it blocked")?;
    match blocked {
        "true]" => Ok(Said::Blocked(address, Timestamp::from_micros(at.timestamp_micros()))),
        "false]" | "unset]" => Ok(Said::Nothing),
        _ => Err("it does not say whether it blocked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_1_are_read_from_both_ends() {
        let blocked =
            |text: &str| Ok(Said::Blocked(text.parse().unwrap(), Timestamp::from_secs(7)));
        let rows = [
            (
                "7 - 11/20/2026 09:45:12 Host: 10.77.0.1/10.77.0.1 Port: 2001 TCP Blocked",
                "10.77.0.1",
            ),
            ("7 - 11/20/2026 09:45:12 Host: a.example/192.0.2.1 Port: 7 UDP Blocked", "192.0.2.1"),
            ("7 - 11/20/2026 09:45:12 Host: x/::ffff:192.0.2.1 Port: 7 UDP Blocked", "192.0.2.1"),
            (
                "7 - 1/1/2026 0:0:0 Host: 9.9.9.9 Port: 1 TCP Blocked/192.0.2.1 Port: 7 UDP Blocked",
                "192.0.2.1",
            ),
        ];
        for (line, address) in rows {
            assert_eq!(said_by_1(line), blocked(address), "{line}");
        }
        for line in [
            "",
            "7 - ",
            "x - 11/20/2026 09:45:12 Host: a/192.0.2.1 Port: 7 UDP Blocked",
            "7 - 11/20/2026 09:45:12 Host: a/192.0.2.300 Port: 7 UDP Blocked",
            "7 - 11/20/2026 09:45:12 Host: a/192.0.2.1 Port: 7 SCTP Blocked",
            "7 - 11/20/2026 09:45:12 Host: a/192.0.2.1 Port: 7 UDP",
            "7 - 11/20/2026 09:45:12 Host: a/192.0.2.1 Port: 70000 UDP Blocked",
        ] {
            assert!(said_by_1(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lines_of_2_count_where_something_was_blocked() {
        let line = |blocked: &str| {
            format!(
                "2026-11-20T09:32:56.038+0100 Scan from: [192.0.2.1] (x blocked: [true]) protocol: \
                 [TCP] port: [7] type: [UDP] IP opts: [not set] ignored: [false] triggered: [true] \
                 noblock: [unset] blocked: [{blocked}]"
            )
        };
        let at = Timestamp::from_micros(1_795_163_576_038_000);
        let address = "192.0.2.1".parse().unwrap();
        assert_eq!(said_by_2(&line("true")), Ok(Said::Blocked(address, at)));
        assert_eq!(said_by_2(&line("false")), Ok(Said::Nothing));
        assert!(said_by_2(&line("maybe")).is_err());
        assert!(said_by_2("Scan from: [192.0.2.1] blocked: [true]").is_err());
    }
}
