//! The kernel's filter: a program that lets through what a sensor has to see, and nothing else.
//!
//! What it drops never reaches us and costs next to nothing. It may let through too much (what it
//! cannot judge: fragments, extension headers, more ports than a program can hold), never too
//! little; whoever receives decodes and judges every packet anew.

use std::net::IpAddr;

/// So many bytes of a packet are handed over: a whole frame of any Ethernet, since in IPv6 as much
/// may stand before the ports.
pub const SNAP_BYTES: u32 = 9216;

/// The kernel takes programs up to this length.
pub const INSTRUCTIONS_MAX: usize = 4096;

/// More ranges of ports than these become fewer and wider ones.
const RANGES_MAX: usize = 280;
/// With more own addresses than these, the filter does not ask for whom a packet is.
const ADDRESSES_MAX: usize = 128;
/// With more interfaces than these, it does not ask where it came from.
const INTERFACES_MAX: usize = 384;

/// What is to be seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// TCP ports over IPv4, first and last of each range.
    pub tcp4: Vec<(u16, u16)>,
    /// TCP ports over IPv6.
    pub tcp6: Vec<(u16, u16)>,
    /// UDP ports over IPv4.
    pub udp4: Vec<(u16, u16)>,
    /// UDP ports over IPv6.
    pub udp6: Vec<(u16, u16)>,
    /// Numbers of the interfaces; none for all of them.
    pub interfaces: Option<Vec<u32>>,
    /// Addresses of this host; none if packets to others are wanted as well.
    pub own: Option<Vec<IpAddr>>,
    /// What this host sends from the watched UDP ports is wanted: answers to it are no probes.
    pub sent_udp: bool,
    /// What this host answers from the watched TCP ports is wanted.
    pub answers: bool,
}

/// One instruction, as the kernel has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// So many instructions are skipped if a comparison holds.
    pub jt: u8,
    /// And if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

mod code {
    pub const LOAD_WORD: u16 = 0x20;
    pub const LOAD_HALF: u16 = 0x28;
    pub const LOAD_BYTE: u16 = 0x30;
    /// Behind the IPv4 header, whose length is in X.
    pub const LOAD_HALF_X: u16 = 0x48;
    pub const LOAD_BYTE_X: u16 = 0x50;
    /// X = 4 * (byte & 15).
    pub const HEADER_TO_X: u16 = 0xb1;
    pub const AND: u16 = 0x54;
    pub const JUMP: u16 = 0x05;
    pub const IF_EQUAL: u16 = 0x15;
    pub const IF_GREATER: u16 = 0x25;
    pub const IF_AT_LEAST: u16 = 0x35;
    pub const IF_ANY_BIT: u16 = 0x45;
    pub const RETURN: u16 = 0x06;
}

/// What the kernel knows beside the packet's bytes.
mod beside {
    const OFFSET: u32 = 0xffff_f000;
    pub const PROTOCOL: u32 = OFFSET;
    pub const KIND: u32 = OFFSET + 4;
    pub const INTERFACE: u32 = OFFSET + 8;
    pub const VLAN: u32 = OFFSET + 44;
}

/// Kinds of packets: to us, to all, to many, to others, from us.
const TO_US: u32 = 0;
const TO_MANY: u32 = 2;
const FROM_US: u32 = 4;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMP6: u32 = 58;
/// Hop by hop, routing, fragment, authentication, destination options, mobility, HIP, shim6, two for
/// experiments: behind these stands another header.
const EXTENSIONS: [u32; 10] = [0, 43, 44, 51, 60, 135, 139, 140, 253, 254];
const ACK_OR_RST: u32 = 0x14;
const SYN_ACK: u32 = 0x12;

