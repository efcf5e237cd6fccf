//! A Rust source as the rules see it: comments and texts blanked, paths spelled out.
//!
//! A small reader, not a parser: it knows comments, every kind of text, `use` groups and where a
//! `#[cfg(test)]` item ends. That is all that the rules of `tidy.rs` ask for.

use std::ops::Range;

/// A Rust source with comments and texts blanked out, byte for byte.
pub struct Code {
    text: String,
    tests: Vec<Range<usize>>,
}

/// One path such as `std::fs::File`, spelled out even where it stood in a `use` group.
pub struct UsePath {
    pub at: usize,
    pub parts: Vec<String>,
}

impl Code {
    pub fn read(source: &str) -> Code {
        let text = blank_out(source);
        let mut tests = Vec::new();
        for (at, attribute) in text.match_indices("#[cfg(test)]") {
            let body = at + attribute.len();
            let end = match text[body..].find(['{', ';']) {
                Some(open) if text[body + open..].starts_with('{') => closing(&text, body + open),
                Some(semicolon) => body + semicolon,
                None => text.len(),
            };
            tests.push(at..end);
        }
        Code { text, tests }
    }

    pub fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    pub fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// Where `word` stands on its own, not as the end of a longer name or path.
    pub fn find<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let stands_alone = move |at: &usize| {
            let before = self.text[..*at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$')
        };
        self.text.match_indices(word).map(|(at, _)| at).filter(stands_alone)
    }

    pub fn outside_tests<'a>(
        &'a self,
        words: &'a [&'a str],
    ) -> impl Iterator<Item = (usize, &'a str)> {
        words.iter().flat_map(|word| {
            let found = self.find(word).filter(|at| !self.is_test(*at));
            found.map(|at| (self.line(at), *word))
        })
    }

    /// All paths that begin with `root::`.
    pub fn paths(&self, root: &str) -> Vec<UsePath> {
        let start = format!("{root}::");
        let mut paths = Vec::new();
        for at in self.find(&start) {
            let head = vec![root.to_owned()];
            expand(&mut self.text[at + start.len()..].trim_start(), at, &head, &mut paths);
        }
        paths
    }

    /// Where chains of `super::` begin, and how long they are.
    pub fn super_chains(&self) -> Vec<(usize, usize)> {
        let mut chains = Vec::new();
        let mut last_end = 0;
        for at in self.find("super::") {
            if at == last_end
                && let Some((_, count)) = chains.last_mut()
            {
                *count += 1;
            } else {
                chains.push((at, 1));
            }
            last_end = at + "super::".len();
        }
        chains
    }
}

/// Reads a use tree behind `head::` off `rest` and appends every path in it.
fn expand(rest: &mut &str, at: usize, head: &[String], paths: &mut Vec<UsePath>) {
    if let Some(inside) = rest.strip_prefix('{') {
        *rest = inside.trim_start();
        while !rest.is_empty() && !rest.starts_with('}') {
            let before = rest.len();
            expand(rest, at, head, paths);
            *rest = rest.trim_start().trim_start_matches(',').trim_start();
            if rest.len() == before {
                break; // no use tree, after all
            }
        }
        *rest = rest.strip_prefix('}').unwrap_or(rest).trim_start();
        return;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    *rest = behind.trim_start();
    let mut parts = head.to_vec();
    if !name.is_empty() && name != "self" {
        parts.push(name.to_owned());
    }
    if let Some(tail) = rest.strip_prefix("::").filter(|_| !name.is_empty()) {
        *rest = tail.trim_start();
        return expand(rest, at, &parts, paths);
    }
    *rest = rest.strip_prefix('*').unwrap_or(rest).trim_start();
    if let Some(alias) = rest.strip_prefix("as ") {
        *rest = alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ' ');
    }
    paths.push(UsePath { at, parts });
}

/// The place behind the brace that closes the one at `open`.
fn closing(text: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

/// Blanks comments, texts and characters; newlines stay, so that line numbers do.
fn blank_out(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let in_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let length = if rest.starts_with(b"//") {
            find(rest, b"\n").unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(length) = raw_text(rest).filter(|_| !in_name) {
            length
        } else if rest[0] == b'"' {
            text(rest)
        } else if rest[0] == b'\'' {
            character(rest)
        } else {
            0
        };
        for byte in &mut out[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    String::from_utf8(out).expect("whole characters are blanked, never parts of them")
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `r"…"`, `r#"…"#`, with a `b` or `c` before it, if one begins here.
fn raw_text(rest: &[u8]) -> Option<usize> {
    let mut at = usize::from(matches!(rest, [b'b' | b'c', b'r', ..]));
    if rest.get(at) != Some(&b'r') {
        return None;
    }
    at += 1;
    let hashes = rest[at..].iter().take_while(|byte| **byte == b'#').count();
    at += hashes;
    if rest.get(at) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    Some(find(&rest[at + 1..], &end).map_or(rest.len(), |found| at + 1 + found + end.len()))
}

fn text(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of a character literal, or 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', _, tail @ ..] => find(tail, b"'").map_or(0, |found| found + 4),
        [_, first, tail @ ..] => {
            let more = tail.iter().take_while(|byte| (0x80..0xc0).contains(*byte)).count();
            let closed = tail.get(more) == Some(&b'\'') && *first != b'\'';
            if closed { more + 3 } else { 0 }
        }
        _ => 0,
    }
}
