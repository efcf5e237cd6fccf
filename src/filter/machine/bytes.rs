//! Sets of ASCII bytes, and the bytes with which an expression can begin.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use crate::filter::syntax::{Assert, Class, ClassItem, Node, Set};

/// The tables that are in use, by their sets.
static TABLES: LazyLock<Mutex<HashMap<u128, Weak<[bool; 256]>>>> = LazyLock::new(Mutex::default);
/// Beyond so many, tables are no longer shared.
const TABLES_MAX: usize = 4096;

/// A set of bytes below 128.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bytes(u128);

impl Bytes {
    /// No byte.
    pub const NONE: Bytes = Bytes(0);
    /// Every ASCII byte.
    pub const ALL: Bytes = Bytes(u128::MAX);

    /// One byte.
    pub const fn of(byte: u8) -> Bytes {
        Bytes(if byte < 128 { 1 << byte } else { 0 })
    }

    /// The bytes from `low` to `high`, both included.
    pub fn range(low: u8, high: u8) -> Bytes {
        (low..=high.min(127)).fold(Bytes::NONE, |set, byte| set.or(Bytes::of(byte)))
    }

    /// The bytes of a text.
    pub fn any(text: &[u8]) -> Bytes {
        text.iter().fold(Bytes::NONE, |set, byte| set.or(Bytes::of(*byte)))
    }

    /// As a table, for the places where every nanosecond counts.
    pub fn table(self) -> Table {
        // Expressions are made of a few dozen sets, over and over.
        let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&self.0).and_then(Weak::upgrade) {
            return Table(table);
        }
        if tables.len() >= TABLES_MAX {
            tables.retain(|_, table| table.strong_count() > 0);
        }
        let mut table = [false; 256];
        for byte in 0..128 {
            table[usize::from(byte)] = self.has(byte);
        }
        let table = Arc::new(table);
        if tables.len() < TABLES_MAX {
            tables.insert(self.0, Arc::downgrade(&table));
        }
        Table(table)
    }

    /// True if `byte` is in it.
    #[inline]
    pub const fn has(self, byte: u8) -> bool {
        byte < 128 && self.0 >> byte & 1 == 1
    }

    /// Both.
    pub const fn or(self, other: Bytes) -> Bytes {
        Bytes(self.0 | other.0)
    }

    /// What is in both.
    pub const fn and(self, other: Bytes) -> Bytes {
        Bytes(self.0 & other.0)
    }

    /// What is not in it.
    pub const fn not(self) -> Bytes {
        Bytes(!self.0)
    }

    /// True if nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one byte that is missing, if it is one.
    pub fn all_but(self) -> Option<u8> {
        let missing = !self.0;
        (missing.count_ones() == 1).then(|| missing.trailing_zeros() as u8)
    }

    /// With letters of either case.
    pub fn case_blind(self) -> Bytes {
        let small = Bytes::range(b'a', b'z');
        let large = Bytes::range(b'A', b'Z');
        self.or(Bytes(self.and(small).0 >> 32)).or(Bytes(self.and(large).0 << 32))
    }

    /// The ASCII members of a class.
    pub fn class(class: &Class) -> Bytes {
        let mut set = Bytes::NONE;
        for item in &class.items {
            set = set.or(match item {
                ClassItem::Range(low, high) if low.is_ascii() => {
                    Bytes::range(*low as u8, u8::try_from(*high).unwrap_or(127))
                }
                ClassItem::Range(..) => Bytes::NONE,
                ClassItem::Set(set) => Bytes::set(*set),
            });
        }
        if class.negated { set.not() } else { set }
    }

    fn set(set: Set) -> Bytes {
        let digits = Bytes::range(b'0', b'9');
        let letters = Bytes::range(b'A', b'Z').or(Bytes::range(b'a', b'z'));
        let word = digits.or(letters).or(Bytes::of(b'_'));
        // Python counts the four separators 0x1c to 0x1f as blanks.
        let space = Bytes::range(b'\t', b'\r').or(Bytes::range(0x1c, 0x20));
        match set {
            Set::Digit => digits,
            Set::NotDigit => digits.not(),
            Set::Space => space,
            Set::NotSpace => space.not(),
            Set::Word => word,
            Set::NotWord => word.not(),
        }
    }
}

/// A set that is asked by one look.
#[derive(Clone)]
pub struct Table(Arc<[bool; 256]>);

impl Table {
    /// True if `byte` is in it.
    #[inline(always)]
    pub fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = (0..128_u8).filter(|byte| self.has(*byte));
        f.debug_list().entries(bytes.map(char::from)).finish()
    }
}

/// What an IPv4 address is made of.
pub fn address_bytes() -> Bytes {
    Bytes::set(Set::Digit).or(Bytes::of(b'.'))
}

/// What of a host's name or address can stand next to it: letters, digits and `_.-^:[]`.
pub fn host_bytes() -> Bytes {
    Bytes::set(Set::Word).or(Bytes::any(b".-^:[]"))
}

/// How something begins.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// Bytes that it may take first.
    pub bytes: Bytes,
    /// It may match without looking at the next byte, or in a way that is not known.
    pub open: bool,
}