/// A program that lets through what is wanted. It takes packets without their link header.
pub fn compile(wanted: &Wanted) -> Vec<Instruction> {
    let mut build = Builder::default();
    let ports = Ports {
        tcp4: build.ranges(&wanted.tcp4, None),
        udp4: build.ranges(&wanted.udp4, None),
        ..Ports::NONE
    };
    let ports = Ports {
        tcp6: build.ranges(&wanted.tcp6, Some((wanted.tcp4.as_slice(), ports.tcp4))),
        udp6: build.ranges(&wanted.udp6, Some((wanted.udp4.as_slice(), ports.udp4))),
        ..ports
    };
    let incoming = build.incoming(wanted, ports);
    let outgoing = build.outgoing(wanted, ports);
    let kind = build.compare(code::IF_GREATER, TO_MANY, Target::Drop, incoming);
    let kind = build.compare(code::IF_EQUAL, FROM_US, outgoing, kind);
    let kind = build.step(code::LOAD_WORD, beside::KIND, kind);
    // A tag that is still there belongs to an interface of its own, where the packet comes again.
    let vlan = build.compare(code::IF_EQUAL, 0, kind, Target::Drop);
    let vlan = build.step(code::AND, 0xfff, vlan);
    let mut start = build.step(code::LOAD_WORD, beside::VLAN, vlan);
    if let Some(interfaces) = &wanted.interfaces
        && interfaces.len() <= INTERFACES_MAX
    {
        let mut known: Vec<(u32, u32)> = interfaces.iter().map(|one| (*one, *one)).collect();
        known.sort_unstable();
        known.dedup();
        let tree = build.tree(&known, start);
        start = build.step(code::LOAD_WORD, beside::INTERFACE, tree);
    }
    build.finish(start)
}

/// Where a program goes on. Places are counted from its end, as it is built from there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    Accept,
    Drop,
    At(usize),
}

/// Where the port that is loaded is looked up.
#[derive(Clone, Copy, Debug)]
struct Ports {
    tcp4: Target,
    tcp6: Target,
    udp4: Target,
    udp6: Target,
}

impl Ports {
    const NONE: Ports =
        Ports { tcp4: Target::Drop, tcp6: Target::Drop, udp4: Target::Drop, udp6: Target::Drop };
}

/// Builds a program backwards, so that whatever is jumped to is already there.
#[derive(Debug, Default)]
struct Builder {
    backwards: Vec<Instruction>,
    /// The last place that accepts, and the last that drops.
    accept: Option<usize>,
    drop: Option<usize>,
}

/// The longest jump that a comparison makes, with some room for what is put in between.
const NEAR: usize = 250;

