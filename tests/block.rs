//! A block of a log scanned at once comes to the same as its lines one by one, whatever is in it:
//! random and hostile logs through the shipped filters and through small ones made to be difficult.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says by failing what is wrong"
)]

mod common;

use std::{cell::Cell, collections::BTreeMap};

use common::Random;
use sentryban::{
    config::{FilterSource, Tree, read_filter},
    date::DateDetector,
    filter::{Filter, FilterSpec, Hit, UseDns},
    place::{Located, Place},
    scan::{Failure, Scan, ScanOptions, Scanner, Tally, Wants, survey::Survey},
    time::{Timestamp, Zone},
};

/// 2026-03-03 04:05:10 UTC: right behind the dates of the logs, so that undated lines borrow them.
const NOW: Timestamp = Timestamp::from_secs(1_772_510_710);

/// Dates in the forms that are known by their bytes and in others; those behind are impossible.
const DATES: [&str; 14] = [
    "Mar  3 04:05:06",
    "Mar  3 04:05:07",
    "Tue Mar 03 04:05:08 2026",
    "2026-03-03 04:05:06",
    "2026-03-03T04:05:07.123456+00:00",
    "2026-03-03T04:05:08Z",
    "[03/Mar/2026:04:05:09 +0000]",
    "03/Mar/2026:04:05:09",
    "1772510706",
    "@4000000069a65d4a00000000",
    "Feb 31 04:05:06",
    "2026-02-30 04:05:06",
    "2026-03-03 23:59:61",
    "[31/Feb/2026:04:05:09 +0000]",
];

#[test]
fn shipped_filters_make_the_same_of_a_block_as_of_its_lines() {
    let tree = Tree::new(None);
    let mut random = Random(1);
    let mut matched = 0;
    for (number, name) in tree.names("filter.d").into_iter().enumerate() {
        let Some(samples) = samples(&name) else { continue };
        let (spec, _) = read_filter(&tree, FilterSource::Name(&name), &[], "auto").unwrap();
        // Building the form of each expression for Unicode takes most of the time, so that only some
        // filters see other than ASCII.
        let ascii = number % 6 > 0;
        let filter = compiled(&spec, ascii);
        let dates = spec.datepattern.as_ref().map(|pattern| pattern.value.as_str());
        for check_all in [false, true] {
            let mut log = log(&mut random, &samples, 70);
            if ascii {
                log.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
            }
            let options = ScanOptions { check_all, ..ScanOptions::default() };
            matched +=
                Case { name: &name, filter: &filter, dates, options, log: &log }.check(&mut random);
        }
    }
    assert!(matched > 300, "only {matched} lines matched");
}

/// Failregexes, prefregex, ignoreregexes, how many lines the buffer holds, and date pattern.
type Small =
    (&'static [&'static str], &'static str, &'static [&'static str], u32, Option<&'static str>);

