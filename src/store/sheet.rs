//! A sheet: some failures of one jail, one behind the other, as bytes.
//!
//! Each item is a byte that says what follows, how many sheets back the one before of the same tag
//! is (0: in this sheet, or nowhere), and the id. An item that *forgets* ends there: what stands
//! before it of this id counts no more. A failure goes on with its time (the difference to the item
//! before, in microseconds), its attempts if they are not one, and what speaks for it. Numbers are
//! of variable length, seven bits a byte; texts have their length before them.

use std::net::IpAddr;

use super::{
    row::{FIELDS_MAX, cut},
    write::text,
};
use crate::{
    ticket::{Evidence, Id, Ticket},
    time::Timestamp,
};

const IPV4: u8 = 0;
const IPV6: u8 = 1;
const TEXT: u8 = 2;
const KIND: u8 = 3;
const FORGETS: u8 = 1 << 2;
const ATTEMPTS: u8 = 1 << 3;
const REGEX: u8 = 1 << 4;
const ONE_LINE: u8 = 1 << 5;
const LINES: u8 = 1 << 6;
const FIELDS: u8 = 1 << 7;

/// An id as a sheet holds it: an address as its bytes, anything else as its text.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Key {
    V4([u8; 4]),
    V6([u8; 16]),
    Text(String),
}

impl Key {
    pub fn of(id: &Id) -> Key {
        match id {
            Id::Ip(IpAddr::V4(address)) => Key::V4(address.octets()),
            Id::Ip(IpAddr::V6(address)) => Key::V6(address.octets()),
            Id::Net(_) | Id::Text(_) => Key::Text(text(id)),
        }
    }

    /// The id, and what it was before it became a key.
    pub fn id(&self) -> Id {
        match self {
            Key::V4(octets) => Id::Ip(IpAddr::from(*octets)),
            Key::V6(octets) => Id::Ip(IpAddr::from(*octets)),
            Key::Text(text) => Id::parse(text),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Key::V4(octets) => octets,
            Key::V6(octets) => octets,
            Key::Text(text) => text.as_bytes(),
        }
    }

    /// What it is: an address of which version, or a text.
    pub fn kind(&self) -> u8 {
        match self {
            Key::V4(_) => IPV4,
            Key::V6(_) => IPV6,
            Key::Text(_) => TEXT,
        }
    }
}

/// One item of a sheet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item<'a> {
    pub key: Key,
    /// So many sheets back is the one before of the same tag; 0 if that is this sheet, or none.
    pub back: u32,
    /// The failure; none if the item forgets.
    pub failure: Option<Failure<'a>>,
}

/// A failure in a sheet; its texts are read when they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure<'a> {
    pub time: Timestamp,
    pub attempts: u32,
    regex: Option<u32>,
    lines: Texts<'a>,
    fields: Texts<'a>,
}

/// Texts with their lengths, one behind the other.
#[derive(Clone, Debug, PartialEq)]
struct Texts<'a> {
    number: usize,
    bytes: &'a [u8],
}

impl Failure<'_> {
    /// What speaks for it; with `newest`, only the last of its lines.
    pub fn evidence(&self, newest: bool) -> Evidence {
        let mut lines: Vec<_> = self.lines.iter().collect();
        if newest {
            lines.drain(..lines.len().saturating_sub(1));
        }
        let mut fields = self.fields.iter();
        let mut pairs = Vec::with_capacity(self.fields.number / 2);
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            pairs.push((name.into(), value.into()));
        }
        Evidence {
            lines: lines.into_iter().map(Into::into).collect(),
            fields: pairs,
            regex: self.regex,
        }
    }
}

impl<'a> Texts<'a> {
    /// The texts; what is no text is left out.
    fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut read = Read(self.bytes);
        (0..self.number)
            .map_while(move |_| read.bytes())
            .filter_map(|b| std::str::from_utf8(b).ok())
    }
}

/// A sheet that is being written.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub bytes: Vec<u8>,
    /// How many items it has.
    pub items: u32,
    last: i64,
}