impl Builder {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.backwards.push(Instruction { code, jt, jf, k });
        self.backwards.len() - 1
    }

    /// A place near enough for a comparison that leads there.
    fn near(&mut self, target: Target) -> usize {
        let here = self.backwards.len();
        let is_near = |at: usize| here - at <= NEAR;
        let known = match target {
            Target::At(at) => Some(at),
            Target::Accept => self.accept,
            Target::Drop => self.drop,
        };
        match (known.filter(|at| is_near(*at)), target) {
            (Some(at), _) => at,
            (None, Target::At(at)) => self.push(code::JUMP, 0, 0, skipped(here, at)),
            (None, Target::Accept) => {
                let at = self.push(code::RETURN, 0, 0, SNAP_BYTES);
                self.accept = Some(at);
                at
            }
            (None, Target::Drop) => {
                let at = self.push(code::RETURN, 0, 0, 0);
                self.drop = Some(at);
                at
            }
        }
    }

    /// Does something, and goes on at `next`.
    fn step(&mut self, code: u16, k: u32, next: Target) -> Target {
        let at = self.near(next);
        let here = self.backwards.len();
        if at + 1 != here {
            self.push(code::JUMP, 0, 0, skipped(here, at));
        }
        Target::At(self.push(code, 0, 0, k))
    }

    fn compare(&mut self, code: u16, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.near(yes), self.near(no));
        let here = self.backwards.len();
        let jump = |at| u8::try_from(skipped(here, at)).unwrap_or(u8::MAX);
        Target::At(self.push(code, jump(yes), jump(no), k))
    }

    /// Asks whether the value loaded lies in one of these ranges; drops what does not.
    fn tree(&mut self, ranges: &[(u32, u32)], yes: Target) -> Target {
        let mut steps = vec![(0, Target::Drop)];
        for (first, last) in ranges {
            if steps.last().is_some_and(|(at, _)| at == first) {
                steps.pop();
            }
            steps.push((*first, yes));
            if let Some(behind) = last.checked_add(1) {
                steps.push((behind, Target::Drop));
            }
        }
        self.search(&steps)
    }

    fn search(&mut self, steps: &[(u32, Target)]) -> Target {
        match steps {
            [] => Target::Drop,
            [(_, target)] => *target,
            _ => {
                let (low, high) = steps.split_at(steps.len() / 2);
                let from = high.first().map_or(0, |(from, _)| *from);
                let high = self.search(high);
                let low = self.search(low);
                self.compare(code::IF_AT_LEAST, from, high, low)
            }
        }
    }

    /// Asks for a port of these; as in `other`, if that is the same.
    fn ranges(&mut self, ranges: &[(u16, u16)], other: Option<(&[(u16, u16)], Target)>) -> Target {
        if let Some((_, target)) = other.filter(|(known, _)| *known == ranges) {
            return target;
        }
        let ranges: Vec<(u32, u32)> = widened(ranges, RANGES_MAX)
            .iter()
            .map(|(first, last)| (u32::from(*first), u32::from(*last)))
            .collect();
        self.tree(&ranges, Target::Accept)
    }

    /// Asks whether a packet to us is for an address of ours.
    fn destined(&mut self, own: Option<&[u32]>, at: u32, next: Target) -> Target {
        let Some(own) = own else { return next };
        let ranges: Vec<(u32, u32)> = own.iter().map(|one| (*one, *one)).collect();
        let tree = self.tree(&ranges, next);
        let ours = self.step(code::LOAD_WORD, at, tree);
        let kind = self.compare(code::IF_EQUAL, TO_US, ours, next);
        self.step(code::LOAD_WORD, beside::KIND, kind)
    }

    fn incoming(&mut self, wanted: &Wanted, ports: Ports) -> Target {
        let own = wanted.own.as_deref().filter(|own| own.len() <= ADDRESSES_MAX);
        let own4 = own.map(|own| tails(own, true));
        let own6 = own.map(|own| tails(own, false));
        let (own4, own6) = (own4.as_deref(), own6.as_deref());

        let port = self.step(code::LOAD_HALF_X, 2, ports.tcp4);
        let port = self.destined(own4, 16, port);
        let flags = self.compare(code::IF_ANY_BIT, ACK_OR_RST, Target::Drop, port);
        let flags = self.step(code::LOAD_BYTE_X, 13, flags);
        // A first fragment may end before the flags: only its port is asked for.
        let whole = self.compare(code::IF_ANY_BIT, 0x2000, port, flags);
        let whole = self.step(code::LOAD_HALF, 6, whole);
        let whole = self.step(code::HEADER_TO_X, 0, whole);
        // Of later ones only that which holds the flags.
        let second = self.compare(code::IF_EQUAL, 1, Target::Accept, Target::Drop);
        let second = self.step(code::AND, 0x1fff, second);
        let tcp4 = self.compare(code::IF_ANY_BIT, 0x1fff, second, whole);
        let tcp4 = self.step(code::LOAD_HALF, 6, tcp4);

        let port = self.step(code::LOAD_HALF_X, 2, ports.udp4);
        let port = self.step(code::HEADER_TO_X, 0, port);
        let port = self.destined(own4, 16, port);
        let udp4 = self.compare(code::IF_ANY_BIT, 0x1fff, Target::Drop, port);
        let udp4 = self.step(code::LOAD_HALF, 6, udp4);

        let v4 = self.transport((ports.tcp4, tcp4), (ports.udp4, udp4), Target::Drop);
        let v4 = self.step(code::LOAD_BYTE, 9, v4);

        let port = self.step(code::LOAD_HALF, 42, ports.tcp6);
        let port = self.destined(own6, 36, port);
        let flags = self.compare(code::IF_ANY_BIT, ACK_OR_RST, Target::Drop, port);
        let tcp6 = self.step(code::LOAD_BYTE, 53, flags);
        let port = self.step(code::LOAD_HALF, 42, ports.udp6);
        let udp6 = self.destined(own6, 36, port);
        let behind = self.compare(code::IF_EQUAL, ICMP6, Target::Drop, Target::Accept);
        let behind = self.step(code::LOAD_BYTE, 40, behind);
        let behind = self.destined(own6, 36, behind);
        let mut other = Target::Drop;
        for extension in EXTENSIONS {
            other = self.compare(code::IF_EQUAL, extension, behind, other);
        }
        let is_none = [ports.tcp6, ports.udp6] == [Target::Drop; 2];
        let other = if is_none { Target::Drop } else { other };
        let v6 = self.transport((ports.tcp6, tcp6), (ports.udp6, udp6), other);
        let v6 = self.step(code::LOAD_BYTE, 6, v6);
        self.family(v4, v6)
    }

    fn outgoing(&mut self, wanted: &Wanted, ports: Ports) -> Target {
        let none = Ports::NONE;
        let (udp4, udp6) =
            if wanted.sent_udp { (ports.udp4, ports.udp6) } else { (none.udp4, none.udp6) };
        let (tcp4, tcp6) =
            if wanted.answers { (ports.tcp4, ports.tcp6) } else { (none.tcp4, none.tcp6) };
        let ports = Ports { tcp4, tcp6, udp4, udp6 };
        if [tcp4, tcp6, udp4, udp6] == [Target::Drop; 4] {
            return Target::Drop;
        }
        let port = self.step(code::LOAD_HALF_X, 0, ports.tcp4);
        let port = self.answer(port);
        let port = self.step(code::LOAD_BYTE_X, 13, port);
        let tcp4 = self.step(code::HEADER_TO_X, 0, port);
        let port = self.step(code::LOAD_HALF_X, 0, ports.udp4);
        let port = self.step(code::HEADER_TO_X, 0, port);
        let udp4 = self.compare(code::IF_ANY_BIT, 0x1fff, Target::Drop, port);
        let udp4 = self.step(code::LOAD_HALF, 6, udp4);
        let v4 = self.transport((ports.tcp4, tcp4), (ports.udp4, udp4), Target::Drop);
        let v4 = self.step(code::LOAD_BYTE, 9, v4);
        let port = self.step(code::LOAD_HALF, 40, ports.tcp6);
        let port = self.answer(port);
        let tcp6 = self.step(code::LOAD_BYTE, 53, port);
        let udp6 = self.step(code::LOAD_HALF, 40, ports.udp6);
        let v6 = self.transport((ports.tcp6, tcp6), (ports.udp6, udp6), Target::Drop);
        let v6 = self.step(code::LOAD_BYTE, 6, v6);
        self.family(v4, v6)
    }

    /// Flags are loaded: a refusal, or the second packet of a handshake.
    fn answer(&mut self, next: Target) -> Target {
        let accepts = self.compare(code::IF_EQUAL, SYN_ACK, next, Target::Drop);
        let accepts = self.step(code::AND, SYN_ACK, accepts);
        self.compare(code::IF_ANY_BIT, 0x04, next, accepts)
    }

    /// By the protocol, which is loaded; nothing of one that has no ports to watch.
    fn transport(&mut self, tcp: (Target, Target), udp: (Target, Target), other: Target) -> Target {
        let unless_none =
            |(ports, target)| if ports == Target::Drop { Target::Drop } else { target };
        let (tcp, udp) = (unless_none(tcp), unless_none(udp));
        let is_udp = self.compare(code::IF_EQUAL, UDP, udp, other);
        self.compare(code::IF_EQUAL, TCP, tcp, is_udp)
    }

    fn family(&mut self, v4: Target, v6: Target) -> Target {
        let is_v6 = self.compare(code::IF_EQUAL, IPV6, v6, Target::Drop);
        let is_v4 = self.compare(code::IF_EQUAL, IPV4, v4, is_v6);
        self.step(code::LOAD_WORD, beside::PROTOCOL, is_v4)
    }

    fn finish(mut self, start: Target) -> Vec<Instruction> {
        let at = self.near(start);
        let here = self.backwards.len();
        if at + 1 != here {
            self.push(code::JUMP, 0, 0, skipped(here, at));
        }
        self.backwards.reverse();
        self.backwards
    }
}