const SMALL: &[Small] = &[
    (&["^bad <HOST>$"], "", &[], 1, None),
    (&["bad word from <ADDR>", "^worse: <F-ID>.*</F-ID> is out"], "", &[], 1, None),
    // The date may stand within a text that is required.
    (
        &[r"^\S+ refuses <SUBNET>", "gone wrong <HOST>"],
        "",
        &[],
        1,
        Some("%ExY-%Exm-%Exd %ExH:%ExM:%ExS\n{DEFAULT}"),
    ),
    (&["refuses <HOST> gone", "refuses <HOST>"], "", &["root", "wheel"], 1, None),
    (
        &[
            "bad <HOST>",
            "worse: <HOST>",
            "refuses <HOST>",
            "gone <HOST>",
            "let <HOST>",
            "odd <HOST>",
        ],
        "",
        &["root"],
        1,
        None,
    ),
    // A prefregex that takes every line, one that does not, one that cuts the end off.
    (
        &["^bad (?:word from )?<ADDR>"],
        r"^(?:host )?(?:app(?:\[\d+\])?: )?<F-CONTENT>.+</F-CONTENT>$",
        &[],
        1,
        None,
    ),
    (&["^bad (?:word from )?<ADDR>"], r"app(?:\[\d+\])?: <F-CONTENT>.+</F-CONTENT>$", &[], 1, None),
    (
        &["bad (?:word from )?<ADDR>$"],
        r"^<F-CONTENT>.+?</F-CONTENT>(?: is out| gone)?$",
        &["root"],
        1,
        None,
    ),
    (
        &["^bad", "^worse: \\S+"],
        r"^(?:host )?app\[<F-MLFID>\d+</F-MLFID>\]: <F-CONTENT>.+</F-CONTENT>$",
        &[],
        1,
        None,
    ),
    // Sessions.
    (
        &[
            r"^<F-MLFID>s\d</F-MLFID>: <F-NOFAIL>come</F-NOFAIL> from <ADDR>",
            r"^<F-MLFID>s\d</F-MLFID>: bad word(?: for <F-USER>\w*</F-USER>)?",
            r"^<F-MLFID>s\d</F-MLFID>: <F-MLFGAINED>let in</F-MLFGAINED>",
            r"^<F-MLFID>s\d</F-MLFID>: <F-MLFFORGET>gone</F-MLFFORGET>",
        ],
        "",
        &[],
        1,
        None,
    ),
    // Sessions that are named by the end of a line.
    (
        &[
            r"<F-MLFID>s\d: gone\s+</F-MLFID>",
            r"<F-NOFAIL>come</F-NOFAIL> from <F-MLFID>\S+\s+</F-MLFID>",
            r"<F-MLFID>s\d: <F-USER>bad\s+\w+\s*</F-USER></F-MLFID>",
        ],
        "",
        &[],
        1,
        None,
    ),
    // A buffer of several lines.
    (&["^bad <HOST>$", "^come from <HOST>$<SKIPLINES>^gone wrong"], "", &["root"], 3, None),
    // Beyond the quick machine: references back, case, looking back, names of nothing.
    (
        &[
            r"^(['\x22])<F-ID>\w*</F-ID>\1 is out",
            "(?i)WORSE: <HOST>",
            r"bad <F-ID>\S*</F-ID>(?<!x)$",
        ],
        "",
        &[],
        1,
        None,
    ),
    (
        &[r"^(?:b|ba)*d <F-ID>\S*</F-ID>", "^worse: <F-ID></F-ID>", "is <HOST>?out"],
        "",
        &[],
        1,
        None,
    ),
    // Ignored before anything else, whatever the lines begin with.
    (&["^bad<F-ID/>", "^bad <HOST>", "^worse: <HOST>", "^x <HOST>"], "", &["root"], 1, None),
    (&["^ bad <HOST>", "^ worse: <HOST>", "^ x <HOST>", "^ s1: <HOST>"], "", &["root"], 1, None),
    // Nothing to find, and yet a prefix to be counted.
    (&[], "app", &[], 1, None),
    (&[], "app<F-ID>.</F-ID>", &[], 3, None),
    // What the lines of a file do not hold as the text that is searched does.
    (&["bad <HOST>\n"], "", &[], 1, None),
    (&["worse\u{fffd}: <HOST>"], "", &[], 1, None),
    // Dates: none, at the end, several forms of which one says that there is none.
    (&["bad <HOST>"], "", &[], 1, Some("{NONE}")),
    (&["bad <HOST>"], "", &[], 1, Some("%ExY-%Exm-%Exd %ExH:%ExM:%ExS$")),
    (&["bad <HOST>", "refuses <HOST>"], "", &[], 1, Some("^EPOCH\n^%b %d %H:%M:%S\n{NONE}")),
    (&["^(?:host )?bad <HOST>"], "", &[], 1, Some("^%Y-%m-%d")),
];

const LINES: &[&str] = &[
    "bad 192.0.2.1",
    "host app[7]: bad 192.0.2.2",
    "app: bad word from 192.0.2.3",
    "host app[1]: bad word from 2001:db8::3 is out",
    "worse: one\u{e9} is out",
    "worse: is out",
    "worse: mail.example.org",
    "worse\u{fffd}: 192.0.2.4",
    "x refuses 192.0.2.0/24",
    "x refuses [2001:db8::]/64 gone",
    "refuses root bad 127.0.0.1",
    "gone wrong host.example.org",
    "s1: come from 192.0.2.5",
    "s2: come from 192.0.2.6",
    "s1: bad word for joe",
    "s1: bad word for root",
    "s2: bad word",
    "s2: let in",
    "s1: gone",
    "come from 192.0.2.7",
    "gone wrong",
    "\"who\" is out",
    "bababad who",
    "let me odd 192.0.2.8 be wheel",
    "quite harmless",
    "bad bad 192.0.2.9 bad 192.0.2.9",
];

