//! What counts as a letter, a digit, a blank; sets of characters; upper and lower case.
//!
//! Python's `re` decides here: `\w` is every letter or number of Unicode and `_`, `\d` every
//! decimal digit, `\s` what `str.isspace` says. ASCII is answered from a bit map, all else from
//! the tables that `regex-syntax` brings along.

use std::sync::OnceLock;

use regex_syntax::hir::{Class as HirClass, HirKind};

/// One of the three classes that have a letter of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Digit,
    Space,
    Word,
}

impl Class {
    /// Whether `c` belongs to the class; with `ascii`, nothing beyond ASCII does.
    pub(super) fn has(self, c: char, ascii: bool) -> bool {
        if ascii && !c.is_ascii() {
            return false;
        }
        match self {
            Class::Digit => is_digit(c),
            Class::Space => is_space(c) && !(ascii && matches!(c, '\x1c'..='\x1f')),
            Class::Word => is_word(c),
        }
    }
}

/// `\w`: a letter, a number or `_`.
pub(crate) fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || c == '_' } else { within(word_ranges(), c) }
}

/// `\s`: white space, and the four ASCII separators that Python counts among it.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `\d`: a decimal digit of any script.
pub(crate) fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { within(digit_ranges(), c) }
}

/// The value of a decimal digit of any script. Every script's ten digits stand in a row, and rows
/// that touch each other are whole, so the place in the range tells the value.
pub(crate) fn digit_value(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    let range = digit_ranges().iter().find(|(low, high)| (*low..=*high).contains(&c))?;
    Some((u32::from(c) - u32::from(range.0)) % 10)
}

/// The form under which two characters are compared when case does not count.
pub(super) fn fold(c: char) -> char {
    match c {
        'A'..='Z' => c.to_ascii_lowercase(),
        '\0'..='\x7f' => c,
        'ſ' => 's',
        'İ' | 'ı' => 'i',
        _ => {
            let mut lower = c.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
    }
}

fn word_ranges() -> &'static [(char, char)] {
    static RANGES: OnceLock<Vec<(char, char)>> = OnceLock::new();
    RANGES.get_or_init(|| ranges(r"[\p{L}\p{N}_]"))
}

fn digit_ranges() -> &'static [(char, char)] {
    static RANGES: OnceLock<Vec<(char, char)>> = OnceLock::new();
    RANGES.get_or_init(|| ranges(r"\p{Nd}"))
}

fn ranges(class: &str) -> Vec<(char, char)> {
    let Ok(hir) = regex_syntax::parse(class) else { return Vec::new() };
    match hir.kind() {
        HirKind::Class(HirClass::Unicode(found)) => {
            found.iter().map(|range| (range.start(), range.end())).collect()
        }
        _ => Vec::new(),
    }
}

fn within(ranges: &[(char, char)], c: char) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= c);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, high)| c <= *high)
}

/// A piece of a set, as written between brackets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    Range(char, char),
    Class { class: Class, negated: bool },
}

/// A set of characters: `[…]`, or a class by itself.
#[derive(Clone, Debug)]
pub(super) struct Set {
    ascii: u128,
    pieces: Vec<Piece>,
    negated: bool,
    ignore_case: bool,
    ascii_classes: bool,
}

impl Set {
    pub(super) fn new(
        pieces: Vec<Piece>,
        negated: bool,
        ignore_case: bool,
        ascii_classes: bool,
    ) -> Set {
        let mut set = Set { ascii: 0, pieces, negated, ignore_case, ascii_classes };
        for byte in 0..128u8 {
            if set.look_up(char::from(byte)) {
                set.ascii |= 1 << byte;
            }
        }
        set
    }

    /// Whether `c` is in the set.
    #[inline]
    pub(super) fn has(&self, c: char) -> bool {
        if c.is_ascii() { self.ascii >> (c as u32) & 1 == 1 } else { self.look_up(c) }
    }

    /// Whether the set may hold a character beyond ASCII; says yes when in doubt.
    pub(super) fn may_hold_beyond_ascii(&self) -> bool {
        self.negated
            || self.ignore_case
            || self.pieces.iter().any(|piece| match piece {
                Piece::Range(_, high) => !high.is_ascii(),
                Piece::Class { .. } => true,
            })
    }

    fn look_up(&self, c: char) -> bool {
        let mut held = self.holds(c);
        if !held && self.ignore_case {
            held = same_but_case(c).into_iter().flatten().any(|other| self.holds(other));
        }
        held != self.negated
    }

    fn holds(&self, c: char) -> bool {
        self.pieces.iter().any(|piece| match *piece {
            Piece::Range(low, high) => (low..=high).contains(&c),
            Piece::Class { class, negated } => class.has(c, self.ascii_classes) != negated,
        })
    }
}

/// The characters that equal `c` when case does not count, besides itself.
fn same_but_case(c: char) -> [Option<char>; 4] {
    let low = fold(c);
    let mut upper = c.to_uppercase();
    let high = match (upper.next(), upper.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    };
    let [odd, odder] = match low {
        's' => [Some('ſ'), Some('S')],
        'k' => [Some('\u{212a}'), Some('K')],
        'i' => [Some('İ'), Some('ı')],
        _ => [None, None],
    };
    [Some(low), high, odd, odder]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_python() {
        assert!(is_word('é') && is_word('٣') && is_word('²') && !is_word('\u{301}'));
        assert!(is_space('\x1c') && is_space('\u{a0}') && !is_space('\u{200b}'));
        assert_eq!(digit_value('٣'), Some(3));
        assert_eq!(digit_value('𝟡'), Some(9));
        assert_eq!(digit_value('²'), None);
    }

    #[test]
    fn case_is_ignored_in_sets_too() {
        let set = Set::new(vec![Piece::Range('a', 'm')], false, true, false);
        assert!(set.has('K') && set.has('\u{212a}') && !set.has('s'));
        let set = Set::new(vec![Piece::Range('S', 'S')], true, true, false);
        assert!(!set.has('s') && !set.has('ſ') && set.has('t'));
    }
}
