//! nf_tables on the wire: tables, chains, sets and elements, as transactions; and what a dump says.
//!
//! A transaction is one message to the kernel and all or nothing. Each part of it is remembered
//! with what it is about, so that a refusal can name the address. Rules: `rules.rs`.

use super::{
    codec::{ACK, APPEND, Attrs, CREATE, EXCL, Mark, Message, Messages, Writer},
    cover::Span,
};
use crate::{
    action::sets::{NFT_TABLE, NFT_TIMEOUT_MAX_S, Sets},
    net::Cidr,
};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFPROTO_INET`: one table for both families.
pub(super) const FAMILY: u8 = 1;

/// Kinds of messages, `NFT_MSG_…`.
pub mod kind {
    #![allow(missing_docs, reason = "the kernel's names")]
    pub const NEW_TABLE: u16 = 0;
    pub const GET_TABLE: u16 = 1;
    pub const DEL_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const GET_CHAIN: u16 = 4;
    pub const DEL_CHAIN: u16 = 5;
    pub const NEW_RULE: u16 = 6;
    pub const GET_RULE: u16 = 7;
    pub const DEL_RULE: u16 = 8;
    pub const NEW_SET: u16 = 9;
    pub const GET_SET: u16 = 10;
    pub const DEL_SET: u16 = 11;
    pub const NEW_ELEMENT: u16 = 12;
    pub const GET_ELEMENT: u16 = 13;
    pub const DEL_ELEMENT: u16 = 14;
    pub const NEW_GENERATION: u16 = 15;
    pub const GET_GENERATION: u16 = 16;
}

const SET_ANONYMOUS: u32 = 1;
const SET_CONSTANT: u32 = 2;
const SET_INTERVAL: u32 = 4;
const SET_TIMEOUT: u32 = 0x10;
const ELEMENT_END: u32 = 1;
const TABLE_DORMANT: u32 = 1;
/// `NF_INET_PRE_ROUTING`.
const HOOK: u32 = 0;
const POLICY_ACCEPT: u32 = 1;

/// So many elements go into one message at most.
pub const MESSAGE_ELEMENTS_MAX: usize = 2000;
/// And so many bytes of them: the list is an attribute, whose length has 16 bits.
const MESSAGE_BYTES_MAX: usize = 65_000;

/// The sets of a jail, by what they hold.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Home {
    /// Single IPv4 addresses, in a hash.
    Addr4,
    /// IPv4 prefixes, in intervals.
    Net4,
    /// Single IPv6 addresses, in a hash.
    Addr6,
    /// IPv6 networks of 64 bits, in a hash of their first addresses.
    Wide6,
    /// All other IPv6 prefixes, in intervals.
    Net6,
}

impl Home {
    /// All of them.
    pub const ALL: [Home; 5] = [Home::Addr4, Home::Net4, Home::Addr6, Home::Wide6, Home::Net6];

    /// Where a prefix belongs.
    pub fn of(net: Cidr) -> Home {
        match (net.address().is_ipv6(), net.is_single()) {
            (false, true) => Home::Addr4,
            (false, false) => Home::Net4,
            (true, true) => Home::Addr6,
            (true, false) if net.bits() == 64 => Home::Wide6,
            (true, false) => Home::Net6,
        }
    }

    /// The set's name.
    pub fn name(self, sets: &Sets) -> String {
        match self {
            Home::Addr4 => sets.addr4.clone(),
            Home::Net4 => sets.net4.clone(),
            Home::Addr6 => sets.addr6.clone(),
            Home::Wide6 => sets.wide6(),
            Home::Net6 => sets.net6.clone(),
        }
    }

    /// The name of a set that holds the same while that one is made anew. No jail's name has a
    /// slash, so that it is no other jail's.
    pub fn spare(self, sets: &Sets) -> String {
        format!("{}/spare", self.name(sets))
    }

    /// True for IPv6.
    pub fn v6(self) -> bool {
        matches!(self, Home::Addr6 | Home::Wide6 | Home::Net6)
    }

    /// True if it holds intervals, which must not overlap.
    pub fn is_interval(self) -> bool {
        matches!(self, Home::Net4 | Home::Net6)
    }

    /// What a member of it stands for.
    pub fn net(self, key: u128) -> Cidr {
        let bits = if self == Home::Wide6 { 64 } else { 128 };
        Cidr::new(super::cover::address(key, self.v6()), bits)
    }

    /// The shape of the set.
    pub fn shape(self) -> Shape {
        let (key_type, key_len) = if self.v6() { (8, 16) } else { (7, 4) };
        let interval = if self.is_interval() { SET_INTERVAL } else { 0 };
        Shape { flags: SET_TIMEOUT | interval, key_type, key_len }
    }
}

/// What kind of set it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    flags: u32,
    /// nft's number for the type: 7 ipv4_addr, 8 ipv6_addr, 12 inet_proto, 13 inet_service.
    key_type: u32,
    key_len: u32,
}

impl Shape {
    /// Ports, as ranges.
    pub const PORTS: Shape = Shape { flags: SET_INTERVAL, key_type: 13, key_len: 2 };
    /// Protocols, for one rule.
    pub(super) const PROTOCOLS: Shape =
        Shape { flags: SET_ANONYMOUS | SET_CONSTANT, key_type: 12, key_len: 1 };
    /// ICMPv6 types, for one rule.
    pub(super) const ICMPV6: Shape =
        Shape { flags: SET_ANONYMOUS | SET_CONSTANT, key_type: 29, key_len: 1 };

    fn is_interval(self) -> bool {
        self.flags & SET_INTERVAL != 0
    }

    /// The largest key.
    fn max(self) -> u128 {
        u128::MAX.checked_shr(128 - 8 * self.key_len).unwrap_or(0)
    }

    /// So many bytes an element takes at most.
    pub fn element_len(self) -> usize {
        let key = (8 + self.key_len as usize).next_multiple_of(4);
        let hash = 4 + key + 12;
        if self.is_interval() { hash + 4 + key + 8 } else { hash }
    }
}

/// An element on its way into a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Item {
    /// What it covers; one address in a hash.
    pub span: Span,
    /// Milliseconds; none for ever.
    pub timeout_ms: Option<u64>,
}

/// What a part of a transaction is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum About {
    /// Something, to be read behind "cannot".
    Thing(String),
    /// Elements of a set, counted by whoever had them written.
    Elements {
        /// The number of the set's work within the transaction.
        unit: usize,
        /// The number of the first element in this message within that work.
        from: usize,
    },
}

/// One transaction, being written.
#[derive(Debug)]
pub struct Transaction {
    writer: Writer,
    first: u32,
    seq: u32,
    last: Option<Mark>,
    parts: Vec<(u32, usize, About)>,
    next_set_id: u32,
}

impl Transaction {
    /// Begins one with the number `first`. With a generation it fails (`ERESTART`) if the rules
    /// were changed since.
    pub fn begin(first: u32, generation: Option<u32>) -> Transaction {
        let mut writer = Writer::new();
        let mark = writer.begin_nf(BATCH_BEGIN, 0, first, 0, 10);
        if let Some(generation) = generation {
            writer.put_u32(1, generation);
        }
        writer.end(mark);
        Transaction { writer, first, seq: first, last: None, parts: Vec::new(), next_set_id: 0 }
    }

    /// So many bytes so far.
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// True if nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Ends it; what is to be sent, and its first and last number.
    pub fn end(&mut self) -> (&[u8], u32, u32) {
        if let Some(last) = self.last {
            self.writer.add_flags(last, ACK);
        }
        let last = self.seq;
        let mark = self.writer.begin_nf(BATCH_END, 0, self.seq.wrapping_add(1), 0, 10);
        self.writer.end(mark);
        (self.writer.bytes(), self.first, last)
    }

    /// What the message with this number is about.
    pub fn about(&self, seq: u32) -> Option<&About> {
        self.parts.iter().find(|part| part.0 == seq).map(|part| &part.2)
    }

    /// Which element of its message stands at this byte of it.
    pub fn element_at(&self, seq: u32, offset: usize) -> Option<usize> {
        let start = self.parts.iter().find(|part| part.0 == seq)?.1;
        let bytes = self.writer.bytes().get(start..)?;
        let message = Messages::of(bytes).next()?;
        let wanted = bytes.get(offset..)?.as_ptr();
        let mut starts = 0;
        for (_, element) in message.nf_attrs().nested(3) {
            if element.as_ptr() > wanted.wrapping_add(4) {
                break;
            }
            // The second half of an interval belongs to the first.
            starts += usize::from(Attrs::of(element).u32(3).is_none_or(|f| f & ELEMENT_END == 0));
        }
        starts.checked_sub(1)
    }

    pub(super) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        about: About,
        write: impl FnOnce(&mut Writer),
    ) {
        self.seq = self.seq.wrapping_add(1);
        self.parts.push((self.seq, self.writer.len(), about));
        let mark = self.writer.begin_nf(SUBSYSTEM | kind, flags, self.seq, FAMILY, 0);
        self.writer.put_text(1, NFT_TABLE);
        write(&mut self.writer);
        self.writer.end(mark);
        self.last = Some(mark);
    }

    fn thing(&mut self, kind: u16, flags: u16, what: String, write: impl FnOnce(&mut Writer)) {
        self.message(kind, flags, About::Thing(what), write);
    }

    /// The table is there, and awake.
    pub fn table(&mut self) {
        let what = format!("create table inet {NFT_TABLE}");
        self.thing(kind::NEW_TABLE, CREATE, what, |writer| writer.put_u32(2, 0));
    }

    /// The table goes, with all that is in it.
    pub fn delete_table(&mut self) {
        self.thing(kind::DEL_TABLE, 0, format!("delete table inet {NFT_TABLE}"), |_| ());
    }

    /// A base chain is there.
    pub fn chain(&mut self, name: &str, priority: i32) {
        let what = format!("create chain {name} at prerouting, priority {priority}");
        self.thing(kind::NEW_CHAIN, CREATE, what, |writer| {
            writer.put_text(3, name);
            let hook = writer.open(4);
            writer.put_u32(1, HOOK);
            writer.put(2, &priority.to_be_bytes());
            writer.close(hook);
            writer.put_u32(5, POLICY_ACCEPT);
            writer.put_text(7, "filter");
        });
    }

    /// A chain has no rules afterwards.
    pub fn flush_chain(&mut self, name: &str) {
        let what = format!("flush chain {name}");
        self.thing(kind::DEL_RULE, 0, what, |writer| writer.put_text(2, name));
    }

    /// An empty chain goes.
    pub fn delete_chain(&mut self, name: &str) {
        let what = format!("delete chain {name}");
        self.thing(kind::DEL_CHAIN, 0, what, |writer| writer.put_text(3, name));
    }

    /// A rule at the end of a chain.
    pub(super) fn rule(&mut self, chain: &str, what: String, write: impl FnOnce(&mut Writer)) {
        self.thing(kind::NEW_RULE, CREATE | APPEND, what, |writer| {
            writer.put_text(2, chain);
            let list = writer.open(4);
            write(writer);
            writer.close(list);
        });
    }

    /// A set is there.
    pub fn set(&mut self, name: &str, shape: Shape) {
        self.next_set_id += 1;
        let id = self.next_set_id;
        let what = format!("create set {name}");
        self.thing(kind::NEW_SET, CREATE, what, |writer| {
            writer.put_text(2, name);
            writer.put_u32(3, shape.flags);
            writer.put_u32(4, shape.key_type);
            writer.put_u32(5, shape.key_len);
            writer.put_u32(10, id);
        });
    }

    /// A set without a name for the next rule; its number.
    pub(super) fn anonymous(&mut self, shape: Shape, keys: &[u8]) -> u32 {
        self.set("__set%d", shape);
        let id = self.next_set_id;
        let what = "fill a set of a rule".to_owned();
        self.thing(kind::NEW_ELEMENT, CREATE, what, |writer| {
            writer.put_text(2, "__set%d");
            writer.put_u32(4, id);
            let list = writer.open(3);
            for key in keys {
                write_key(writer, shape, u128::from(*key), None, false);
            }
            writer.close(list);
        });
        id
    }

    /// A set goes.
    pub fn delete_set(&mut self, name: &str) {
        let what = format!("delete set {name}");
        self.thing(kind::DEL_SET, 0, what, |writer| writer.put_text(2, name));
    }

    /// A set is empty afterwards.
    pub fn flush_set(&mut self, name: &str) {
        let what = format!("flush set {name}");
        self.thing(kind::DEL_ELEMENT, 0, what, |writer| writer.put_text(2, name));
    }

    /// Elements come; it is an error if one is there and `fresh` is set.
    pub fn add(
        &mut self,
        unit: usize,
        set: &str,
        shape: Shape,
        items: impl ExactSizeIterator<Item = Item>,
        fresh: bool,
    ) {
        let flags = if fresh { CREATE | EXCL } else { CREATE };
        self.elements(kind::NEW_ELEMENT, flags, unit, set, shape, items);
    }

    /// Elements go, and must be there.
    pub fn delete(
        &mut self,
        unit: usize,
        set: &str,
        shape: Shape,
        items: impl ExactSizeIterator<Item = Item>,
    ) {
        self.elements(kind::DEL_ELEMENT, 0, unit, set, shape, items);
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        unit: usize,
        set: &str,
        shape: Shape,
        items: impl ExactSizeIterator<Item = Item>,
    ) {
        let most = (MESSAGE_BYTES_MAX / shape.element_len()).min(MESSAGE_ELEMENTS_MAX);
        self.writer.reserve(items.len() * shape.element_len() + 4096);
        let mut items = items.peekable();
        let mut from = 0;
        while items.peek().is_some() {
            self.message(kind, flags, About::Elements { unit, from }, |writer| {
                writer.put_text(2, set);
                let list = writer.open(3);
                for item in items.by_ref().take(most) {
                    let timeout = item.timeout_ms.filter(|_| kind == kind::NEW_ELEMENT);
                    write_key(writer, shape, item.span.first, timeout, false);
                    if shape.is_interval() && item.span.last < shape.max() {
                        write_key(writer, shape, item.span.last + 1, None, true);
                    }
                }
                writer.close(list);
            });
            from += most;
        }
    }
}

fn write_key(writer: &mut Writer, shape: Shape, key: u128, timeout_ms: Option<u64>, end: bool) {
    const LONGEST_MS: u64 = NFT_TIMEOUT_MAX_S * 1000;
    let bytes = key.to_be_bytes();
    let element = writer.open(1);
    if end {
        writer.put_u32(3, ELEMENT_END);
    }
    let data = writer.open(1);
    writer.put(1, bytes.get(16 - shape.key_len as usize..).unwrap_or(&bytes));
    writer.close(data);
    if let Some(timeout) = timeout_ms {
        // Nothing is a time, too, and would mean for ever.
        writer.put_u64(4, timeout.clamp(1, LONGEST_MS));
    }
    writer.close(element);
}

// ---- questions, and what the kernel says --------------------------------------------------------

/// Asks for all objects of a kind; sets and rules of our table only.
pub fn list(writer: &mut Writer, seq: u32, kind: u16) {
    ask(writer, seq, kind, super::codec::DUMP, |writer| {
        if kind != kind::GET_TABLE && kind != kind::GET_CHAIN {
            writer.put_text(1, NFT_TABLE);
        }
    });
}

/// Asks for the elements of a set.
pub fn list_set(writer: &mut Writer, seq: u32, set: &str) {
    ask(writer, seq, kind::GET_ELEMENT, super::codec::DUMP, |writer| {
        writer.put_text(1, NFT_TABLE);
        writer.put_text(2, set);
    });
}

/// Asks whether an element is in a set; it is an error if not.
pub fn find(writer: &mut Writer, seq: u32, set: &str, shape: Shape, key: u128) {
    ask(writer, seq, kind::GET_ELEMENT, ACK, |writer| {
        writer.put_text(1, NFT_TABLE);
        writer.put_text(2, set);
        let list = writer.open(3);
        write_key(writer, shape, key, None, false);
        writer.close(list);
    });
}

/// Asks for the number of the present generation of rules.
pub fn generation(writer: &mut Writer, seq: u32) {
    ask(writer, seq, kind::GET_GENERATION, ACK, |_| ());
}

fn ask(writer: &mut Writer, seq: u32, kind: u16, flags: u16, write: impl FnOnce(&mut Writer)) {
    let family = if kind == kind::GET_GENERATION { 0 } else { FAMILY };
    let mark = writer.begin_nf(SUBSYSTEM | kind, flags, seq, family, 0);
    write(writer);
    writer.end(mark);
}

/// The kind of a message of nf_tables; none if it is of somebody else.
pub fn kind_of(message: &Message<'_>) -> Option<u16> {
    (message.kind & 0xff00 == SUBSYSTEM).then_some(message.kind & 0xff)
}

/// Something that was listed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listed {
    /// Our table: whether it is asleep, and how much is in it.
    Table {
        /// Its chains see no packets.
        dormant: bool,
        /// So many chains, sets and other things.
        uses: u32,
    },
    /// A chain of our table.
    Chain {
        /// Its name.
        name: String,
        /// True if it is a filter at prerouting that accepts, with this priority.
        priority: Option<i32>,
    },
    /// A set of our table; none of those that belong to a rule.
    Set {
        /// Its name.
        name: String,
        /// What kind of set.
        shape: Shape,
    },
    /// A rule of our table: in which chain.
    Rule(String),
    /// The generation of the rules.
    Generation(u32),
}

/// Reads what was listed; none for what is not ours.
pub fn listed(message: &Message<'_>) -> Option<Listed> {
    let attrs = message.nf_attrs();
    let kind = kind_of(message)?;
    if kind == kind::NEW_GENERATION {
        return attrs.u32(1).map(Listed::Generation);
    }
    if message.body.first() != Some(&FAMILY) || attrs.text(1) != Some(NFT_TABLE) {
        return None;
    }
    Some(match kind {
        kind::NEW_TABLE => {
            let dormant = attrs.u32(2).unwrap_or(0) & TABLE_DORMANT != 0;
            Listed::Table { dormant, uses: attrs.u32(3).unwrap_or(0) }
        }
        kind::NEW_CHAIN => {
            let hook = attrs.nested(4);
            let priority = hook.find(2).and_then(|value| value.first_chunk());
            let ours = hook.u32(1) == Some(HOOK)
                && attrs.u32(5) == Some(POLICY_ACCEPT)
                && attrs.text(7) == Some("filter");
            let priority = priority.map(|bytes| i32::from_be_bytes(*bytes)).filter(|_| ours);
            Listed::Chain { name: attrs.text(3)?.to_owned(), priority }
        }
        kind::NEW_SET => {
            let flags = attrs.u32(3).unwrap_or(0);
            if flags & SET_ANONYMOUS != 0 {
                return None;
            }
            let (key_type, key_len) = (attrs.u32(4)?, attrs.u32(5)?);
            let shape = Shape { flags, key_type, key_len };
            Listed::Set { name: attrs.text(2)?.to_owned(), shape }
        }
        kind::NEW_RULE => Listed::Rule(attrs.text(2)?.to_owned()),
        _ => return None,
    })
}

/// One end of what a set holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Mile {
    /// The key.
    pub key: u128,
    /// False for the number behind the end of an interval.
    pub start: bool,
    /// Milliseconds that are left; none for ever.
    pub left_ms: Option<u64>,
}

/// The elements in a message of a dump of a set.
pub fn miles<'a>(message: &Message<'a>) -> impl Iterator<Item = Mile> + use<'a> {
    let ours = kind_of(message) == Some(kind::NEW_ELEMENT);
    let list = message.nf_attrs().nested(3);
    list.filter(move |_| ours).filter_map(|(_, element)| {
        let attrs = Attrs::of(element);
        let bytes = attrs.nested(1).find(1)?;
        let mut key = [0; 16];
        key.get_mut(16usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
        Some(Mile {
            key: u128::from_be_bytes(key),
            start: attrs.u32(3).unwrap_or(0) & ELEMENT_END == 0,
            // Without the time that is left, all of it is.
            left_ms: attrs.u64(5).or_else(|| attrs.u64(4)),
        })
    })
}

/// The intervals between miles, in order; the last may run to the largest key.
pub fn spans(mut miles: Vec<Mile>, shape: Shape) -> Vec<Item> {
    miles.retain(|mile| mile.key <= shape.max());
    miles.sort_unstable();
    let mut found = Vec::new();
    let mut open: Option<Mile> = None;
    for mile in miles {
        if let Some(start) = open.take()
            && mile.key > start.key
        {
            let span = Span { first: start.key, last: mile.key - 1 };
            found.push(Item { span, timeout_ms: start.left_ms });
        }
        open = Some(mile).filter(|mile| mile.start);
    }
    let rest = open.map(|start| Item {
        span: Span { first: start.key, last: shape.max() },
        timeout_ms: start.left_ms,
    });
    found.extend(rest);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::netlink::{Surroundings, ipset, sockets, watch};
    use proptest::prelude::*;

    fn v4(text: &str) -> u128 {
        u32::from(text.parse::<std::net::Ipv4Addr>().unwrap()).into()
    }

    #[test]
    fn an_element_is_written_in_network_order_with_its_time() {
        let mut transaction = Transaction::begin(1, None);
        let item = Item { span: Span::one(v4("192.0.2.1")), timeout_ms: Some(0x0102) };
        transaction.add(0, "s", Home::Addr4.shape(), [item].into_iter(), true);
        let (bytes, first, last) = transaction.end();
        assert_eq!((first, last), (1, 2));
        let message = Messages::of(bytes).nth(1).unwrap();
        assert_eq!(message.flags, super::super::codec::REQUEST | CREATE | EXCL | ACK);
        let element = message.nf_attrs().nested(3).nested(1);
        assert_eq!(element.nested(1).find(1), Some(&[192, 0, 2, 1][..]));
        assert_eq!(element.find(4), Some(&[0, 0, 0, 0, 0, 0, 1, 2][..]));
        let kinds: Vec<u16> = Messages::of(bytes).map(|message| message.kind).collect();
        assert_eq!(kinds, [0x10, 0x0a0c, 0x11]);
    }

    #[test]
    fn a_byte_of_a_message_belongs_to_an_element() {
        for home in [Home::Addr4, Home::Net6] {
            let mut transaction = Transaction::begin(9, None);
            let item = |first| Item { span: Span { first, last: first + 1 }, timeout_ms: Some(5) };
            let items: Vec<Item> = (0..5).map(|i| item(i * 16)).collect();
            transaction.add(3, "set", home.shape(), items.iter().copied(), false);
            let start = 20; // behind the beginning of the batch
            let bytes = transaction.writer.bytes()[start..].to_vec();
            let list = bytes.len() - 5 * home.shape().element_len();
            for at in 0..5 {
                let offset = list + at * home.shape().element_len();
                assert_eq!(transaction.element_at(10, offset), Some(at), "{home:?}");
            }
            assert_eq!(transaction.element_at(10, 24), None);
            assert_eq!(transaction.element_at(11, list), None);
            assert_eq!(transaction.about(10), Some(&About::Elements { unit: 3, from: 0 }));
        }
    }

    #[test]
    fn long_lists_are_cut_into_messages_that_fit() {
        let items: Vec<Item> =
            (0..5000).map(|i| Item { span: Span::one(i), timeout_ms: Some(1) }).collect();
        for home in Home::ALL {
            let mut transaction = Transaction::begin(1, None);
            transaction.add(0, "set", home.shape(), items.iter().copied(), false);
            let mut count = 0;
            for message in Messages::of(transaction.end().0) {
                let list = message.nf_attrs().find(3).unwrap_or_default();
                assert!(list.len() <= MESSAGE_BYTES_MAX);
                let starts = message
                    .nf_attrs()
                    .nested(3)
                    .filter(|(_, element)| Attrs::of(element).u32(3).is_none());
                let starts = starts.count();
                assert!(starts <= MESSAGE_ELEMENTS_MAX);
                count += starts;
            }
            assert_eq!(count, 5000, "{home:?}");
        }
    }

    proptest! {
        #[test]
        fn intervals_are_read_as_they_were_written(
            mut ends in proptest::collection::btree_set(any::<u32>(), 0..20),
            whole in any::<bool>(),
        ) {
            if whole {
                ends.extend([0, u32::MAX]);
            }
            let ends: Vec<u128> = ends.into_iter().map(u128::from).collect();
            let items: Vec<Item> = ends
                .chunks_exact(2)
                .map(|pair| Item {
                    span: Span { first: pair[0], last: pair[1] },
                    timeout_ms: Some(7),
                })
                .collect();
            let mut transaction = Transaction::begin(1, None);
            transaction.add(0, "set", Home::Net4.shape(), items.iter().copied(), false);
            let found: Vec<Mile> =
                Messages::of(transaction.end().0).flat_map(|m| miles(&m)).collect();
            let back = spans(found.into_iter().rev().collect(), Home::Net4.shape());
            prop_assert_eq!(back, items);
        }

        #[test]
        fn nothing_that_the_kernel_says_breaks_a_reader(
            kind in prop_oneof![Just(0x0a00u16), Just(0x0600), Just(0)],
            low in 0u16..32,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec((0usize..400, any::<u8>()), 0..6),
        ) {
            let mut writer = Writer::new();
            let message = writer.begin_nf(kind | low, 0, 1, FAMILY, 0);
            writer.put_text(1, NFT_TABLE);
            let list = writer.open(3);
            write_key(&mut writer, Home::Net4.shape(), 5, Some(7), false);
            writer.put(1, &bytes);
            writer.close(list);
            writer.put(8, &bytes);
            writer.end(message);
            let mut bytes = writer.bytes().to_vec();
            for (at, byte) in cuts {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let mut around = Surroundings::default();
            for message in Messages::of(&bytes) {
                let _ = (super::super::codec::answer(&message), watch::loss(&message));
                let _ = (listed(&message), ipset::state(&message), sockets::open(&message));
                around.take(&message);
                let _ = ipset::items(&message).count();
                for home in Home::ALL {
                    for item in spans(miles(&message).collect(), home.shape()) {
                        prop_assert!(item.span.first <= item.span.last);
                        prop_assert!(item.span.prefixes(home.v6()).len() <= 256);
                    }
                }
            }
        }
    }
}