#[test]
fn difficult_filters_make_the_same_of_a_block_as_of_its_lines() {
    let mut random = Random(2);
    let mut matched = 0;
    let samples: Vec<String> = LINES.iter().map(|line| format!("{} {line}", DATES[0])).collect();
    for (number, small) in SMALL.iter().enumerate() {
        let filter = compiled(&spec(small), false);
        for round in 0..5 {
            let log = log(&mut random, &samples, 80);
            let options = ScanOptions {
                check_all: round % 2 == 1,
                keep_pending: round % 3 == 1,
                raw_hosts: round % 3 == 2,
                assume_now: round > 3,
            };
            let name = format!("small filter {number}");
            let case = Case { name: &name, filter: &filter, dates: small.4, options, log: &log };
            matched += case.check(&mut random);
        }
    }
    assert!(matched > 500, "only {matched} lines matched");
}

/// A filter, and a log of which a block once told something else than its lines. The first line
/// teaches the date's place, since nothing is told quickly before that.
#[test]
fn logs_that_once_came_to_different_things() {
    let unlike: &[(&str, Small, &[u8])] = &[
        (
            "a date that no calendar has is cut only where no other date is near",
            (&["^bad <HOST>", "bad <HOST>"], "", &[], 1, None),
            b"2026-03-03 04:05:06 x\n2026-02-31 04:05:07bad 192.0.2.1\n2026-03-03 23:59:61bad 192.0.2.2\n",
        ),
        (
            "a date that no calendar has is no last date",
            (&["bad <HOST>"], "", &[], 1, None),
            b"2026-03-03 04:05:06 x\n2026-03-03 04:05:07 x\n2026-02-31 04:05:08 x\nbad 192.0.2.1\n",
        ),
        (
            "a line that has no date of its own leaves the last one as it is",
            (&["bad <HOST>"], "", &[], 1, Some("^EPOCH\n{NONE}")),
            b"x\n1772510706 x\nx\nx\n1772510707 x\nx\nbad 192.0.2.1\n",
        ),
        (
            "the last line may lack its newline",
            (&["bad <HOST>"], "", &[], 1, None),
            b"2026-03-03 04:05:06 x\n2026-03-03 04:05:07 bad 192.0.2.1",
        ),
        (
            "the last line may lack its newline, and others may have more than that",
            (&["<HOST> bad\n"], "", &[], 1, None),
            b"2026-03-03 04:05:06 x\n2026-03-03 04:05:07 192.0.2.1 bad\r\n2026-03-03 04:05:07 192.0.2.1 bad",
        ),
        (
            "U+FFFD stands for what is no UTF-8",
            (&["bad\u{fffd} <HOST>"], "", &[], 1, None),
            b"2026-03-03 04:05:06 x\n2026-03-03 04:05:07 bad\xff 192.0.2.1\n",
        ),
    ];
    for (what, small, log) in unlike {
        let filter = compiled(&spec(small), false);
        let options = ScanOptions::default();
        let case = Case { name: what, filter: &filter, dates: small.4, options, log };
        assert!(case.check(&mut Random(3)) > 0, "{what}: nothing matched");
    }
}

/// Stamps as a log repeats them, where `@` may be any digit from one line to the next.
const STEADY: [&str; 7] = [
    "Mar  3 04:05:@@",
    "2026-03-03 04:05:0@",
    "2026-03-03T04:05:@@.@@@@@@+00:00",
    "2026-03-03 04:05:1@,@@@",
    "2026-03-03T04:05:2@Z",
    "2026-03-03 04:05:@@ +0100",
    "1772510@@@",
];

