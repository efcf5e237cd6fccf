//! `Kind`: what a probe looks like, in portsentry's words.

use std::fmt;

use super::packet::{Flags, Probe, Proto};

/// What was seen of a source.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// No flag at all.
    Null,
    /// FIN, PSH and URG, with whatever else.
    Xmas,
    /// FIN alone.
    Fin,
    /// SYN alone: half-open scans, and every connection that begins.
    Syn,
    /// Any other flags.
    Odd(Flags),
    /// A UDP packet.
    Udp,
    /// A connection or datagram that a bound socket received.
    Connect,
}

/// The flags that decide; the two of congestion notification say nothing of a scan.
const DECIDING: u8 = Flags::FIN | Flags::SYN | Flags::RST | Flags::PSH | Flags::ACK | Flags::URG;

impl Kind {
    /// What a probe looks like; none for a segment of a conversation (ACK or RST is set), which is
    /// never looked at.
    pub fn of(probe: &Probe) -> Option<Kind> {
        match probe.proto {
            Proto::Udp => Some(Kind::Udp),
            Proto::Tcp => Kind::of_flags(probe.flags),
        }
    }

    /// The same, of a TCP segment's flags.
    pub fn of_flags(flags: Flags) -> Option<Kind> {
        const XMAS: u8 = Flags::FIN | Flags::PSH | Flags::URG;
        if flags.any(Flags::ACK | Flags::RST) {
            return None;
        }
        Some(match flags.0 & DECIDING {
            0 => Kind::Null,
            Flags::FIN => Kind::Fin,
            Flags::SYN => Kind::Syn,
            _ if flags.all(XMAS) => Kind::Xmas,
            _ => Kind::Odd(flags),
        })
    }

    /// As portsentry 2.x says it.
    pub fn in_form_two(self) -> String {
        match self {
            Kind::Udp => "UDP".to_owned(),
            kind => kind.to_string().trim_start().to_owned(),
        }
    }
}

/// As portsentry 1.2 says it, with the blank that stands before `TCP NULL scan`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Null => f.write_str(" TCP NULL scan"),
            Kind::Xmas => f.write_str("TCP XMAS scan"),
            Kind::Fin => f.write_str("TCP FIN scan"),
            Kind::Syn => f.write_str("TCP SYN/Normal scan"),
            Kind::Udp => f.write_str("UDP scan"),
            Kind::Connect => f.write_str("Connect"),
            Kind::Odd(flags) => {
                let bit = |bits| u8::from(flags.any(bits));
                write!(
                    f,
                    "Unknown Type: TCP Packet Flags: SYN: {} FIN: {} ACK: {} PSH: {} URG: {} RST: {}",
                    bit(Flags::SYN),
                    bit(Flags::FIN),
                    bit(Flags::ACK),
                    bit(Flags::PSH),
                    bit(Flags::URG),
                    bit(Flags::RST),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_names() {
        let rows = [
            (0x00, " TCP NULL scan"),
            (0x01, "TCP FIN scan"),
            (0x02, "TCP SYN/Normal scan"),
            (0x42, "TCP SYN/Normal scan"),
            (0xc2, "TCP SYN/Normal scan"),
            (0xc0, " TCP NULL scan"),
            (0x29, "TCP XMAS scan"),
            (0x2b, "TCP XMAS scan"),
            (0x03, "Unknown Type: TCP Packet Flags: SYN: 1 FIN: 1 ACK: 0 PSH: 0 URG: 0 RST: 0"),
            (0x28, "Unknown Type: TCP Packet Flags: SYN: 0 FIN: 0 ACK: 0 PSH: 1 URG: 1 RST: 0"),
            (0x22, "Unknown Type: TCP Packet Flags: SYN: 1 FIN: 0 ACK: 0 PSH: 0 URG: 1 RST: 0"),
        ];
        for (flags, name) in rows {
            assert_eq!(Kind::of_flags(Flags(flags)).unwrap().to_string(), name, "{flags:#x}");
        }
        assert_eq!(Kind::Null.in_form_two(), "TCP NULL scan");
        assert_eq!(Kind::Udp.in_form_two(), "UDP");
        for flags in (0..=u8::MAX).filter(|flags| flags & 0x14 != 0) {
            assert_eq!(Kind::of_flags(Flags(flags)), None, "{flags:#x}");
        }
    }
}
