//! The wire form of netlink: messages and attributes written to bytes and read from them.
//!
//! ```text
//! datagram = message… ; message = length kind flags seq portid body ; attribute = length type value
//! ```
//!
//! Lengths and kinds are in the machine's byte order, most values in the network's. The kernel
//! answers, but what it says is read as if a stranger had: what is cut or contradicts itself ends
//! the walk, and nothing here panics.

/// A request: the kernel is to do something.
pub const REQUEST: u16 = 0x001;
/// Several messages, `DONE` at the end.
pub const MULTI: u16 = 0x002;
/// An acknowledgement is wanted even if all is well.
pub const ACK: u16 = 0x004;
/// What was dumped changed meanwhile; ask again.
pub const DUMP_INTR: u16 = 0x010;
/// All of a table.
pub const DUMP: u16 = 0x300;
/// Make it if it is not there.
pub const CREATE: u16 = 0x400;
/// Fail if it is there.
pub const EXCL: u16 = 0x200;
/// Behind what is there.
pub const APPEND: u16 = 0x800;

/// Kind of an error or acknowledgement.
pub const ERROR: u16 = 2;
/// Kind of the end of a dump.
pub const DONE: u16 = 3;

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const NET_ORDER: u16 = 0x4000;
const TYPE_MASK: u16 = 0x3fff;
/// The longest value that an attribute's 16-bit length can tell.
pub const VALUE_MAX: usize = u16::MAX as usize - 4;

/// Bytes of one or more messages on their way to the kernel.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// Where a message or a nested attribute began.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Writer {
    /// Nothing yet.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Makes room for so many bytes more; a lot of room is made only once.
    pub fn reserve(&mut self, bytes: usize) {
        if bytes > 65_536 {
            self.bytes.reserve_exact(bytes);
        }
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much was written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if nothing was.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Begins a message; `body` stands before its attributes.
    pub fn begin(&mut self, kind: u16, flags: u16, seq: u32, body: &[u8]) -> Mark {
        let mark = Mark(self.bytes.len());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(body);
        self.pad();
        mark
    }

    /// Begins a message of a netfilter subsystem.
    pub fn begin_nf(&mut self, kind: u16, flags: u16, seq: u32, family: u8, res: u16) -> Mark {
        let [high, low] = res.to_be_bytes();
        self.begin(kind, flags, seq, &[family, 0, high, low])
    }

    /// Gives a message more flags.
    pub fn add_flags(&mut self, mark: Mark, flags: u16) {
        if let Some(place) = self.bytes.get_mut(mark.0 + 6..mark.0 + 8)
            && let Some(old) = place.first_chunk()
        {
            let new = u16::from_ne_bytes(*old) | flags;
            place.copy_from_slice(&new.to_ne_bytes());
        }
    }

    /// Ends a message.
    pub fn end(&mut self, mark: Mark) {
        let length = u32::try_from(self.bytes.len() - mark.0).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(mark.0..mark.0 + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// An attribute. A value beyond [`VALUE_MAX`] is cut there; nobody here writes one.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let value = value.get(..VALUE_MAX).unwrap_or(value);
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// An attribute with a number of 32 bits, in network order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute with a number of 64 bits, in network order.
    pub fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// The same, marked as being in network order: ipset insists.
    pub fn put_net(&mut self, kind: u16, value: &[u8]) {
        self.put(kind | NET_ORDER, value);
    }

    /// An attribute with a text, which C ends with a zero.
    pub fn put_text(&mut self, kind: u16, text: &str) {
        let text = text.as_bytes().get(..VALUE_MAX - 1).unwrap_or(text.as_bytes());
        let length = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.pad();
    }

    /// Opens an attribute that holds attributes.
    pub fn open(&mut self, kind: u16) -> Mark {
        let mark = Mark(self.bytes.len());
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        mark
    }

    /// Closes it. What is in it must not be longer than [`VALUE_MAX`]: callers count.
    pub fn close(&mut self, mark: Mark) {
        let length = u16::try_from(self.bytes.len() - mark.0).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(mark.0..mark.0 + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message out of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// What it is about.
    pub kind: u16,
    /// `MULTI`, `DUMP_INTR` …
    pub flags: u16,
    /// The number of the request that it answers.
    pub seq: u32,
    /// Whose socket caused it.
    pub portid: u32,
    /// What stands behind the header.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind `skip` bytes of a fixed head.
    pub fn attrs(&self, skip: usize) -> Attrs<'a> {
        Attrs(self.body.get(skip..).unwrap_or_default())
    }

    /// The attributes behind the head that all netfilter messages have.
    pub fn nf_attrs(&self) -> Attrs<'a> {
        self.attrs(4)
    }
}

/// Walks over the messages of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Of these bytes.
    pub fn of(datagram: &'a [u8]) -> Messages<'a> {
        Messages(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let rest = self.0;
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?),
            flags: u16::from_ne_bytes(*rest.get(6..)?.first_chunk()?),
            seq: u32::from_ne_bytes(*rest.get(8..)?.first_chunk()?),
            portid: u32::from_ne_bytes(*rest.get(12..)?.first_chunk()?),
            body: rest.get(HEADER..length)?,
        };
        self.0 = rest.get(length.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(message)
    }
}

/// Walks over attributes: their type without its flags, and their value.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    /// Of these bytes.
    pub fn of(bytes: &'a [u8]) -> Attrs<'a> {
        Attrs(bytes)
    }

    /// The first attribute of a type.
    pub fn find(self, kind: u16) -> Option<&'a [u8]> {
        let mut attrs = self;
        attrs.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes in the first attribute of a type; none if it is not there.
    pub fn nested(self, kind: u16) -> Attrs<'a> {
        Attrs(self.find(kind).unwrap_or_default())
    }

    /// A number of 32 bits in network order.
    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(*self.find(kind)?.first_chunk()?))
    }

    /// A number of 64 bits in network order.
    pub fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(*self.find(kind)?.first_chunk()?))
    }

    /// A text, up to its zero.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        text(self.find(kind)?)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let rest = self.0;
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?) & TYPE_MASK;
        let value = rest.get(4..length)?;
        self.0 = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// A text up to its zero; none if it is no UTF-8.
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
}