/// Most lines of a log are dated like the one before and hold nothing of interest, and go by in
/// runs. Here they do, up to lines that only look like it.
#[test]
fn runs_of_like_lines_make_the_same_of_a_block_as_of_its_lines() {
    let mut random = Random(4);
    let mut matched = 0;
    for (number, small) in SMALL.iter().enumerate() {
        let filter = compiled(&spec(small), false);
        for round in 0..6 {
            let log = steady_log(&mut random, LINES, 150);
            let options = ScanOptions { check_all: round % 2 == 1, ..ScanOptions::default() };
            let name = format!("small filter {number}");
            let case = Case { name: &name, filter: &filter, dates: small.4, options, log: &log };
            matched += case.check(&mut random);
        }
    }
    assert!(matched > 1000, "only {matched} lines matched");
}

/// So many texts that they are not searched for as few are, and failregexes that require none.
#[test]
fn many_texts_make_the_same_of_a_block_as_of_its_lines() {
    let mut fails: Vec<String> = (0..45)
        .map(|n| match n % 5 {
            0 => format!(r"^\s*\S+ (?:app|tool)\[\d+\]: text number {n} of <HOST>"),
            1 => format!(r"^ host app: text number {n}\d? of <HOST>$"),
            2 => format!("text number {n} of <ADDR>"),
            3 => format!(r"^<HOST> text number {n}"),
            _ => format!(r"^(?:\[\])? host \S+ \w+ number {n} of <F-ID>\w+</F-ID>"),
        })
        .collect();
    fails.extend([r"^\s[+-]\d{4} <HOST>", r"^\s*\(<HOST>", "^<HOST> odd"].map(str::to_owned));
    let mut lines: Vec<String> = (0..60)
        .map(|n| match n % 6 {
            0 => format!("host app[7]: text number {n} of 192.0.2.{n}"),
            1 => format!("host app: text number {n} of 192.0.2.{n}"),
            2 => format!("x text number {n} of text number {} of 2001:db8::{n}", n + 1),
            3 => format!("192.0.2.{n} text number {n}"),
            4 => format!("[] host app: text number {n} of who"),
            _ => format!("host app: a text numbered {n}, quite harmless as that, of 192.0.2.{n}"),
        })
        .collect();
    lines.extend(["+0100 192.0.2.7", "(192.0.2.8", "192.0.2.9 odd"].map(str::to_owned));
    lines.extend((0..40).map(|_| "host app: quite harmless".to_owned()));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let fails: Vec<&str> = fails.iter().map(String::as_str).collect();
    let located = |text: &&str| Located::new((*text).to_owned(), Place::command_line());
    let spec = FilterSpec {
        name: "many".to_owned(),
        failregex: fails.iter().map(located).collect(),
        ..FilterSpec::default()
    };
    let filter = compiled(&spec, false);
    let mut random = Random(5);
    let mut matched = 0;
    for round in 0..12 {
        let log = steady_log(&mut random, &lines, 300);
        let options = ScanOptions { check_all: round % 2 == 1, ..ScanOptions::default() };
        let case = Case { name: "many texts", filter: &filter, dates: None, options, log: &log };
        matched += case.check(&mut random);
    }
    assert!(matched > 300, "only {matched} lines matched");
}

/// A log whose lines are dated alike, with a few that are not quite.
fn steady_log(random: &mut Random, lines: &[&str], count: usize) -> Vec<u8> {
    let stamp = random.pick(&STEADY);
    let mut log = Vec::new();
    for _ in 0..count {
        let mut line: Vec<u8> = stamp
            .bytes()
            .map(|byte| if byte == b'@' { b'0' + random.below(6) as u8 } else { byte })
            .collect();
        let length = line.len();
        line.push(b' ');
        line.extend(random.pick(lines).bytes());
        line.resize(line.len() + random.below(3) * random.below(40), b'.');
        match random.below(40) {
            // Within the stamp or right behind it.
            0..3 => {
                let at = random.below(length + 3);
                line[at] = random.pick(b"069 2Z+-\t\0\xc3[u");
            }
            3 => line.truncate(random.below(length + 4)),
            4 => {
                drop(line.splice(
                    length..length,
                    random.pick(&[" ", "2026 ", " 2026", " +0200"]).bytes(),
                ))
            }
            5 => drop(line.drain(..length)),
            6 => line.insert(0, random.pick(b" [#x")),
            7 => line.push(b'\r'),
            8 => line.push(0xff),
            9 => line.extend_from_within(..),
            _ => {}
        }
        line.push(b'\n');
        log.extend(line);
    }
    let end = log.len() - random.below(2);
    log.truncate(end);
    log
}

