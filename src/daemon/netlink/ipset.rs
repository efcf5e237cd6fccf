//! ipset on the wire: sets of hashes, their elements, and what a listing says.
//!
//! Not like nf_tables: each message stands for itself, and of a message's elements those before a
//! refused one are in. Each carries its number (`LINENO`), by which a refusal names it.

use super::codec::{ACK, Attrs, CREATE, DUMP, EXCL, LINENO, Message, Writer};
use crate::{action::sets::IPSET_TIMEOUT_MAX_S, net::Cidr, ticket::Family};

const SUBSYSTEM: u16 = 6 << 8;
/// Every kernel since 2011 takes this; 7 has nothing that is needed here.
const PROTOCOL: u8 = 6;

/// Commands, `IPSET_CMD_…`.
mod command {
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const CREATE: u16 = 2;
    pub(super) const DESTROY: u16 = 3;
    pub(super) const FLUSH: u16 = 4;
    pub(super) const SWAP: u16 = 6;
    pub(super) const LIST: u16 = 7;
    pub(super) const ADD: u16 = 9;
    pub(super) const DEL: u16 = 10;
    pub(super) const TEST: u16 = 11;
}

/// Attributes of a command, `IPSET_ATTR_…`.
mod attr {
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const NAME: u16 = 2;
    pub(super) const TYPE: u16 = 3;
    pub(super) const OTHER_NAME: u16 = 3;
    pub(super) const REVISION: u16 = 4;
    pub(super) const FAMILY: u16 = 5;
    pub(super) const FLAGS: u16 = 6;
    pub(super) const DATA: u16 = 7;
    pub(super) const ADT: u16 = 8;
}

/// Attributes of an element or of a set's data.
mod data {
    pub(super) const IP: u16 = 1;
    pub(super) const CIDR: u16 = 3;
    pub(super) const TIMEOUT: u16 = 6;
    pub(super) const HASHSIZE: u16 = 18;
    pub(super) const MAXELEM: u16 = 19;
    pub(super) const ELEMENTS: u16 = 24;
    pub(super) const REFERENCES: u16 = 25;
}

const LIST_HEADER: u32 = 4;

/// So many bytes of elements go into one message: the list is an attribute with a 16-bit length.
const MESSAGE_BYTES_MAX: usize = 60_000;
/// The largest element: IPv6, a prefix length, a timeout and a number.
const ELEMENT_BYTES_MAX: usize = 56;
/// So many elements go into one message.
pub const MESSAGE_ELEMENTS_MAX: usize = MESSAGE_BYTES_MAX / ELEMENT_BYTES_MAX;

/// ipset's own error: it is there already, or (asked, or to be deleted) it is not.
pub const EXISTS: i32 = 4103;
/// The set holds `maxelem` elements.
pub const FULL: i32 = 4352;
/// The set is in use.
pub const BUSY: i32 = 4100;

/// What a set is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// The family of its elements.
    pub family: Family,
    /// Prefixes (`hash:net`), else addresses (`hash:ip`).
    pub prefixes: bool,
    /// Buckets at first; the kernel takes the next power of two.
    pub hashsize: u32,
    /// So many elements fit.
    pub maxelem: u32,
}

impl Shape {
    /// As ipset writes it.
    pub fn type_name(&self) -> &'static str {
        if self.prefixes { "hash:net" } else { "hash:ip" }
    }
}

/// What a set's header tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// What it is; none for a type that is not ours.
    pub shape: Option<Shape>,
    /// Its elements may have a timeout.
    pub timeouts: bool,
    /// So many elements are in it, some of them perhaps over.
    pub elements: u32,
    /// So many rules and sets ask it.
    pub references: u32,
}

/// An element on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Item {
    /// Address or prefix.
    pub net: Cidr,
    /// Milliseconds; none for ever.
    pub timeout_ms: Option<u64>,
}

/// Seconds for the kernel: never 0, which is for ever; never more than it can hold, since it would
/// cut that without a word.
pub fn timeout_s(timeout_ms: Option<u64>) -> u32 {
    let whole = |ms: u64| ms.div_ceil(1000).clamp(1, IPSET_TIMEOUT_MAX_S);
    timeout_ms.map_or(0, |ms| u32::try_from(whole(ms)).unwrap_or(u32::MAX))
}

fn message(
    writer: &mut Writer,
    seq: u32,
    command: u16,
    flags: u16,
    write: impl FnOnce(&mut Writer),
) {
    let mark = writer.begin_nf(SUBSYSTEM | command, flags, seq, 2, 0);
    writer.put(attr::PROTOCOL, &[PROTOCOL]);
    write(writer);
    writer.end(mark);
}

/// Asks whether ipset is there.
pub fn version(writer: &mut Writer, seq: u32) {
    message(writer, seq, command::PROTOCOL, ACK, |_| ());
}

/// A set comes; it is an error if one of the name is there.
pub fn create(writer: &mut Writer, seq: u32, name: &str, shape: &Shape) {
    message(writer, seq, command::CREATE, ACK | CREATE | EXCL, |writer| {
        writer.put_text(attr::NAME, name);
        writer.put_text(attr::TYPE, shape.type_name());
        writer.put(attr::REVISION, &[0]);
        let family = if shape.family == Family::Inet6 { 10 } else { 2 };
        writer.put(attr::FAMILY, &[family]);
        let data = writer.open(attr::DATA);
        writer.put_net(data::HASHSIZE, &shape.hashsize.to_be_bytes());
        writer.put_net(data::MAXELEM, &shape.maxelem.to_be_bytes());
        // None by itself; without this no element could have one.
        writer.put_net(data::TIMEOUT, &0u32.to_be_bytes());
        writer.close(data);
    });
}

