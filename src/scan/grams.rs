//! `Grams`: finds which of many texts stand in a block, looking at every few bytes only.
//!
//! Of each text a window is known, and all windows are `stride + 3` bytes long. So wherever a text
//! stands, one of the places that are `stride` bytes apart falls on the first of four bytes that
//! lie within its window. Those four bytes, for all texts and all the ways they can fall, are in a
//! table; what the table knows is compared in full. Windows are chosen where a text is least like
//! the rest of a log.

/// Bytes that are looked at together.
const GRAM: usize = 4;
/// Beyond this stride it is the reading of the block that takes the time.
const STRIDE_MAX: usize = 8;
/// Below this stride an automaton does as well.
const STRIDE_MIN: usize = 2;
/// The table has so many bits, as a power of two: four KiB stay in the nearest cache.
const BITS: u32 = 15;
/// Places that are looked up before any that the table knows is looked at.
const AT_ONCE: usize = 8;
/// With more entries the table would know too much.
const ENTRIES_MAX: usize = 1 << 11;

/// The table.
#[derive(Clone, Debug)]
pub struct Grams {
    texts: Vec<Box<[u8]>>,
    stride: usize,
    /// One bit for each hash of four bytes.
    known: Box<[u8; 1 << (BITS - 3)]>,
    /// In the order of their bytes.
    entries: Vec<Entry>,
}

/// Four bytes of a text.
#[derive(Clone, Copy, Debug)]
struct Entry {
    gram: u32,
    text: u16,
    /// Where in the text they stand.
    offset: u16,
}

/// A text that was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    /// Where it begins.
    pub at: usize,
    /// Its number.
    pub text: usize,
}

impl Grams {
    /// The table of `texts`; `None` if it would be a poor one.
    pub fn new(texts: &[&[u8]]) -> Option<Grams> {
        let shortest = texts.iter().map(|text| text.len()).min()?;
        let stride = (shortest + 1).checked_sub(GRAM)?.min(STRIDE_MAX);
        if stride < STRIDE_MIN || texts.len() * stride > ENTRIES_MAX {
            return None;
        }
        let mut grams = Grams {
            texts: texts.iter().map(|text| (*text).into()).collect(),
            stride,
            known: Box::new([0; 1 << (BITS - 3)]),
            entries: Vec::with_capacity(texts.len() * stride),
        };
        for (number, text) in texts.iter().enumerate() {
            let from = best_window(text, stride);
            for offset in from..from + stride {
                grams.add(number, text, offset)?;
            }
        }
        grams.entries.sort_by_key(|entry| entry.gram);
        Some(grams)
    }

    fn add(&mut self, number: usize, text: &[u8], offset: usize) -> Option<()> {
        let gram = gram_at(text, offset)?;
        let (text, offset) = (u16::try_from(number).ok()?, u16::try_from(offset).ok()?);
        self.entries.push(Entry { gram, text, offset });
        let place = hash(gram);
        *self.known.get_mut(place >> 3)? |= 1 << (place & 7);
        Some(())
    }

    /// A text that stands in the block from byte `from` on. No text ends before a place at which
    /// the one that is found begins; within the same line, others may stand before it.
    #[inline]
    pub fn find(&self, block: &[u8], from: usize) -> Option<Found> {
        let mut found = None;
        self.scan(block, from, &mut |one| {
            found = Some(one);
            true
        });
        found
    }

    /// Hears of every text in `block`, some of them more than once.
    #[inline]
    pub fn all(&self, block: &[u8], mut hear: impl FnMut(usize)) {
        self.scan(block, 0, &mut |found| {
            hear(found.text);
            false
        });
    }

    fn scan(&self, block: &[u8], from: usize, stop: &mut impl FnMut(Found) -> bool) {
        match self.stride {
            2 => self.scan_by::<2>(block, from, stop),
            3 => self.scan_by::<3>(block, from, stop),
            4 => self.scan_by::<4>(block, from, stop),
            5 => self.scan_by::<5>(block, from, stop),
            6 => self.scan_by::<6>(block, from, stop),
            7 => self.scan_by::<7>(block, from, stop),
            _ => self.scan_by::<8>(block, from, stop),
        }
    }