fn spec((fails, prefix, ignores, maxlines, _): &Small) -> FilterSpec {
    let located = |text: &str| Located::new(text.to_owned(), Place::command_line());
    FilterSpec {
        name: "small".to_owned(),
        prefregex: Some(located(prefix)),
        failregex: fails.iter().map(|text| located(text)).collect(),
        ignoreregex: ignores.iter().map(|text| located(text)).collect(),
        maxlines: Some(located("").map(|_| *maxlines)),
        ..FilterSpec::default()
    }
}

/// Compiles a filter; unless it will see ASCII only, with the forms for Unicode, which clones share.
fn compiled(spec: &FilterSpec, ascii: bool) -> Filter {
    let filter = Filter::compile(spec, UseDns::Warn).unwrap();
    let all = filter.prefregex.iter().chain(&filter.failregex).chain(&filter.ignoreregex);
    for expression in all.filter(|_| !ascii) {
        let _ = expression.pattern.search("\u{e9}\n", &mut Hit::default());
    }
    filter
}

/// The sample lines of a filter.
fn samples(name: &str) -> Option<Vec<String>> {
    let path = format!("{}/tests/logs/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = String::from_utf8(std::fs::read(path).ok()?).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    Some(lines.map(str::to_owned).collect())
}

/// A log of damaged and mended sample lines.
fn log(random: &mut Random, samples: &[String], lines: usize) -> Vec<u8> {
    let mut finder = DateDetector::new(None, NOW).unwrap();
    let mut log = Vec::new();
    for _ in 0..lines {
        let sample = &samples[random.below(samples.len())];
        let cut = finder.find(sample, NOW).map_or(0..0, |found| found.cut);
        let (before, after) = (&sample[..cut.start], &sample[cut.end..]);
        let text = format!("{before}{after}");
        let date = random.pick(&DATES);
        let middle =
            (0..20).map(|_| random.below(text.len() + 1)).find(|at| text.is_char_boundary(*at));
        let (head, tail) = text.split_at(middle.unwrap_or(0));
        let line = match random.below(16) {
            0..6 => format!("{before}{date}{after}"),
            6 => sample.clone(),
            7 => text.trim_start().to_owned(),
            8 => format!("{head}{date}{tail}"),
            9 => format!("{head} {date} {tail}"),
            10 => format!("{head}[{date}] {tail}"),
            11 => format!("{date}{after} {after}"),
            12 => format!("{date} {}", date.to_owned() + after),
            13 => {
                format!("{}{date}{after}", random.pick(&[" ", "[", "<", "# ", "\u{e9}", "\0", "x"]))
            }
            14 => format!("{date}{head}"),
            _ => random.pick(&["", "#", "# no", "\r", " ", "\0", date]).to_owned(),
        };
        let mut line = line.into_bytes();
        for _ in 0..random.below(8).saturating_sub(5) {
            let at = random.below(line.len() + 1);
            let junk: &[u8] = random.pick(&[
                b"\xff".as_slice(),
                b"\0",
                b"\r",
                b"\xc3\xa9",
                b"\xef\xbf\xbd",
                b"\xf0\x9f",
                b" ",
                b"]",
                b"\x1c",
                b"\xc2\x85",
            ]);
            match random.below(3) {
                0 => drop(line.splice(at..at, junk.iter().copied())),
                1 if at < line.len() => drop(line.splice(at..=at, junk.iter().copied())),
                _ => line.truncate(at),
            }
        }
        if random.below(100) == 0 {
            line = line.repeat(1 + random.below(8_000 / (line.len() + 1) + 1));
        }
        log.extend(line);
        log.extend(random.pick(&[b"\n".as_slice(), b"\n", b"\n", b"\r\n", b"\r\r\n", b"\n\n"]));
    }
    let end = log.len() - random.below(2);
    log.truncate(end);
    log
}

struct Case<'a> {
    name: &'a str,
    filter: &'a Filter,
    dates: Option<&'a str>,
    options: ScanOptions,
    log: &'a [u8],
}