/// A set goes.
pub fn destroy(writer: &mut Writer, seq: u32, name: &str) {
    message(writer, seq, command::DESTROY, ACK, |writer| writer.put_text(attr::NAME, name));
}

/// A set is empty afterwards.
pub fn flush(writer: &mut Writer, seq: u32, name: &str) {
    message(writer, seq, command::FLUSH, ACK, |writer| writer.put_text(attr::NAME, name));
}

/// Two sets exchange what they hold; rules go on asking the names.
pub fn swap(writer: &mut Writer, seq: u32, name: &str, other: &str) {
    message(writer, seq, command::SWAP, ACK, |writer| {
        writer.put_text(attr::NAME, name);
        writer.put_text(attr::OTHER_NAME, other);
    });
}

/// Asks for a set: with its elements, or only its header.
pub fn list(writer: &mut Writer, seq: u32, name: &str, header: bool) {
    message(writer, seq, command::LIST, DUMP, |writer| {
        writer.put_text(attr::NAME, name);
        if header {
            writer.put_net(attr::FLAGS, &LIST_HEADER.to_be_bytes());
        }
    });
}

/// Elements come, or get their new time.
pub fn add(writer: &mut Writer, seq: u32, name: &str, items: &[Item]) {
    elements(writer, seq, command::ADD, name, items);
}

/// Elements go, if they are there.
pub fn delete(writer: &mut Writer, seq: u32, name: &str, items: &[Item]) {
    elements(writer, seq, command::DEL, name, items);
}

fn elements(writer: &mut Writer, seq: u32, command: u16, name: &str, items: &[Item]) {
    // Without `EXCL` it is no error that something is there, or is not.
    message(writer, seq, command, ACK, |writer| {
        writer.put_text(attr::NAME, name);
        writer.put_u32(LINENO, 0);
        let list = writer.open(attr::ADT);
        for (number, item) in items.iter().enumerate() {
            let element = writer.open(attr::DATA);
            key(writer, item.net);
            if command == command::ADD {
                writer.put_net(data::TIMEOUT, &timeout_s(item.timeout_ms).to_be_bytes());
            }
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            writer.put_net(LINENO, &number.to_be_bytes());
            writer.close(element);
        }
        writer.close(list);
    });
}

/// Asks whether an element is in a set: [`EXISTS`] if it is not.
pub fn test(writer: &mut Writer, seq: u32, name: &str, net: Cidr) {
    message(writer, seq, command::TEST, ACK, |writer| {
        writer.put_text(attr::NAME, name);
        let element = writer.open(attr::DATA);
        key(writer, net);
        writer.close(element);
    });
}

fn key(writer: &mut Writer, net: Cidr) {
    let address = writer.open(data::IP);
    match net.address() {
        std::net::IpAddr::V4(v4) => writer.put_net(1, &v4.octets()),
        std::net::IpAddr::V6(v6) => writer.put_net(2, &v6.octets()),
    }
    writer.close(address);
    if !net.is_single() {
        writer.put(data::CIDR, &[net.bits()]);
    }
}

fn is_list(message: &Message<'_>) -> bool {
    message.kind == SUBSYSTEM | command::LIST
}

/// The header in a message of a listing; the first message of a set has it.
pub fn state(message: &Message<'_>) -> Option<State> {
    let attrs = message.nf_attrs();
    let type_name = attrs.text(attr::TYPE).filter(|_| is_list(message))?;
    let family = match attrs.find(attr::FAMILY)?.first()? {
        10 => Family::Inet6,
        _ => Family::Inet4,
    };
    let data = attrs.nested(attr::DATA);
    let prefixes = match type_name {
        "hash:ip" => Some(false),
        "hash:net" => Some(true),
        _ => None,
    };
    let shape = prefixes.and_then(|prefixes| {
        let (hashsize, maxelem) = (data.u32(data::HASHSIZE)?, data.u32(data::MAXELEM)?);
        Some(Shape { family, prefixes, hashsize, maxelem })
    });
    Some(State {
        shape,
        timeouts: data.find(data::TIMEOUT).is_some(),
        elements: data.u32(data::ELEMENTS).unwrap_or(0),
        references: data.u32(data::REFERENCES).unwrap_or(0),
    })
}

/// The elements in a message of a listing.
pub fn items<'a>(message: &Message<'a>) -> impl Iterator<Item = Item> + use<'a> {
    let list = message.nf_attrs().nested(attr::ADT);
    let ours = is_list(message);
    list.filter(move |_| ours).filter_map(|(_, element)| {
        let attrs = Attrs::of(element);
        let address = attrs.nested(data::IP);
        let v4 = address.find(1).and_then(|v| v.first_chunk::<4>()).map(|v| (*v).into());
        let v6 = || address.find(2).and_then(|v| v.first_chunk::<16>()).map(|v| (*v).into());
        let address: std::net::IpAddr = v4.or_else(v6)?;
        let bits = attrs.find(data::CIDR).and_then(|v| v.first()).copied().unwrap_or(128);
        let left = attrs.u32(data::TIMEOUT).filter(|seconds| *seconds != 0);
        let timeout_ms = left.map(|seconds| u64::from(seconds) * 1000);
        Some(Item { net: Cidr::new(address, bits), timeout_ms })
    })
}