impl First {
    /// It may match whatever comes.
    pub const OPEN: First = First { bytes: Bytes::NONE, open: true };

    /// The set, if it is known that nothing else will do.
    pub fn known(self) -> Option<Bytes> {
        (!self.open).then_some(self.bytes)
    }

    fn or(self, other: First) -> First {
        First { bytes: self.bytes.or(other.bytes), open: self.open || other.open }
    }
}

/// How `node` begins where `follow` comes behind it.
pub fn first(node: &Node, follow: First, ignore_case: bool) -> First {
    let of = |bytes: Bytes| First {
        bytes: if ignore_case { bytes.case_blind() } else { bytes },
        open: false,
    };
    match node {
        Node::Empty => follow,
        Node::Char(c) => of(u8::try_from(*c).map_or(Bytes::NONE, Bytes::of)),
        Node::Any { newline } => of(if *newline { Bytes::ALL } else { Bytes::of(b'\n').not() }),
        Node::Class(class) => of(Bytes::class(class)),
        // Before the newline, or at the very end, which is never ruled out by a set.
        Node::Assert(Assert::TextEndNewline | Assert::LineEnd) => {
            First { bytes: Bytes::of(b'\n'), open: false }
        }
        // A condition takes nothing and only narrows down what may follow.
        Node::Assert(_) | Node::Look { .. } => follow,
        Node::Capture { node, .. } | Node::Atomic(node) => first(node, follow, ignore_case),
        Node::Host { node, .. } => first(node, follow, ignore_case),
        Node::IgnoreCase(node) => first(node, follow, true),
        Node::BackReference(_) => First::OPEN,
        Node::Conditional { yes, no, .. } => {
            first(yes, follow, ignore_case).or(first(no, follow, ignore_case))
        }
        Node::Concat(items) => {
            items.iter().rev().fold(follow, |follow, item| first(item, follow, ignore_case))
        }
        Node::Alternate(branches) => branches
            .iter()
            .map(|branch| first(branch, follow, ignore_case))
            .reduce(First::or)
            .unwrap_or(follow),
        Node::Repeat { min, node, .. } => {
            let once = first(node, First::OPEN, ignore_case);
            // Whatever may be empty begins as what follows, too.
            if *min == 0 { once.or(follow) } else { once }
        }
    }
}

/// How something begins, as far as two bytes.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// The byte that it may take first.
    pub first: First,
    /// The byte that may come next, taken by it or by what follows.
    pub second: First,
}

impl Heads {
    /// Nothing is known.
    pub const OPEN: Heads = Heads { first: First::OPEN, second: First::OPEN };

    fn or(self, other: Heads) -> Heads {
        Heads { first: self.first.or(other.first), second: self.second.or(other.second) }
    }
}

/// The first two bytes of `node` where `follow` comes behind it.
pub fn heads(node: &Node, follow: Heads, ignore_case: bool) -> Heads {
    let inside = |node: &Node| heads(node, follow, ignore_case);
    match node {
        Node::Char(_) | Node::Any { .. } | Node::Class(_) => {
            Heads { first: first(node, First::OPEN, ignore_case), second: follow.first }
        }
        Node::Assert(Assert::TextEndNewline | Assert::LineEnd) => {
            Heads { first: first(node, First::OPEN, ignore_case), second: First::OPEN }
        }
        Node::Empty | Node::Assert(_) | Node::Look { .. } => follow,
        Node::Capture { node, .. } | Node::Atomic(node) | Node::Host { node, .. } => inside(node),
        Node::IgnoreCase(node) => heads(node, follow, true),
        Node::BackReference(_) => Heads::OPEN,
        Node::Conditional { yes, no, .. } => inside(yes).or(inside(no)),
        Node::Concat(items) => {
            items.iter().rev().fold(follow, |follow, item| heads(item, follow, ignore_case))
        }
        Node::Alternate(branches) => {
            branches.iter().map(inside).reduce(Heads::or).unwrap_or(follow)
        }
        Node::Repeat { min, max, node, .. } => {
            let again = Heads { first: first(node, First::OPEN, ignore_case), second: First::OPEN };
            let behind = if *max == Some(1) { follow } else { again.or(follow) };
            let once = heads(node, behind, ignore_case);
            if *min == 0 { once.or(follow) } else { once }
        }
    }
}

/// True if `node` may match the empty text.
pub fn may_be_empty(node: &Node) -> bool {
    match node {
        Node::Char(_) | Node::Any { .. } | Node::Class(_) => false,
        Node::Empty | Node::Assert(_) | Node::Look { .. } | Node::BackReference(_) => true,
        Node::Capture { node, .. }
        | Node::IgnoreCase(node)
        | Node::Atomic(node)
        | Node::Host { node, .. } => may_be_empty(node),
        Node::Conditional { yes, no, .. } => may_be_empty(yes) || may_be_empty(no),
        Node::Concat(items) => items.iter().all(may_be_empty),
        Node::Alternate(branches) => branches.iter().any(may_be_empty),
        Node::Repeat { min, node, .. } => *min == 0 || may_be_empty(node),
    }
}