impl Case<'_> {
    fn scanner(&self) -> Scanner {
        let mut dates = DateDetector::new(self.dates, NOW).unwrap();
        dates.set_local_zone(Zone::Fixed(0));
        Scanner::new(self.filter.clone(), dates, self.options)
    }

    /// Scans the log in every way; how many lines matched. A log that comes to different things is
    /// shown with as few lines as still do.
    fn check(&self, random: &mut Random) -> usize {
        let pieces = pieces(self.log, random);
        let Err(difference) = self.scan(&pieces) else { return self.scan(&pieces).unwrap() };
        let mut lines: Vec<&[u8]> = self.log.split_inclusive(|byte| *byte == b'\n').collect();
        let mut shortest = format!("{difference}, in blocks as cut");
        let mut size = lines.len();
        while size > 0 {
            for from in (0..lines.len()).step_by(size).rev() {
                let without = [&lines[..from], &lines[lines.len().min(from + size)..]].concat();
                let log = without.concat();
                if let Err(difference) = (Case { log: &log, ..*self }).scan(&[&log]) {
                    (lines, shortest) = (without, difference);
                }
            }
            size /= 2;
        }
        let log = String::from_utf8_lossy(&lines.concat()).into_owned();
        panic!("{}: {shortest}\n  {:?}\n  {log:.3000?}", self.name, self.options);
    }

    fn scan(&self, pieces: &[&[u8]]) -> Result<usize, String> {
        let mut single = self.scanner();
        let mut expected = Heard::new(Wants::Lines);
        let mut lines = 0;
        for raw in self.log.split_inclusive(|byte| *byte == b'\n') {
            lines += 1;
            let line = String::from_utf8_lossy(raw);
            // The line's own end, as bytes: U+FFFD ends no line.
            let line = line.trim_end_matches(['\r', '\n']);
            if !line.is_empty() && !line.starts_with('#') {
                let scan = single.scan(line, NOW);
                expected.note(lines, scan);
            }
        }
        for (wants, turns, surveyed) in [
            (Wants::Lines, false, false),
            (Wants::Failures, false, false),
            (Wants::Counts, false, false),
            (Wants::Lines, true, false),
            (Wants::Counts, false, true),
        ] {
            let mut block = self.scanner();
            let mut heard = Heard { turns, ..Heard::new(wants) };
            let mut last = 0;
            for pair in pieces.chunks(2) {
                let surveys: Vec<Option<Survey>> = match surveyed {
                    true => pair.iter().map(|piece| survey(&block, piece)).collect(),
                    false => pair.iter().map(|_| None).collect(),
                };
                for (piece, survey) in pair.iter().zip(surveys) {
                    let told =
                        survey.and_then(|one| block.accept(one, piece, last, NOW, &mut heard));
                    let scan = || block.scan_block(piece, last, NOW, &mut heard);
                    last = told.unwrap_or_else(scan);
                }
            }
            let hits = |one: &Scanner| -> Vec<u64> {
                one.dates().templates().map(|info| info.hits).collect()
            };
            equal("number of lines", last, lines)
                .and_then(|()| heard.compare(&expected))
                .and_then(|()| equal("last date", block.last_date(), single.last_date()))
                .and_then(|()| equal("buffer", block.buffered(), single.buffered()))
                .and_then(|()| equal("hits of date templates", hits(&block), hits(&single)))
                .map_err(|what| format!("{wants:?} {turns} {surveyed}: {what}"))?;
        }
        Ok(expected.failures().len())
    }
}

/// What a helper sees in a block that begins somewhere behind what the scanner has seen.
fn survey(scanner: &Scanner, block: &[u8]) -> Option<Survey> {
    let mut helper = scanner.helper()?;
    helper.catch_up(scanner);
    helper.survey(block, NOW)
}

/// The log cut at random borders of lines.
fn pieces<'a>(log: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let often = random.pick(&[1, 3, 20, 10_000]);
    let mut pieces = Vec::new();
    let mut from = 0;
    for (at, _) in log.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if random.below(often) == 0 {
            pieces.push(&log[from..=at]);
            from = at + 1;
        }
    }
    pieces.push(&log[from..]);
    pieces
}

