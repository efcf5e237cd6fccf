//! Logs: a block scanned at once comes to the same as its lines one by one.
//!
//! The first six bytes of the input choose the filter, the options and where the log is cut into
//! blocks; the rest is the log.

#![no_main]

use std::{cell::Cell, collections::BTreeMap, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sentryban::{
    date::DateDetector,
    filter::{Expression, Filter, FilterSpec, Hit, UseDns},
    place::{Located, Place},
    scan::{Failure, Scan, ScanOptions, Scanner, Tally, Wants},
    time::{Timestamp, Zone},
};

const NOW: Timestamp = Timestamp::from_secs(1_772_510_710);
const FAILREGEX: [&str; 16] = [
    r"^bad <HOST>$",
    r"^bad word for <F-USER>\S+</F-USER> from <ADDR>(?: port \d+)?$",
    r"\[<SUBNET>\] (?:refused|denied)",
    r"^<F-MLFID>s\d+</F-MLFID>: <F-NOFAIL>come</F-NOFAIL> from <ADDR>",
    r"^<F-MLFID>s\d+</F-MLFID>: wrong <F-USER>\w*</F-USER>",
    r"^<F-MLFID>s\d+</F-MLFID>: <F-MLFGAINED>let in</F-MLFGAINED>",
    r"^<F-MLFID>s\d+</F-MLFID>: <F-MLFFORGET>gone</F-MLFFORGET>",
    r"^from <HOST> with$<SKIPLINES>^until [a-z]+$",
    r"nobody <F-ID>.*</F-ID> here",
    r"^(?:a|ab)*c<F-ID>\w*</F-ID>",
    r"(?i)case <F-ID>[^ ]+</F-ID>(?<!x)$",
    r"^.*? late <DNS>",
    r#"^(["'])<F-ID>.*?</F-ID>\1 said"#,
    r"odd <F-ID>\S*</F-ID>\n",
    r"mark <F-ID>\S+</F-ID> �",
    r"^<F-ALT_USER>u\d</F-ALT_USER>(?:<F-USER>v\d</F-USER>)? <F-TUPLE_ID>\w+</F-TUPLE_ID> @ <F-TUPLE_ID_2>\w+</F-TUPLE_ID_2>$",
];
const PREFREGEX: [&str; 4] = [
    "",
    r"^(?:host )?(?:app(?:\[\d+\])?: )?<F-CONTENT>.+</F-CONTENT>$",
    r"^\S+ app: <F-CONTENT>.+</F-CONTENT>(?: end)?$",
    r"app<F-MLFID>\d</F-MLFID>",
];
const IGNOREREGEX: [&str; 2] = [r"root", r"^bad 127\.0\.0\.1$"];
const DATES: [Option<&str>; 4] = [
    None,
    Some("%ExY-%Exm-%Exd %ExH:%ExM:%ExS"),
    Some("^EPOCH\n{NONE}"),
    Some(r"\[%d/%b/%Y:%H:%M:%S %z\]"),
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[low, high, shape, flags, mode, cut], log)) = bytes.split_first_chunk() else {
        return;
    };
    let filter = filter(u16::from_le_bytes([low, high]), shape);
    let options = ScanOptions {
        check_all: flags & 1 > 0,
        keep_pending: flags & 2 > 0,
        raw_hosts: flags & 4 > 0,
        assume_now: flags & 8 > 0,
    };
    let scanner = || {
        let dates = DATES.get(usize::from(flags >> 4 & 3)).copied().flatten();
        let mut dates = DateDetector::new(dates, NOW).ok()?;
        dates.set_local_zone(Zone::Fixed(0));
        Some(Scanner::new(filter.clone(), dates, options))
    };
    let (Some(mut single), Some(mut block)) = (scanner(), scanner()) else { return };
    let mut expected = Heard::new(Wants::Lines);
    let mut number = 0;
    for raw in log.split_inclusive(|byte| *byte == b'\n') {
        number += 1;
        let line = String::from_utf8_lossy(raw.without_break());
        if !line.is_empty() && !line.starts_with('#') {
            expected.note(number, single.scan(&line, NOW));
        }
        assert!(single.buffered().len() <= single.filter().maxlines);
    }
    let wants = [Wants::Lines, Wants::Failures, Wants::Counts];
    let mut heard = Heard::new(wants.get(usize::from(mode & 3)).copied().unwrap_or(Wants::Lines));
    heard.turns = mode & 3 == 3;
    let surveyed = mode & 7 == 6;
    let mut last = 0;
    let mut from = 0;
    for piece in pieces(log, usize::from(cut)) {
        let survey = block.helper().filter(|_| surveyed).and_then(|mut helper| {
            helper.catch_up(&block);
            helper.survey(piece, NOW)
        });
        let told = survey.and_then(|one| block.accept(one, piece, last, NOW, &mut heard));
        last = told.unwrap_or_else(|| block.scan_block(piece, last, NOW, &mut heard));
        from += piece.len();
    }
    assert_eq!((last, from), (number, log.len()));
    heard.compare(&expected);
    assert_eq!(block.last_date(), single.last_date(), "the last date");
    assert_eq!(block.buffered(), single.buffered(), "the buffer");
    let hits = |one: &Scanner| one.dates().templates().map(|info| info.hits).collect::<Vec<_>>();
    assert_eq!(hits(&block), hits(&single), "hits of date templates");
});

