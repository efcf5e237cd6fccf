//! The report of `sentryban-regex`, in the layout of fail2ban-regex.
//!
//! People know this page by heart and scripts read it, so its frame is exactly theirs. A
//! [`Preamble`](super::preamble::Preamble) ("Running tests": what is used) is printed before the
//! log is read; a [`Report`] gathers while it is read and is printed at the end. A line comes in
//! through one of:
//!
//! ```text
//! add               a line with what the scanner found
//! add_missed        a run of lines in which nothing can match, text not even decoded
//! take_back_missed  a buffered line that turned out to belong to a failure (maxlines > 1)
//! ```

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::Arc,
};

use super::{
    debuggex,
    options::{Options, PRINTED_LINES, Printed},
    page::Page,
};
use crate::{
    cli::python::{repr_dict, repr_field},
    filter::Fields,
    scan::Scan,
    time::{Timestamp, Zone},
};

/// An expression as its file has it, and with its tags resolved.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expression {
    /// As written: what the report shows of failregex and ignoreregex.
    pub text: String,
    /// In Python's dialect, tags resolved: shown for prefregex and handed to debuggex.com.
    pub resolved: String,
}

/// How often one date template was used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DateHits {
    /// Its name (`{^LN-BEG}ExYear…`).
    pub name: String,
    /// Number of dates it read.
    pub hits: u64,
    /// Present and initial weight, for `--verbose-date`.
    pub weights: (f64, f64),
    /// Its pattern (`%Y-%m-%d`), for `--verbose-date`.
    pub pattern: String,
    /// Its expression, for `--verbose-date`.
    pub regex: String,
}

/// What is printed, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// List every hit, and what has none.
    pub verbose: bool,
    /// Patterns of the date templates.
    pub verbose_date: bool,
    /// debuggex.com addresses instead of lines.
    pub debuggex: bool,
    /// Multi-line expressions: a flag of these addresses.
    pub multiline: bool,
    /// How many lines are still "few".
    pub limit: u64,
    /// Missed lines.
    pub missed: Printed,
    /// Ignored lines.
    pub ignored: Printed,
    /// Matched lines.
    pub matched: Printed,
}

impl Shown {
    /// As the command line has it; `multiline` is true if the filter spans lines.
    pub fn new(options: &Options, multiline: bool) -> Shown {
        Shown {
            verbose: options.verbose > 0,
            verbose_date: options.verbose_date,
            debuggex: options.debuggex,
            multiline,
            // fail2ban-regex lets -L set both numbers; a filter's own maxlines only one.
            limit: options.maxlines.map_or(PRINTED_LINES, u64::from),
            missed: options.missed,
            ignored: options.ignored,
            matched: options.matched,
        }
    }
}

/// One expression and what it found.
#[derive(Debug)]
struct Tally {
    expression: Expression,
    hits: u64,
    /// Kept only for `-v`.
    found: Vec<Found>,
}

/// One hit. There may be millions, of few offenders.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Unix time, in seconds: nothing below is shown.
    at: i64,
    /// Number of the id.
    id: u32,
    /// Other expressions matched as well.
    multiple: bool,
}

/// Ids, each kept once.
#[derive(Debug, Default)]
struct Ids {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Ids {
    fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = id.into();
        self.numbers.insert(Arc::clone(&text), number);
        self.texts.push(text);
        number
    }

    fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("None", |text| text)
    }
}

/// Lines of one fate: how many, and the text of those that may be printed.
#[derive(Debug, Default)]
struct Lines {
    count: u64,
    kept: Vec<String>,
}

/// What gathers while a log is read.
#[derive(Debug)]
pub struct Report {
    shown: Shown,
    prefregex: Option<Expression>,
    prefregex_hits: u64,
    prefregex_groups: Vec<String>,
    failregex: Vec<Tally>,
    ignoreregex: Vec<Tally>,
    ids: Ids,
    missed: Lines,
    ignored: Lines,
    matched: Lines,
    tested: u64,
    dates: Option<Vec<DateHits>>,
    seconds: Option<f64>,
}

impl Report {
    /// An empty report over these expressions.
    pub fn new(
        shown: Shown,
        prefregex: Option<Expression>,
        failregex: Vec<Expression>,
        ignoreregex: Vec<Expression>,
    ) -> Report {
        let tallies = |expressions: Vec<Expression>| {
            let tally = |expression| Tally { expression, hits: 0, found: Vec::new() };
            expressions.into_iter().map(tally).collect()
        };
        Report {
            shown,
            prefregex,
            prefregex_hits: 0,
            prefregex_groups: Vec::new(),
            failregex: tallies(failregex),
            ignoreregex: tallies(ignoreregex),
            ids: Ids::default(),
            missed: Lines::default(),
            ignored: Lines::default(),
            matched: Lines::default(),
            tested: 0,
            dates: None,
            seconds: None,
        }
    }

