//! Frames as they stand on the wire, sent from the attacker's end of the cable.
#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each test uses some")]

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, Ipv6Addr},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use crate::common::lab::Lab;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SYN: u8 = 2;

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Sends frames, each once, and says when they are out.
pub struct Wire {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    to: [u8; 6],
}

const SENDER: &str = r"
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(('eth0', 0))
for line in sys.stdin:
    for frame in line.split():
        s.send(bytes.fromhex(frame))
    print('sent', flush=True)
";

impl Wire {
    pub fn open(lab: &Lab) -> Wire {
        let mut child = lab
            .attacker("python3")
            .args(["-c", SENDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mac = lab.run("cat /sys/class/net/eth0/address");
        let bytes: Vec<u8> =
            mac.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let to = bytes.try_into().unwrap();
        Wire { child, stdin: Some(stdin), stdout: BufReader::new(stdout), to }
    }

    /// Sends packets to the victim, behind these tags (`8100` and a number, or other bytes).
    pub fn send(&mut self, tags: &[[u8; 4]], packets: &[Vec<u8>]) {
        let mut line = String::new();
        for packet in packets {
            let kind = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
            let frame = [&self.to[..], &[2, 0, 0, 0, 0, 1], &tags.concat(), &kind, packet].concat();
            for byte in frame {
                write!(line, "{byte:02x}").unwrap();
            }
            line.push(' ');
        }
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        assert_eq!(answer, "sent\n");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

pub fn tcp(port: u16, flags: u8) -> Vec<u8> {
    let mut bytes = [40_000u16.to_be_bytes(), port.to_be_bytes()].concat();
    bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0]);
    bytes
}

pub fn udp(source_port: u16, port: u16) -> Vec<u8> {
    [source_port, port, 8, 0].map(u16::to_be_bytes).concat()
}

/// `fragment` is that field of the header: flags, and an offset in words of eight bytes.
pub fn ipv4(source: &str, target: &str, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    let mut head = vec![0x45, 0, length[0], length[1], 0, 9, f0, f1, 64, protocol, 0, 0];
    for end in [source, target] {
        head.extend_from_slice(&end.parse::<Ipv4Addr>().unwrap().octets());
    }
    let sum: u32 = head.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
    let sum = !((sum >> 16) + (sum & 0xffff)) as u16;
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    [head, payload.to_vec()].concat()
}

pub fn ipv6(source: &str, target: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u16).to_be_bytes();
    let mut head = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    for end in [source, target] {
        head.extend_from_slice(&end.parse::<Ipv6Addr>().unwrap().octets());
    }
    [head, payload.to_vec()].concat()
}

/// An extension header of eight bytes: options that fill, or a routing header that leads nowhere.
pub fn extension(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

/// A fragment header; `offset` in bytes.
pub fn fragment6(next: u8, id: u32, offset: u16, more: bool) -> Vec<u8> {
    let [i0, i1, i2, i3] = id.to_be_bytes();
    let [o0, o1] = (offset | u16::from(more)).to_be_bytes();
    vec![next, 0, o0, o1, i0, i1, i2, i3]
}

/// SYNs from forged addresses to one port, as fast as it goes.
const FLOOD: &str = r"
import socket, struct, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
def total(data):
    if len(data) % 2: data += b'\0'
    s = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    s = (s >> 16) + (s & 0xffff); s += s >> 16
    return ~s & 0xffff
packets = []
to = socket.inet_aton('10.77.0.2')
for n in range(50):
    source = socket.inet_aton('198.51.100.%d' % (n + 1))
    tcp = struct.pack('!HHIIBBHHH', 1024 + n, port, 7, 0, 0x50, 2, 1024, 0, 0)
    pseudo = source + to + struct.pack('!BBH', 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack('!H', total(pseudo + tcp)) + tcp[18:]
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, n, 0, 64, 6, 0, source, to)
    packets.append(ip + tcp)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
print('ready', flush=True)
for n in range(count):
    s.sendto(packets[n % 50], ('10.77.0.2', 0))
";

/// Sends so many SYNs from fifty addresses (198.51.100.1 to .50) to a port of the victim's; it has
/// begun when this returns.
pub fn flood(lab: &Lab, port: u16, count: u64) -> Child {
    let mut child = lab
        .attacker("python3")
        .args(["-c", FLOOD, &port.to_string(), &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}