impl Sheet {
    /// An empty one with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Sheet {
        Sheet { bytes: Vec::with_capacity(bytes), ..Sheet::default() }
    }

    /// Writes down that what stands before of an id counts no more.
    pub fn forget(&mut self, key: &Key, back: u32) {
        self.head(key, FORGETS, back);
    }

    /// Writes a failure down, with its newest `lines_max` lines.
    pub fn push(&mut self, key: &Key, ticket: &Ticket, back: u32, lines_max: usize) {
        let lines = ticket.evidence.lines();
        let older = lines.len().saturating_sub(lines_max);
        let lines = lines.skip(older);
        let fields = ticket.evidence.fields().take(FIELDS_MAX);
        let regex = ticket.evidence.regex();
        let mut head = match lines.len() {
            0 => 0,
            1 => ONE_LINE,
            _ => LINES,
        };
        head |= if ticket.attempts == 1 { 0 } else { ATTEMPTS };
        head |= if regex.is_some() { REGEX } else { 0 };
        head |= if fields.len() == 0 { 0 } else { FIELDS };
        self.head(key, head, back);
        let time = ticket.time.micros();
        let step = time.wrapping_sub(self.last);
        // Steps back are odd, so that small ones are short both ways.
        self.number(((step << 1) ^ (step >> 63)).cast_unsigned());
        self.last = time;
        if ticket.attempts != 1 {
            self.number(u64::from(ticket.attempts));
        }
        if let Some(regex) = regex {
            self.number(u64::from(regex));
        }
        if lines.len() > 1 {
            self.number(lines.len() as u64);
        }
        for line in lines {
            self.text(cut(line).as_bytes());
        }
        if fields.len() > 0 {
            self.number(fields.len() as u64);
        }
        for (name, value) in fields {
            self.text(cut(name).as_bytes());
            self.text(cut(value).as_bytes());
        }
    }

    fn head(&mut self, key: &Key, head: u8, back: u32) {
        self.items += 1;
        self.bytes.push(head | key.kind());
        self.number(u64::from(back));
        match key {
            Key::Text(text) => self.text(text.as_bytes()),
            address => self.bytes.extend_from_slice(address.bytes()),
        }
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }
}

/// The items of a sheet, in their order. Behind what cannot be read there is none.
pub(super) fn items(bytes: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut read = Read(bytes);
    let mut last = 0_i64;
    std::iter::from_fn(move || read.item(&mut last))
}

/// What is not read yet.
struct Read<'a>(&'a [u8]);