/// What the kernel said to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The number of the request.
    pub seq: u32,
    /// An errno, positive; 0 for "done".
    pub errno: i32,
    /// The kernel's own words, if it had any.
    pub text: Option<String>,
    /// Which byte of the request's message is at fault.
    pub offset: Option<usize>,
    /// Which element of the request, counted by its `LINENO` (ipset).
    pub line: Option<u32>,
}

/// Reads an error or acknowledgement; none if the message is something else.
pub fn answer(message: &Message<'_>) -> Option<Answer> {
    const CAPPED: u16 = 0x100;
    const TLVS: u16 = 0x200;
    if message.kind != ERROR {
        return None;
    }
    let error = i32::from_ne_bytes(*message.body.first_chunk()?);
    let mut answer = Answer {
        seq: message.seq,
        errno: error.checked_neg().unwrap_or(i32::MAX),
        text: None,
        offset: None,
        line: None,
    };
    // The request's header comes back, and the request itself unless it was cut.
    let echoed = message.body.get(4..)?;
    let length = echoed.first_chunk().map_or(HEADER, |length| u32::from_ne_bytes(*length) as usize);
    let cut = message.flags & CAPPED != 0;
    let echoed_len = if cut { HEADER } else { length.max(HEADER) };
    if message.flags & TLVS != 0
        && let Some(at) = echoed_len.checked_next_multiple_of(4)
    {
        let attrs = Attrs(echoed.get(at..).unwrap_or_default());
        answer.text = attrs.text(1).map(str::to_owned);
        let offset = attrs.find(2).and_then(|value| value.first_chunk());
        answer.offset = offset.map(|offset| u32::from_ne_bytes(*offset) as usize);
    }
    if !cut {
        let attrs = Attrs(echoed.get(HEADER + 4..echoed_len.min(echoed.len())).unwrap_or_default());
        answer.line = attrs.u32(LINENO);
    }
    Some(answer)
}

/// ipset's attribute for the place of an element, to be found again in an error.
pub const LINENO: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new();
        let message = writer.begin_nf(0x0a0c, ACK, 7, 1, 10);
        writer.put_text(1, "sentryban");
        let list = writer.open(3);
        writer.put(1, &[1, 2, 3, 4, 5]);
        writer.put_u64(4, 1000);
        writer.close(list);
        writer.end(message);
        let found: Vec<Message<'_>> = Messages::of(writer.bytes()).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].flags, found[0].seq), (0x0a0c, ACK | REQUEST, 7));
        assert_eq!(found[0].body[..4], [1, 0, 0, 10]);
        let attrs = found[0].nf_attrs();
        assert_eq!(attrs.text(1), Some("sentryban"));
        assert_eq!(attrs.nested(3).find(1), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(attrs.nested(3).u64(4), Some(1000));
        assert_eq!(attrs.find(9), None);
    }

    #[test]
    fn a_refusal_names_byte_and_reason() {
        // What Linux 6.18 says to an element with a timeout that is too long, capped.
        let mut body = (-34i32).to_ne_bytes().to_vec();
        body.extend_from_slice(&[60, 0, 0, 0, 12, 10, 1, 4, 3, 0, 0, 0, 0, 0, 0, 0]);
        let mut tail = Writer::new();
        tail.put_text(1, "too long");
        tail.put(2, &40u32.to_ne_bytes());
        body.extend_from_slice(tail.bytes());
        let message = Message { kind: ERROR, flags: 0x300, seq: 3, portid: 0, body: &body };
        let expected = Answer {
            seq: 3,
            errno: 34,
            text: Some("too long".to_owned()),
            offset: Some(40),
            line: None,
        };
        assert_eq!(answer(&message), Some(expected));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for message in Messages::of(&bytes) {
                let _ = answer(&message);
                for (_, value) in message.nf_attrs() {
                    let _ = (text(value), Attrs::of(value).count());
                }
            }
        }
    }
}
