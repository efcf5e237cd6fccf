//! `Packets`: the packets of a capture file, as tcpdump and its like write them: the classic format
//! and pcapng, of either byte order. Total on any bytes: what is cut or contradicts itself is an
//! error, and nothing is believed beyond a limit.

use std::io::{self, ErrorKind, Read};

use crate::time::Timestamp;

/// Nobody's packet is longer, in bytes.
const PACKET_BYTES_MAX: u32 = 1 << 20;
/// A block of pcapng that is longer is none.
const BLOCK_BYTES_MAX: u32 = 4 << 20;
/// So many interfaces are remembered of one section.
const INTERFACES_MAX: usize = 4096;

/// A packet of a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// When it was captured.
    pub time: Timestamp,
    /// How it begins: a number of the `LINKTYPE_` registry (1 is Ethernet).
    pub link: u16,
    /// Its bytes, as many as were kept.
    pub bytes: Vec<u8>,
}

/// Reads packets one by one.
#[derive(Debug)]
pub struct Packets<R> {
    input: R,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Classic { big: bool, nanos: bool, link: u16 },
    Blocks { big: bool, interfaces: Vec<Interface> },
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    snap: u32,
    /// Units in a second.
    units: u64,
}

impl<R: Read> Packets<R> {
    /// Reads the file's head.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no capture file.
    pub fn open(mut input: R) -> io::Result<Packets<R>> {
        let magic: [u8; 4] = take(&mut input)?;
        let form = match u32::from_be_bytes(magic) {
            0xa1b2_c3d4 => Form::classic(&mut input, true, false)?,
            0xa1b2_3c4d => Form::classic(&mut input, true, true)?,
            0xd4c3_b2a1 => Form::classic(&mut input, false, false)?,
            0x4d3c_b2a1 => Form::classic(&mut input, false, true)?,
            0x0a0d_0d0a => {
                let big = section(&mut input)?;
                Form::Blocks { big, interfaces: Vec::new() }
            }
            _ => return Err(bad("this is no capture file (pcap or pcapng)")),
        };
        Ok(Packets { input, form })
    }