/// Every expression, compiled once for one line and once for several: the engines take longer to
/// build than any log here takes to scan.
struct Parts {
    prefregex: Vec<Option<Expression>>,
    failregex: Vec<Expression>,
    ignoreregex: Vec<Expression>,
}

impl Parts {
    fn new(maxlines: u32) -> Parts {
        let located = |text: &&str| Located::new((*text).to_owned(), Place::command_line());
        let one = |text: &&str| {
            let prefregex = Some(Located::new("<F-ID/>".to_owned(), Place::command_line()));
            let maxlines = Some(located(&"").map(|_| maxlines));
            let failregex = vec![located(text)];
            let spec = FilterSpec { prefregex, failregex, maxlines, ..FilterSpec::default() };
            let expression = Filter::compile(&spec, UseDns::Warn).ok()?.failregex.pop()?;
            // The form for other than ASCII is built when it is needed first.
            let _ = expression.pattern.search("é\n", &mut Hit::default());
            Some(expression)
        };
        Parts {
            prefregex: PREFREGEX.iter().map(one).collect(),
            failregex: FAILREGEX.iter().map(|text| one(text).unwrap()).collect(),
            ignoreregex: IGNOREREGEX.iter().map(|text| one(text).unwrap()).collect(),
        }
    }
}

fn filter(mask: u16, shape: u8) -> Filter {
    static PARTS: LazyLock<[Parts; 2]> = LazyLock::new(|| [Parts::new(1), Parts::new(3)]);
    let several = shape >> 4 & 3 == 3;
    let parts = &PARTS[usize::from(several)];
    let chosen = |from: &[Expression], mask: u16| {
        let all = from.iter().enumerate().filter(|(index, _)| mask >> index & 1 > 0);
        all.map(|(_, expression)| expression.clone()).collect()
    };
    Filter {
        name: "fuzz".to_owned(),
        prefregex: parts.prefregex[usize::from(shape & 3)].clone(),
        failregex: chosen(&parts.failregex, mask),
        ignoreregex: chosen(&parts.ignoreregex, u16::from(shape >> 2 & 3)),
        maxlines: if several { 3 } else { 1 },
        too_many_lines: None,
        usedns: UseDns::Warn,
    }
}

/// The log in blocks of whole lines: after so many lines each; 0 for one block.
fn pieces(log: &[u8], lines: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut count, mut at) = (log, 0, 0);
    while let Some(byte) = rest.get(at) {
        at += 1;
        count += usize::from(*byte == b'\n');
        if count == lines && lines > 0 && *byte == b'\n' {
            let (piece, behind) = rest.split_at(at);
            pieces.push(piece);
            (rest, count, at) = (behind, 0, 0);
        }
    }
    pieces.push(rest);
    pieces
}

trait Line {
    fn without_break(&self) -> &[u8];
}

impl Line for [u8] {
    fn without_break(&self) -> &[u8] {
        let mut line = self;
        while let [head @ .., b'\r' | b'\n'] = line {
            line = head;
        }
        line
    }
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
        let all = self.scans.iter().filter(|(_, scan)| !scan.failures.is_empty());
        all.map(|(number, scan)| (*number, &scan.failures)).collect()
    }

    fn compare(&self, expected: &Heard) {
        let counts = |one: &Heard| (one.lines, one.matches.clone());
        assert_eq!(counts(self), counts(expected), "lines, and matches by expression");
        match self.wants {
            _ if self.turns => {}
            Wants::Lines => assert_eq!(self.scans, expected.scans, "lines"),
            Wants::Failures => assert_eq!(self.failures(), expected.failures(), "failures"),
            Wants::Counts => {
                assert_eq!(self.prefixed, expected.prefixed, "lines that passed prefregex");
                assert_eq!(self.ignored, expected.ignored, "ignored lines by expression");
            }
        }
    }
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