/// All that was heard of a log.
struct Heard {
    wants: Wants,
    /// Wants something else with each line.
    turns: bool,
    asked: Cell<usize>,
    scans: Vec<(u64, Scan)>,
    lines: u64,
    prefixed: u64,
    ignored: BTreeMap<usize, u64>,
    /// By failregex, and whether it is no failure.
    matches: BTreeMap<(usize, bool), u64>,
}

impl Heard {
    fn new(wants: Wants) -> Heard {
        Heard {
            wants,
            turns: false,
            asked: Cell::new(0),
            scans: Vec::new(),
            lines: 0,
            prefixed: 0,
            ignored: BTreeMap::new(),
            matches: BTreeMap::new(),
        }
    }

    fn note(&mut self, number: u64, mut scan: Scan) {
        self.lines += 1;
        self.prefixed += u64::from(scan.prefixed);
        for regex in &scan.ignored_by {
            *self.ignored.entry(*regex).or_default() += 1;
        }
        for failure in &scan.failures {
            *self.matches.entry((failure.regex, failure.nofail)).or_default() += 1;
        }
        // A line that cannot match is not tried at all, so nothing runs out of steps.
        scan.out_of_steps = 0;
        self.scans.push((number, scan));
    }

    fn failures(&self) -> Vec<(u64, &Vec<Failure>)> {
        let failed = self.scans.iter().filter(|(_, scan)| !scan.failures.is_empty());
        failed.map(|(number, scan)| (*number, &scan.failures)).collect()
    }

    fn compare(&self, expected: &Heard) -> Result<(), String> {
        match self.wants {
            _ if self.turns => {}
            Wants::Lines => same(&self.scans, &expected.scans)?,
            Wants::Failures => same(&self.failures(), &expected.failures())?,
            Wants::Counts => {
                equal("lines that passed prefregex", self.prefixed, expected.prefixed)?;
                equal("ignored lines", &self.ignored, &expected.ignored)?;
            }
        }
        equal("lines", self.lines, expected.lines)?;
        equal("matches", &self.matches, &expected.matches)
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, one: T, other: T) -> Result<(), String> {
    if one == other { Ok(()) } else { Err(format!("{what}: {one:?}, not {other:?}")) }
}

/// Tells the first line of which something else was heard.
fn same<T: PartialEq + std::fmt::Debug>(
    heard: &[(u64, T)],
    expected: &[(u64, T)],
) -> Result<(), String> {
    heard.iter().zip(expected).try_for_each(|(one, other)| equal("line", one, other))?;
    equal("number of lines heard of", heard.len(), expected.len())
}

impl Tally for Heard {
    fn scanned(&mut self, number: u64, _line: &str, scan: Scan, _scanner: &Scanner) {
        self.note(number, scan);
    }

    fn passed(&mut self, number: u64, _line: &[u8], _scanner: &Scanner) {
        self.note(number, Scan::default());
    }

    fn wants(&self) -> Wants {
        self.asked.set(self.asked.get() + 1);
        match (self.turns, self.asked.get() % 3) {
            (false, _) => self.wants,
            (true, 0) => Wants::Counts,
            (true, 1) => Wants::Failures,
            (true, _) => Wants::Lines,
        }
    }

    fn passed_many(&mut self, lines: u64, prefixed: u64) {
        self.lines += lines;
        self.prefixed += prefixed;
    }

    fn counted(&mut self, regex: usize, prefixed: bool) {
        self.lines += 1;
        self.prefixed += u64::from(prefixed);
        *self.matches.entry((regex, false)).or_default() += 1;
    }

    fn counted_many(&mut self, hits: &[u64], prefixed: u64) {
        for (regex, count) in hits.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.lines += count;
            *self.matches.entry((regex, false)).or_default() += count;
        }
        self.prefixed += prefixed;
    }

    fn concluded(&mut self, _line: &[u8], regex: usize, nofail: bool, prefixed: bool) {
        self.lines += 1;
        self.prefixed += u64::from(prefixed);
        *self.matches.entry((regex, nofail)).or_default() += 1;
    }
}