    /// The next packet; none at the end.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is cut, or is damaged.
    pub fn next_packet(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let mut head = [0; 4];
            if !begins(&mut self.input, &mut head)? {
                return Ok(None);
            }
            let found = match &mut self.form {
                Form::Classic { big, nanos, link } => {
                    Some(record(&mut self.input, head, *big, *nanos, *link)?)
                }
                Form::Blocks { big, interfaces } => block(&mut self.input, head, big, interfaces)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}

impl Form {
    fn classic(input: &mut impl Read, big: bool, nanos: bool) -> io::Result<Form> {
        let head: [u8; 20] = take(input)?;
        let link = head.last_chunk::<4>().map_or(0, |link| word(*link, big));
        // What stands above are flags.
        Ok(Form::Classic { big, nanos, link: (link & 0xffff) as u16 })
    }
}

fn record(
    input: &mut impl Read,
    seconds: [u8; 4],
    big: bool,
    nanos: bool,
    link: u16,
) -> io::Result<Packet> {
    let seconds = word(seconds, big);
    let fraction = word(take(input)?, big);
    let length = word(take(input)?, big);
    let _whole: [u8; 4] = take(input)?;
    let micros = if nanos { fraction / 1000 } else { fraction };
    let time = i64::from(seconds) * 1_000_000 + i64::from(micros);
    Ok(Packet { time: Timestamp::from_micros(time), link, bytes: bytes(input, length)? })
}

/// The head of a section, behind its first word; whether its numbers are big-endian.
fn section(input: &mut impl Read) -> io::Result<bool> {
    let length: [u8; 4] = take(input)?;
    let order: [u8; 4] = take(input)?;
    let big = match u32::from_be_bytes(order) {
        0x1a2b_3c4d => true,
        0x4d3c_2b1a => false,
        _ => return Err(bad("a section of this capture file is damaged")),
    };
    let rest = block_rest(word(length, big), 12)?;
    skip(input, rest)?;
    Ok(big)
}

/// One block, whose first word is `head`; a packet if it holds one.
fn block(
    input: &mut impl Read,
    head: [u8; 4],
    big: &mut bool,
    interfaces: &mut Vec<Interface>,
) -> io::Result<Option<Packet>> {
    if u32::from_be_bytes(head) == 0x0a0d_0d0a {
        *big = section(input)?;
        interfaces.clear();
        return Ok(None);
    }
    let length = word(take(input)?, *big);
    let body = bytes_of_block(input, block_rest(length, 8)?)?;
    let at = |from: usize| -> io::Result<u32> {
        let four = body.get(from..).and_then(|rest| rest.first_chunk::<4>());
        four.map(|four| word(*four, *big)).ok_or_else(|| bad("a block of it is too short"))
    };
    let cut = |from: usize, length: u32| -> io::Result<Vec<u8>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = from.saturating_add(length);
        body.get(from..end).map(<[u8]>::to_vec).ok_or_else(|| bad("a packet of it is cut"))
    };
    let known = |number: u32| {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        interfaces.get(number).copied().ok_or_else(|| bad("a packet's interface is not there"))
    };
    match word(head, *big) {
        // An interface.
        1 => {
            let kind = at(0)?;
            let link = if *big { kind >> 16 } else { kind & 0xffff };
            let units = resolution(body.get(8..).unwrap_or_default(), *big);
            if interfaces.len() >= INTERFACES_MAX {
                return Err(bad("it has too many interfaces"));
            }
            interfaces.push(Interface { link: link as u16, snap: at(4)?, units });
            Ok(None)
        }
        // A packet without a time.
        3 => {
            let interface = known(0)?;
            let whole = at(0)?;
            let kept = if interface.snap == 0 { whole } else { whole.min(interface.snap) };
            let bytes = cut(4, kept)?;
            Ok(Some(Packet { time: Timestamp::default(), link: interface.link, bytes }))
        }
        // A packet, of today and of former times.
        kind @ (2 | 6) => {
            let number = at(0)?;
            let number = match (kind, *big) {
                (6, _) => number,
                (_, true) => number >> 16,
                (_, false) => number & 0xffff,
            };
            let interface = known(number)?;
            let units = u64::from(at(4)?) << 32 | u64::from(at(8)?);
            let micros = u128::from(units) * 1_000_000 / u128::from(interface.units.max(1));
            let time = Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
            Ok(Some(Packet { time, link: interface.link, bytes: cut(20, at(12)?)? }))
        }
        _ => Ok(None),
    }
}

/// Units in a second, as an interface's options say; a million unless they do.
fn resolution(mut options: &[u8], big: bool) -> u64 {
    const RESOLUTION: u16 = 9;
    let half = |bytes: [u8; 2]| match big {
        true => u16::from_be_bytes(bytes),
        false => u16::from_le_bytes(bytes),
    };
    while let Some((kind, rest)) = options.split_first_chunk::<2>()
        && let Some((length, rest)) = rest.split_first_chunk::<2>()
    {
        let length = usize::from(half(*length));
        if half(*kind) == RESOLUTION
            && let Some(value) = rest.first()
        {
            let power = u32::from(value & 0x7f);
            let base: u64 = if value & 0x80 == 0 { 10 } else { 2 };
            return base.checked_pow(power).unwrap_or(u64::MAX);
        }
        options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    1_000_000
}

fn block_rest(length: u32, read: u32) -> io::Result<u32> {
    let is_sound = length.is_multiple_of(4) && (12..=BLOCK_BYTES_MAX).contains(&length);
    match length.checked_sub(read).filter(|_| is_sound) {
        Some(rest) => Ok(rest),
        None => Err(bad("a block of it says to be of a length that none has")),
    }
}

fn bytes_of_block(input: &mut impl Read, rest: u32) -> io::Result<Vec<u8>> {
    let mut body = exactly(input, rest)?;
    // The length stands once more at the end.
    body.truncate(body.len().saturating_sub(4));
    Ok(body)
}

fn bytes(input: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    if length > PACKET_BYTES_MAX {
        return Err(bad("a packet of it says to be longer than packets are"));
    }
    exactly(input, length)
}

fn exactly(input: &mut impl Read, length: u32) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.by_ref().take(u64::from(length)).read_to_end(&mut bytes)?;
    match bytes.len() == usize::try_from(length).unwrap_or(usize::MAX) {
        true => Ok(bytes),
        false => Err(bad("it ends in the middle of a packet")),
    }
}

fn skip(input: &mut impl Read, length: u32) -> io::Result<()> {
    exactly(input, length).map(drop)
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => bad("it is cut"),
        _ => error,
    })?;
    Ok(bytes)
}