impl<'a> Read<'a> {
    fn item(&mut self, last: &mut i64) -> Option<Item<'a>> {
        let head = self.take(1)?.first().copied()?;
        let back = u32::try_from(self.number()?).ok()?;
        let key = match head & KIND {
            IPV4 => Key::V4(self.take(4)?.try_into().ok()?),
            IPV6 => Key::V6(self.take(16)?.try_into().ok()?),
            TEXT => Key::Text(std::str::from_utf8(self.bytes()?).ok()?.to_owned()),
            _ => return None,
        };
        if head & FORGETS != 0 {
            return Some(Item { key, back, failure: None });
        }
        let step = self.number()?;
        let step = (step >> 1).cast_signed() ^ -((step & 1).cast_signed());
        *last = last.wrapping_add(step);
        let attempts = if head & ATTEMPTS != 0 { self.number()? } else { 1 };
        let regex = if head & REGEX != 0 { Some(self.number()?) } else { None };
        let lines = match head & (ONE_LINE | LINES) {
            0 => 0,
            ONE_LINE => 1,
            _ => self.number()?,
        };
        let lines = self.texts(lines)?;
        let fields = if head & FIELDS != 0 { self.number()?.checked_mul(2)? } else { 0 };
        let fields = self.texts(fields)?;
        let failure = Failure {
            time: Timestamp::from_micros(*last),
            attempts: u32::try_from(attempts).ok()?.max(1),
            regex: regex.and_then(|regex| u32::try_from(regex).ok()),
            lines,
            fields,
        };
        Some(Item { key, back, failure: Some(failure) })
    }

    fn texts(&mut self, number: u64) -> Option<Texts<'a>> {
        let before = self.0;
        for _ in 0..number {
            self.bytes()?;
        }
        let bytes = before.get(..before.len() - self.0.len())?;
        Some(Texts { number: usize::try_from(number).ok()?, bytes })
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(id: &str, micros: i64, attempts: u32, evidence: Evidence) -> Ticket {
        let time = Timestamp::from_micros(micros);
        Ticket { id: Id::parse(id), time, attempts, evidence: evidence.into() }
    }

    fn tickets() -> Vec<Ticket> {
        let evidence = |lines: &[&str], fields: &[(&str, &str)], regex| Evidence {
            lines: lines.iter().map(|line| (*line).into()).collect(),
            fields: fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            regex,
        };
        let long = "é".repeat(200);
        vec![
            ticket(
                "192.0.2.1",
                1_700_000_000_000_000,
                1,
                evidence(&["a \0\u{1b}\"line\""], &[], None),
            ),
            ticket("2001:db8::1", 1_700_000_000_000_000, 1, evidence(&[], &[], Some(0))),
            ticket(
                "192.0.2.0/24",
                -5,
                7,
                evidence(&["", "b", &long], &[("user", "ro\not")], Some(9)),
            ),
            ticket("bob ", i64::MAX, u32::MAX, evidence(&["x"], &[("a", ""), ("", &long)], None)),
            ticket("192.0.2.255", i64::MIN, 2, evidence(&[], &[("mac", "00")], Some(u32::MAX))),
        ]
    }

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        for (back, ticket) in [0, 1, 300, u32::MAX, 2].into_iter().zip(&tickets()) {
            sheet.push(&Key::of(&ticket.id), ticket, back, 10);
            sheet.forget(&Key::of(&ticket.id), back);
        }
        sheet
    }

    #[test]
    fn failures_come_back_as_they_were() {
        let sheet = sheet();
        assert_eq!(sheet.items, 10);
        let backs = [0, 1, 300, u32::MAX, 2];
        let mut items = items(&sheet.bytes);
        for (back, ticket) in backs.into_iter().zip(tickets()) {
            let item = items.next().unwrap();
            assert_eq!((item.back, item.key.id()), (back, ticket.id.clone()));
            let failure = item.failure.unwrap();
            let evidence = failure.evidence(false).into();
            let Failure { time, attempts, .. } = failure;
            assert_eq!(Ticket { id: item.key.id(), time, attempts, evidence }, ticket);
            let forgets = items.next().unwrap();
            assert_eq!((forgets.key, forgets.failure), (Key::of(&ticket.id), None));
        }
        assert!(items.next().is_none());
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let ticket = &tickets()[2];
        for (lines_max, expected) in [(0, 0), (2, 2), (9, 3)] {
            let mut sheet = Sheet::default();
            sheet.push(&Key::of(&ticket.id), ticket, 0, lines_max);
            let item = items(&sheet.bytes).next().unwrap();
            let failure = item.failure.unwrap();
            assert_eq!(failure.evidence(false).lines.len(), expected);
            let newest = failure.evidence(true).lines;
            assert_eq!(newest, ticket.evidence.evidence().lines[3 - expected.min(1)..]);
        }
    }

    #[test]
    fn a_common_failure_costs_little_more_than_its_line() {
        let line = "1763747000 gate: refused 198.18.100.100";
        let evidence = Evidence { lines: vec![line.into()], fields: Vec::new(), regex: Some(1) };
        let ticket = ticket("198.18.100.100", 1_763_747_000_000_000, 1, evidence);
        let mut sheet = Sheet::default();
        for _ in 0..10 {
            sheet.push(&Key::of(&ticket.id), &ticket, 0, 10);
        }
        assert_eq!(sheet.bytes.len(), 10 * (9 + line.len()) + 7);
    }

    #[test]
    fn damaged_bytes_end_a_sheet_and_nothing_else() {
        let good = sheet().bytes;
        for end in 0..good.len() {
            assert!(items(&good[..end]).count() <= 10);
        }
        for at in 0..good.len() {
            for flip in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << flip;
                for item in items(&bytes) {
                    item.failure.map(|failure| failure.evidence(false));
                }
            }
        }
    }
}