    /// Counts one line that was tested (neither empty nor a `#` remark). A failure without a time
    /// is listed at `now`.
    pub fn add(&mut self, line: &str, scan: &Scan, now: Timestamp) {
        let mut failures = 0_usize;
        let mut ignored = false;
        for failure in &scan.failures {
            if let Some(tally) = self.failregex.get_mut(failure.regex) {
                tally.hits += 1;
                if self.shown.verbose {
                    let id = self.ids.number(failure.id.as_deref().unwrap_or("None"));
                    let at = failure.time.unwrap_or(now).secs();
                    // The first two go unmarked in fail2ban-regex, and so here.
                    tally.found.push(Found { at, id, multiple: failures > 1 });
                }
            }
            if failure.nofail {
                ignored = true;
            } else {
                failures += 1;
            }
        }
        for &index in &scan.ignored_by {
            ignored = true;
            if let Some(tally) = self.ignoreregex.get_mut(index) {
                tally.hits += 1;
            }
        }
        if scan.prefixed {
            self.prefregex_hits += 1;
        }
        if let Some(groups) = &scan.prefregex {
            self.add_prefregex(groups);
        }
        self.tested += 1;
        let (lines, printed) = match (ignored, failures) {
            (true, _) => (&mut self.ignored, self.shown.ignored),
            (false, 0) => (&mut self.missed, self.shown.missed),
            (false, _) => (&mut self.matched, self.shown.matched),
        };
        lines.count += 1;
        if keeps(lines.count, printed, self.shown.limit) {
            lines.kept.push(line.to_owned());
        }
    }

    /// Counts missed lines without their text, of which `prefixed` passed prefregex. Only right
    /// while [`wants_missed_line`](Report::wants_missed_line) is false.
    pub fn add_missed(&mut self, number: u64, prefixed: u64) {
        self.missed.count += number;
        self.tested += number;
        self.prefregex_hits += prefixed;
    }

    /// Counts lines that just this failregex matched, of which `prefixed` passed prefregex. Only
    /// right while [`wants_details`](Report::wants_details) is false.
    pub fn add_counted(&mut self, regex: usize, lines: u64, prefixed: u64) {
        if let Some(tally) = self.failregex.get_mut(regex) {
            tally.hits += lines;
        }
        self.prefregex_hits += prefixed;
        self.matched.count += lines;
        self.tested += lines;
    }