/// False at the end.
fn begins(input: &mut impl Read, head: &mut [u8; 4]) -> io::Result<bool> {
    let mut bytes = Vec::new();
    input.by_ref().take(4).read_to_end(&mut bytes)?;
    match bytes.first_chunk() {
        Some(four) => *head = *four,
        None if bytes.is_empty() => return Ok(false),
        None => return Err(bad("it ends in the middle of a packet")),
    }
    Ok(true)
}

fn word(bytes: [u8; 4], big: bool) -> u32 {
    if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(out: &mut Vec<u8>, big: bool, words: &[u32]) {
        for word in words {
            out.extend(if big { word.to_be_bytes() } else { word.to_le_bytes() });
        }
    }

    fn classic(big: bool, nanos: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let magic = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        put(&mut out, big, &[magic, 0x0002_0004, 0, 0, 65_535, 101]);
        put(&mut out, big, &[1_795_167_912, if nanos { 500_000_000 } else { 500_000 }, 3, 9]);
        out.extend(b"abc");
        out
    }

    fn blocks(big: bool) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, big, &[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 0x0001_0000, !0, !0, 28]);
        let link = if big { 101 << 16 } else { 101 };
        // The resolution is milliseconds.
        let (option, value) = if big { (9 << 16 | 1, 3 << 24) } else { (1 << 16 | 9, 3) };
        put(&mut out, big, &[1, 32, link, 65_535, option, value, 0, 32]);
        put(&mut out, big, &[0x99, 16, 7, 16]);
        let time = 1_795_167_912_500u64;
        put(&mut out, big, &[6, 36, 0, (time >> 32) as u32, time as u32, 3, 9]);
        out.extend(b"abc\0");
        put(&mut out, big, &[36]);
        out
    }

    #[test]
    fn both_formats_in_both_orders() {
        let time = Timestamp::from_micros(1_795_167_912_500_000);
        let expected = Packet { time, link: 101, bytes: b"abc".to_vec() };
        for file in [
            classic(true, false),
            classic(true, true),
            classic(false, false),
            classic(false, true),
            blocks(true),
            blocks(false),
        ] {
            let mut packets = Packets::open(file.as_slice()).unwrap();
            assert_eq!(packets.next_packet().unwrap().as_ref(), Some(&expected));
            assert_eq!(packets.next_packet().unwrap(), None);
            // Cut anywhere and damaged anywhere: an end or an error, never a panic.
            for at in 0..file.len() {
                for bytes in [file[..at].to_vec(), {
                    let mut damaged = file.clone();
                    damaged[at] ^= 0xff;
                    damaged
                }] {
                    let Ok(mut packets) = Packets::open(bytes.as_slice()) else { continue };
                    while let Ok(Some(_)) = packets.next_packet() {}
                }
            }
        }
        assert!(Packets::open(&b"GIF89a......................"[..]).is_err());
    }
}