    #[inline]
    fn scan_by<const STRIDE: usize>(
        &self,
        block: &[u8],
        from: usize,
        stop: &mut impl FnMut(Found) -> bool,
    ) {
        let mut at = from;
        while let Some(places) = block.get(at..at + AT_ONCE * STRIDE + GRAM) {
            let mut known = 0;
            for number in 0..AT_ONCE {
                let gram = gram_at(places, number * STRIDE).unwrap_or_default();
                known |= u32::from(self.knows(gram) & 1) << number;
            }
            while known != 0 {
                let number = known.trailing_zeros() as usize;
                known &= known - 1;
                if self.look(block, at + number * STRIDE, from, stop) {
                    return;
                }
            }
            at += AT_ONCE * STRIDE;
        }
        while at + GRAM <= block.len() {
            if self.look(block, at, from, stop) {
                return;
            }
            at += STRIDE;
        }
    }

    /// The lowest bit tells; the others mean nothing.
    #[inline(always)]
    fn knows(&self, gram: u32) -> u8 {
        let place = hash(gram);
        self.known[place >> 3] >> (place & 7)
    }

    /// Looks for texts around one place.
    fn look(
        &self,
        block: &[u8],
        at: usize,
        from: usize,
        stop: &mut impl FnMut(Found) -> bool,
    ) -> bool {
        let Some(gram) = gram_at(block, at) else { return false };
        self.knows(gram) & 1 != 0 && self.compare(gram, block, at, from, stop)
    }

    fn compare(
        &self,
        gram: u32,
        block: &[u8],
        at: usize,
        from: usize,
        stop: &mut impl FnMut(Found) -> bool,
    ) -> bool {
        let first = self.entries.partition_point(|entry| entry.gram < gram);
        let entries = self.entries.get(first..).unwrap_or_default();
        for entry in entries.iter().take_while(|entry| entry.gram == gram) {
            let start = at.checked_sub(usize::from(entry.offset)).filter(|start| *start >= from);
            let text = self.texts.get(usize::from(entry.text));
            if let (Some(start), Some(text)) = (start, text)
                && block.get(start..).is_some_and(|rest| rest.starts_with(text))
                && stop(Found { at: start, text: usize::from(entry.text) })
            {
                return true;
            }
        }
        false
    }
}

#[inline(always)]
fn gram_at(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + GRAM)?.first_chunk().map(|gram| u32::from_le_bytes(*gram))
}

#[inline(always)]
fn hash(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BITS)) as usize
}

/// Where the window of a text begins that is least like a log.
fn best_window(text: &[u8], stride: usize) -> usize {
    let cost = |from: usize| -> u64 {
        let grams = text.get(from..from + stride + GRAM - 1).unwrap_or_default().windows(GRAM);
        grams.map(rate).sum()
    };
    let last = (text.len() + 1).saturating_sub(stride + GRAM);
    (0..=last).min_by_key(|from| cost(*from)).unwrap_or(0)
}

/// How often four bytes stand in logs, in comparison.
fn rate(gram: &[u8]) -> u64 {
    let by_bytes: u64 = gram.iter().map(|byte| commonness(*byte)).product();
    // What stands in every other line is worse than any bytes could tell.
    let is_common = memchr::memmem::find(COMMON_WORDS, gram).is_some();
    if is_common { by_bytes.saturating_mul(64) + (1 << 30) } else { by_bytes }
}