    /// Counts a line that just this failregex matched without being a failure.
    pub fn add_nofail(&mut self, line: &[u8], regex: usize, prefixed: u64) {
        if let Some(tally) = self.failregex.get_mut(regex) {
            tally.hits += 1;
        }
        self.prefregex_hits += prefixed;
        self.tested += 1;
        self.ignored.count += 1;
        if keeps(self.ignored.count, self.shown.ignored, self.shown.limit) {
            self.ignored.kept.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    /// True if more than numbers is to be printed of lines that match.
    pub fn wants_details(&self) -> bool {
        self.shown.verbose || self.shown.matched != Printed::No
    }

    /// True as long as the text of a missed line may still be printed: then each must come through
    /// [`add`](Report::add).
    pub fn wants_missed_line(&self) -> bool {
        keeps(self.missed.count + 1, self.shown.missed, self.shown.limit)
    }

    /// A buffered line that was counted as missed has become part of a match: it counts as matched.
    pub fn take_back_missed(&mut self, line: &str) {
        self.missed.count = self.missed.count.saturating_sub(1);
        self.matched.count += 1;
        if let Some(index) = self.missed.kept.iter().position(|kept| kept == line) {
            self.missed.kept.remove(index);
        }
        if self.shown.matched == Printed::All {
            self.matched.kept.push(line.to_owned());
        }
    }

    /// Use of the date templates, in their present order; `None` where dates come from elsewhere
    /// (the journal).
    pub fn set_dates(&mut self, dates: Option<Vec<DateHits>>) {
        self.dates = dates;
    }

    /// How long it took.
    pub fn set_seconds(&mut self, seconds: f64) {
        self.seconds = Some(seconds);
    }

    /// Number of lines tested so far.
    pub fn tested(&self) -> u64 {
        self.tested
    }

    fn add_prefregex(&mut self, groups: &Fields) {
        if !self.shown.verbose {
            return;
        }
        let kept = self.prefregex_groups.len() as u64;
        if kept < self.shown.limit {
            let pairs = groups.iter().map(|(name, field)| (name, repr_field(field)));
            self.prefregex_groups.push(repr_dict(pairs));
        } else if kept == self.shown.limit {
            self.prefregex_groups.push("...".to_owned());
        }
    }

    /// Prints all but the preamble. Texts are made safe if `out` is a terminal.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, out: &mut impl Write, to_terminal: bool) -> io::Result<()> {
        let mut page = Page { out, to_terminal };
        page.line("")?;
        page.line("Results")?;
        page.line("=======")?;
        self.write_prefregex(&mut page)?;
        self.write_tallies("Failregex", &self.failregex, &mut page)?;
        self.write_tallies("Ignoreregex", &self.ignoreregex, &mut page)?;
        self.write_dates(&mut page)?;
        page.line("")?;
        page.line(&format!(
            "Lines: {} lines, {} ignored, {} matched, {} missed",
            self.tested, self.ignored.count, self.matched.count, self.missed.count
        ))?;
        if let Some(seconds) = self.seconds {
            page.line(&format!("[processed in {seconds:.2} sec]"))?;
        }
        page.line("")?;
        self.write_lines("matched", &self.matched, self.shown.matched, &self.failregex, &mut page)?;
        self.write_lines(
            "ignored",
            &self.ignored,
            self.shown.ignored,
            &self.ignoreregex,
            &mut page,
        )?;
        self.write_lines("missed", &self.missed, self.shown.missed, &self.failregex, &mut page)
    }

    fn write_prefregex(&self, page: &mut Page<'_, impl Write>) -> io::Result<()> {
        let Some(prefregex) = &self.prefregex else { return Ok(()) };
        page.line("")?;
        page.line(&format!("Prefregex: {} total", self.prefregex_hits))?;
        let groups = self.prefregex_groups.iter().map(|groups| format!("    {groups}"));
        page.list("", std::iter::once(prefregex.resolved.clone()).chain(groups))
    }

    fn write_tallies(
        &self,
        title: &str,
        tallies: &[Tally],
        page: &mut Page<'_, impl Write>,
    ) -> io::Result<()> {
        page.line("")?;
        let total: u64 = tallies.iter().map(|tally| tally.hits).sum();
        page.line(&format!("{title}: {total} total"))?;
        let rows = tallies
            .iter()
            .enumerate()
            .filter(|(_, tally)| tally.hits > 0 || self.shown.verbose)
            .flat_map(|(index, tally)| {
                let head = format!("{:2}) [{}] {}", index + 1, tally.hits, tally.expression.text);
                std::iter::once(head).chain(tally.found.iter().map(|found| self.found_row(found)))
            });
        page.list(" #) [# of hits] regular expression", rows)
    }

    fn found_row(&self, found: &Found) -> String {
        let more = if found.multiple { " (multiple regex matched)" } else { "" };
        let at = long_date(Timestamp::from_secs(found.at));
        format!("    {}  {at}{more}", self.ids.text(found.id))
    }

    fn write_dates(&self, page: &mut Page<'_, impl Write>) -> io::Result<()> {
        let Some(dates) = &self.dates else { return Ok(()) };
        page.line("")?;
        page.line("Date template hits:")?;
        let rows =
            dates.iter().filter(|date| date.hits > 0 || self.shown.verbose).flat_map(|date| {
                let head = format!("[{}] {}", date.hits, date.name);
                let details = self.shown.verbose_date.then(|| {
                    let (weight, initial) = date.weights;
                    [
                        format!(
                            "    # weight: {weight:.3} ({initial:.3}), pattern: {}",
                            date.pattern
                        ),
                        format!("    # regex:   {}", date.regex),
                    ]
                });
                std::iter::once(head).chain(details.into_iter().flatten())
            });
        page.list("[# of hits] date format", rows)
    }

    fn write_lines(
        &self,
        kind: &str,
        lines: &Lines,
        printed: Printed,
        tallies: &[Tally],
        page: &mut Page<'_, impl Write>,
    ) -> io::Result<()> {
        if lines.count == 0 || printed == Printed::No {
            return Ok(());
        }
        let title = match kind {
            "matched" => "Matched",
            "ignored" => "Ignored",
            _ => "Missed",
        };
        if printed == Printed::Few && lines.count >= self.shown.limit {
            return page.line(&format!(
                "{title} line(s): too many to print.  Use --print-all-{kind} to print all {} lines",
                lines.count
            ));
        }
        let header = format!("{title} line(s):");
        if !self.shown.debuggex {
            return page.list(&header, lines.kept.iter().map(|line| line.trim_end().to_owned()));
        }
        let rows = lines.kept.iter().flat_map(|line| {
            tallies.iter().map(move |tally| {
                let Expression { text, resolved } = &tally.expression;
                let address = debuggex::address(line, resolved, self.shown.multiline);
                format!("{line} | {text} |  {address}")
            })
        });
        page.list(&header, rows)
    }
}

/// True if the text of line number `count` (from 1) of its kind may be printed in the end. One more
/// than the limit is kept, as a line may be taken back.
fn keeps(count: u64, printed: Printed, limit: u64) -> bool {
    match printed {
        Printed::No => false,
        Printed::Few => count <= limit.saturating_add(1),
        Printed::All => true,
    }
}

/// `Sun Aug 14 11:59:59 2005`, in local time.
fn long_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Some(civil) = Zone::Local.civil(at) else { return format!("@{}", at.secs()) };
    let day = civil.weekday().and_then(|day| DAYS.get(day as usize)).unwrap_or(&"???");
    let month = civil.month.checked_sub(1).and_then(|m| MONTHS.get(m as usize)).unwrap_or(&"???");
    format!(
        "{day} {month} {:02} {:02}:{:02}:{:02} {}",
        civil.day, civil.hour, civil.minute, civil.second, civil.year
    )
}
