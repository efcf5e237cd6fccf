//! Failregexes: the quick machine and the engines agree on what they find, in bounded time, and
//! what is told of an expression beforehand holds.
//!
//! The first line of the input is the expression (behind a `+`: one for several lines), the rest
//! are texts, parted by bytes 0x1e.

#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use sentryban::filter::{Hit, OutOfSteps, Pattern, UseDns};

/// Far more than a search may take, since the sanitizer and other work slow it down.
const SEARCH_MAX: Duration = Duration::from_secs(1);

fuzz_target!(|bytes: &[u8]| {
    let head = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (source, texts) = bytes.split_at(head);
    let source = String::from_utf8_lossy(source);
    let (source, multiline) = match source.strip_prefix('+') {
        Some(source) => (source, true),
        None => (&*source, false),
    };
    let Ok(pattern) = Pattern::new(source, UseDns::Warn, multiline) else { return };
    for text in texts.get(1..).unwrap_or_default().split(|byte| *byte == 0x1e) {
        let mut text = String::from_utf8_lossy(text).into_owned();
        text.push('\n');
        let ascii = text.replace(|c: char| !c.is_ascii(), "?");
        search(&pattern, &text);
        if ascii != text {
            search(&pattern, &ascii);
        }
    }
});

fn search(pattern: &Pattern, text: &str) {
    let (mut hit, mut other) = (Hit::default(), Hit::default());
    let found = timed(text, || pattern.search(text, &mut hit));
    let by_engine = timed(text, || pattern.search_by_engine(text, &mut other));
    if let (Ok(found), Ok(by_engine)) = (found, by_engine) {
        assert_eq!(found, by_engine, "in {text:?}");
        if found {
            assert_eq!(span(text, &hit), span(text, &other), "in {text:?}");
            assert_eq!(hit.groups, other.groups, "in {text:?}");
        }
    }
    if found == Ok(true) {
        for range in hit.groups.iter().flatten().chain([&hit.span]) {
            assert!(text.get(range.clone()).is_some(), "{range:?} is no part of {text:?}");
        }
        if let Some(required) = pattern.required() {
            assert!(
                required.0.iter().any(|literal| memmem(text.as_bytes(), literal)),
                "found in {text:?} without any of {required:?}"
            );
        }
        let first = text.bytes().next().filter(u8::is_ascii);
        if let (Some(set), Some(first)) = (pattern.first_bytes(), first) {
            assert!(set.has(first), "found in {text:?}, which it does not begin with");
        }
    }
    let is_line = text.find('\n') == Some(text.len() - 1) && text.len() > 1;
    if is_line && found == Ok(false) {
        assert!(!pattern.takes_every_line(), "but not {text:?}");
    }
}

/// The linear engine may hold the newline that `$` stands before.
fn span(text: &str, hit: &Hit) -> (usize, String) {
    (
        hit.span.start,
        text.get(hit.span.clone()).unwrap_or_default().trim_end_matches('\n').to_owned(),
    )
}

/// The first search may build an engine, which takes its time, once; every other must be quick.
fn timed(
    text: &str,
    mut search: impl FnMut() -> Result<bool, OutOfSteps>,
) -> Result<bool, OutOfSteps> {
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let found = search();
        least = least.min(start.elapsed());
        if least < SEARCH_MAX {
            return found;
        }
    }
    panic!("{least:?} for {} bytes", text.len())
}

fn memmem(text: &[u8], literal: &[u8]) -> bool {
    text.windows(literal.len()).any(|window| window == literal)
}