/// How many instructions lie between the one that is built next and a place.
fn skipped(here: usize, at: usize) -> u32 {
    u32::try_from(here - at - 1).unwrap_or(u32::MAX)
}

/// The last four bytes of addresses of one family, each once, ascending.
fn tails(own: &[IpAddr], v4: bool) -> Vec<u32> {
    let mut tails: Vec<u32> = own
        .iter()
        .filter_map(|one| match one {
            IpAddr::V4(one) => v4.then(|| u32::from(*one)),
            IpAddr::V6(one) => {
                let [.., a, b, c, d] = one.octets();
                (!v4).then(|| u32::from_be_bytes([a, b, c, d]))
            }
        })
        .collect();
    tails.sort_unstable();
    tails.dedup();
    tails
}

/// Ranges in order, none touching another, and at most so many: the smallest gaps are given up.
pub(super) fn widened(ranges: &[(u16, u16)], most: usize) -> Vec<(u16, u16)> {
    let mut sorted: Vec<(u16, u16)> = ranges.iter().filter(|(a, b)| a <= b).copied().collect();
    sorted.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in sorted {
        match joined.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.1) + 1 => {
                before.1 = before.1.max(last);
            }
            _ => joined.push((first, last)),
        }
    }
    if joined.len() <= most {
        return joined;
    }
    let mut gaps: Vec<u16> =
        joined.iter().zip(joined.iter().skip(1)).map(|(one, next)| next.0 - one.1).collect();
    gaps.sort_unstable();
    let too_many = joined.len() - most;
    let limit = gaps.get(too_many - 1).copied().unwrap_or(u16::MAX);
    let mut wide: Vec<(u16, u16)> = Vec::new();
    for (first, last) in joined {
        match wide.last_mut() {
            Some(before) if first - before.1 <= limit => before.1 = last,
            _ => wide.push((first, last)),
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet, and what the kernel knows beside its bytes.
    #[derive(Clone, Debug)]
    struct Packet {
        bytes: Vec<u8>,
        protocol: u32,
        kind: u32,
        interface: u32,
        vlan: u32,
    }

    /// Runs a program as the kernel does: what is read behind the end ends it.
    fn run(program: &[Instruction], packet: &Packet) -> u32 {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
        let load = |from: u32, bytes: usize| -> Option<u32> {
            let from = usize::try_from(from).ok()?;
            let all = packet.bytes.get(from..from.checked_add(bytes)?)?;
            Some(all.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        loop {
            let one = program[at];
            at += 1;
            let mut jump = |holds: bool| at += usize::from(if holds { one.jt } else { one.jf });
            let loaded = match one.code {
                code::LOAD_WORD => match one.k {
                    beside::PROTOCOL => Some(packet.protocol),
                    beside::KIND => Some(packet.kind),
                    beside::INTERFACE => Some(packet.interface),
                    beside::VLAN => Some(packet.vlan),
                    k => load(k, 4),
                },
                code::LOAD_HALF => load(one.k, 2),
                code::LOAD_BYTE => load(one.k, 1),
                code::LOAD_HALF_X => load(one.k + x, 2),
                code::LOAD_BYTE_X => load(one.k + x, 1),
                code::HEADER_TO_X => {
                    let Some(byte) = load(one.k, 1) else { return 0 };
                    x = 4 * (byte & 15);
                    Some(a)
                }
                code::AND => Some(a & one.k),
                code::RETURN => return one.k,
                code::JUMP => {
                    at += one.k as usize;
                    continue;
                }
                code::IF_EQUAL => {
                    jump(a == one.k);
                    continue;
                }
                code::IF_GREATER => {
                    jump(a > one.k);
                    continue;
                }
                code::IF_AT_LEAST => {
                    jump(a >= one.k);
                    continue;
                }
                code::IF_ANY_BIT => {
                    jump(a & one.k != 0);
                    continue;
                }
                other => panic!("{other:#x}"),
            };
            let Some(loaded) = loaded else { return 0 };
            a = loaded;
        }
    }

    const OWN4: [u8; 4] = [192, 0, 2, 7];
    const OWN6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

    fn segment(protocol: u32, from: u16, to: u16, flags: u8) -> Vec<u8> {
        let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
        bytes.extend_from_slice(match protocol {
            TCP => &[0; 16],
            _ => &[0; 4],
        });
        if protocol == TCP {
            bytes[13] = flags;
        }
        bytes
    }

    fn v4(protocol: u32, to: [u8; 4], options: usize, fragment: u16, rest: &[u8]) -> Packet {
        let mut bytes = vec![0; 20 + 4 * options];
        bytes[0] = 0x45 + options as u8;
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes[9] = protocol as u8;
        bytes[12..16].copy_from_slice(&[198, 51, 100, 1]);
        bytes[16..20].copy_from_slice(&to);
        bytes.extend_from_slice(rest);
        Packet { bytes, protocol: IPV4, kind: TO_US, interface: 2, vlan: 0 }
    }

    fn v6(next: u32, to: [u8; 16], rest: &[u8]) -> Packet {
        let mut bytes = vec![0; 40];
        bytes[0] = 0x60;
        bytes[6] = next as u8;
        bytes[24..40].copy_from_slice(&to);
        bytes.extend_from_slice(rest);
        Packet { bytes, protocol: IPV6, kind: TO_US, interface: 2, vlan: 0 }
    }

    fn wanted() -> Wanted {
        Wanted {
            tcp4: vec![(1, 21), (23, 79), (81, 1023)],
            tcp6: vec![(1, 21), (23, 1023)],
            udp4: vec![(7, 7), (9, 9), (69, 69)],
            udp6: vec![(7, 7), (9, 9), (69, 69)],
            interfaces: Some(vec![2, 5]),
            own: Some(vec![OWN4.into(), OWN6.into()]),
            sent_udp: true,
            answers: true,
        }
    }

    #[test]
    fn what_is_wanted_comes_through_and_nothing_else() {
        let program = compile(&wanted());
        let syn = |port| segment(TCP, 40_000, port, 2);
        let rows: Vec<(&str, Packet, bool)> = vec![
            ("SYN", v4(TCP, OWN4, 0, 0, &syn(21)), true),
            ("SYN with options of IP", v4(TCP, OWN4, 3, 0, &syn(21)), true),
            ("SYN in vain", v4(TCP, OWN4, 0, 0, &syn(22)), false),
            ("SYN far above", v4(TCP, OWN4, 0, 0, &syn(1024)), false),
            ("port 0", v4(TCP, OWN4, 0, 0, &syn(0)), false),
            ("to others", v4(TCP, [192, 0, 2, 8], 0, 0, &syn(21)), false),
            ("NULL", v4(TCP, OWN4, 0, 0, &segment(TCP, 9, 21, 0)), true),
            ("XMAS", v4(TCP, OWN4, 0, 0, &segment(TCP, 9, 21, 0x29)), true),
            ("ACK", v4(TCP, OWN4, 0, 0, &segment(TCP, 9, 21, 0x10)), false),
            ("RST", v4(TCP, OWN4, 0, 0, &segment(TCP, 9, 21, 0x04)), false),
            ("first fragment", v4(TCP, OWN4, 0, 0x2000, &syn(21)[..8]), true),
            ("first fragment in vain", v4(TCP, OWN4, 0, 0x2000, &syn(22)[..8]), false),
            ("second fragment", v4(TCP, OWN4, 0, 0x2001, &[0; 8]), true),
            ("third fragment", v4(TCP, OWN4, 0, 0x0002, &[0; 4]), false),
            ("cut", v4(TCP, OWN4, 0, 0, &syn(21)[..8]), false),
            ("UDP", v4(UDP, OWN4, 0, 0, &segment(UDP, 9, 69, 0)), true),
            ("UDP in vain", v4(UDP, OWN4, 0, 0, &segment(UDP, 9, 70, 0)), false),
            ("UDP, later fragment", v4(UDP, OWN4, 0, 1, &segment(UDP, 9, 69, 0)), false),
            ("ICMP", v4(1, OWN4, 0, 0, &segment(UDP, 9, 69, 0)), false),
            ("SYN 6", v6(TCP, OWN6, &syn(21)), true),
            ("SYN 6 in vain", v6(TCP, OWN6, &syn(22)), false),
            ("SYN 6 to what IPv4 uses", v6(TCP, OWN6, &syn(80)), true),
            ("SYN to the same", v4(TCP, OWN4, 0, 0, &syn(80)), false),
            ("ACK 6", v6(TCP, OWN6, &segment(TCP, 9, 21, 0x12)), false),
            ("UDP 6", v6(UDP, OWN6, &segment(UDP, 9, 69, 0)), true),
            ("to others, 6", v6(TCP, [9; 16], &syn(21)), false),
            ("fragment 6", v6(44, OWN6, &[6, 0, 0, 1, 0, 0, 0, 0]), true),
            ("hop by hop", v6(0, OWN6, &[6, 0, 0, 0, 0, 0, 0, 0]), true),
            ("listener report", v6(0, OWN6, &[58, 0, 0, 0, 0, 0, 0, 0]), false),
            ("ICMP 6", v6(58, OWN6, &[0; 8]), false),
            ("sent", sent(v4(UDP, [9; 4], 0, 0, &segment(UDP, 69, 53, 0))), true),
            ("sent in vain", sent(v4(UDP, [9; 4], 0, 0, &segment(UDP, 53, 69, 0))), false),
            ("sent 6", sent(v6(UDP, [9; 16], &segment(UDP, 69, 53, 0))), true),
            ("refused", sent(v4(TCP, [9; 4], 0, 0, &segment(TCP, 21, 9, 0x14))), true),
            ("accepted", sent(v4(TCP, [9; 4], 0, 0, &segment(TCP, 21, 9, 0x12))), true),
            ("served", sent(v4(TCP, [9; 4], 0, 0, &segment(TCP, 21, 9, 0x18))), false),
            ("asked", sent(v4(TCP, [9; 4], 0, 0, &segment(TCP, 21, 9, 0x02))), false),
            ("refused 6", sent(v6(TCP, [9; 16], &segment(TCP, 21, 9, 0x14))), true),
        ];
        for (name, packet, comes) in rows {
            assert_eq!(run(&program, &packet) != 0, comes, "{name}");
            let changes: [(&str, Change); 4] = [
                ("other interface", |packet| packet.interface = 3),
                ("other VLAN", |packet| packet.vlan = 0x2005),
                ("other host", |packet| packet.kind = 3),
                ("other protocol", |packet| packet.protocol = 0x0806),
            ];
            for (change, make) in changes {
                let mut packet = packet.clone();
                make(&mut packet);
                assert_eq!(run(&program, &packet), 0, "{name}, {change}");
            }
        }
    }

    type Change = fn(&mut Packet);

    fn sent(packet: Packet) -> Packet {
        Packet { kind: FROM_US, ..packet }
    }

    #[test]
    fn to_all_is_to_us_and_a_tag_of_priority_is_none() {
        let program = compile(&wanted());
        let datagram = segment(UDP, 9, 69, 0);
        for (kind, vlan) in [(1, 0), (2, 0), (0, 0xa000)] {
            let to = if kind == 0 { OWN4 } else { [255; 4] };
            let packet = Packet { kind, vlan, ..v4(UDP, to, 0, 0, &datagram) };
            assert_ne!(run(&program, &packet), 0, "{kind} {vlan:x}");
        }
    }

    #[test]
    fn where_all_ports_are_wanted_extension_headers_hide_none() {
        let all = vec![(0, u16::MAX)];
        let (tcp6, udp6) = (all.clone(), all.clone());
        let program = compile(&Wanted { tcp4: all.clone(), udp4: all, tcp6, udp6, ..wanted() });
        let packet = v6(0, OWN6, &[6, 0, 0, 0, 0, 0, 0, 0]);
        assert_ne!(run(&program, &packet), 0);
    }

    #[test]
    fn nothing_wanted_is_nothing_seen() {
        let program = compile(&Wanted::default());
        let syn = segment(TCP, 1, 21, 2);
        for packet in [v4(TCP, OWN4, 0, 0, &syn), v6(TCP, OWN6, &syn), v6(44, OWN6, &syn)] {
            assert_eq!(run(&program, &packet), 0);
        }
    }

    /// Every port by the program and by the ranges themselves, for sets of any size: never one too
    /// few, and none too many as long as the ranges fit. Programs stay within the kernel's limits.
    #[test]
    fn every_port_of_many_sets() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for count in [0, 1, 2, 30, RANGES_MAX, 3000, 20_000] {
            let ranges: Vec<(u16, u16)> = (0..count)
                .map(|_| {
                    let first = random(65_536) as u16;
                    (first, first.saturating_add(random(4) as u16))
                })
                .collect();
            let mut member = vec![false; 65_536];
            for (first, last) in &ranges {
                (*first..=*last).for_each(|port| member[usize::from(port)] = true);
            }
            let many: Vec<u32> = (0..600).map(|_| random(100_000) as u32).collect();
            let own: Vec<IpAddr> = (0..ADDRESSES_MAX as u8 - 1)
                .map(|n| IpAddr::from([10, 0, n, 9]))
                .chain([IpAddr::from(OWN4)])
                .collect();
            let wanted = Wanted {
                tcp4: ranges.clone(),
                udp4: ranges.clone(),
                tcp6: ranges.iter().skip(1).copied().collect(),
                udp6: ranges.iter().skip(2).copied().collect(),
                interfaces: Some(many.into_iter().take(INTERFACES_MAX - 1).chain([2]).collect()),
                own: Some(own),
                ..self::wanted()
            };
            let program = compile(&wanted);
            assert!(program.len() <= INSTRUCTIONS_MAX, "{count}: {}", program.len());
            let mut wide = 0;
            for port in 0..=u16::MAX {
                let is_in = member[usize::from(port)];
                for (protocol, flags) in [(TCP, 2), (UDP, 0)] {
                    let packet = v4(protocol, OWN4, 0, 0, &segment(protocol, 1, port, flags));
                    let comes = run(&program, &packet) != 0;
                    assert!(comes || !is_in, "{count}: {port}");
                    wide += usize::from(comes && !is_in);
                }
            }
            assert!(wide == 0 || count > RANGES_MAX, "{count}: {wide} too many");
        }
    }
}