/// What logs are full of.
const COMMON_WORDS: &[u8] = b"kernel: [ systemd[1]: session-started. session opened for user root \
    session closed for user (uid=0) Connection from port closed by authenticating invalid user \
    port ssh2 [preauth] Accepted publickey for disconnected from user  Failed password for \
    Invalid user from pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh \
    ruser= rhost= status=sent success successfully connect from unknown disconnect from \
    warning: info: error: notice: postfix/smtpd smtpd[ client query: request GET /index POST / \
    HTTP/1.1\" 200 \" 404 Mozilla/5.0 (Windows AppleWebKit Safari Gecko Chrome https://www. .com \
    blocked blocking denied attack message-id= from=< to=< relay= delay= size= queue active removed \
    host daemon process service mail login logged out server local address domain";

/// How often a byte stands in logs, roughly, in thousandths.
fn commonness(byte: u8) -> u64 {
    match byte {
        b' ' => 130,
        b'e' | b't' | b'o' | b's' | b'r' | b'n' | b'i' | b'a' => 50,
        b'0'..=b'9' | b'd' | b'l' | b'c' | b'm' | b'u' | b'p' | b'f' | b'h' => 25,
        b':' | b'.' | b'-' | b'/' | b'[' | b']' | b'=' => 20,
        b'a'..=b'z' => 12,
        b'A'..=b'Z' | b'"' | b'(' | b')' | b',' | b'_' => 6,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts at every place of blocks, also within and beside each other, are found just where a
    /// plain search finds them.
    #[test]
    fn what_a_plain_search_finds_is_found() {
        let sets: [&[&str]; 5] = [
            &["hello", "yellow"],
            &["Failed password", "failure;", "assword", "Failed password for"],
            &["aaaaa", "aaaaaa", "baaaab"],
            &["]: attackalert: Connect", " from host: ", "NOTICE", "\u{b4}\u{436}\u{e9}"],
            &["twelve bytes and more than that", "quite as long as the other"],
        ];
        let mut random = 5_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut found_any = 0;
        for texts in sets {
            let bytes: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
            let grams = Grams::new(&bytes).unwrap();
            for _ in 0..3000 {
                let mut block = Vec::new();
                for _ in 0..next(12) {
                    let text = bytes[next(bytes.len())];
                    match next(4) {
                        0 => block.extend(text),
                        1 => block.extend(&text[..next(text.len())]),
                        2 => block.extend(&text[next(text.len())..]),
                        _ => block.resize(block.len() + next(9), b"a e\xb4"[next(4)]),
                    }
                }
                let from = next(block.len() + 2);
                let stands = |from: usize| {
                    let mut all = Vec::new();
                    for (number, text) in bytes.iter().enumerate() {
                        for at in from..block.len() {
                            if block[at..].starts_with(text) {
                                all.push((at, number));
                            }
                        }
                    }
                    all
                };
                let expected = stands(from);
                match grams.find(&block, from) {
                    Some(found) => {
                        assert!(expected.contains(&(found.at, found.text)), "{texts:?} {block:?}");
                        let before =
                            expected.iter().find(|(at, n)| at + bytes[*n].len() <= found.at);
                        assert_eq!(before, None, "{texts:?} {block:?}");
                        found_any += 1;
                    }
                    None => assert_eq!(expected, [], "{texts:?} {block:?}"),
                }
                let mut numbers: Vec<usize> = stands(0).iter().map(|(_, n)| *n).collect();
                let mut heard = Vec::new();
                grams.all(&block, |number| heard.push(number));
                numbers.sort();
                numbers.dedup();
                heard.sort();
                heard.dedup();
                assert_eq!(heard, numbers, "{texts:?} {block:?}");
            }
        }
        assert!(found_any > 5000);
    }

    #[test]
    fn short_texts_and_too_many_make_no_table() {
        assert!(Grams::new(&[]).is_none());
        assert!(Grams::new(&[b"four", b"longer than four"]).is_none());
        let many: Vec<String> = (0..3000).map(|n| format!("text number {n}")).collect();
        let many: Vec<&[u8]> = many.iter().map(|text| text.as_bytes()).collect();
        assert!(Grams::new(&many).is_none());
    }
}
