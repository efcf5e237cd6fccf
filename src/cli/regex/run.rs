//! The run itself: filter and dates made ready, the log read, the report or the failures printed.

use std::{
    fs::File,
    io::{self, Cursor, IsTerminal, Read, Write},
    path::Path,
};

use super::{
    Stop, Task,
    beside::{self, Job},
    flags::TOOL,
    options::Options,
    out::{Form, Printer},
    preamble::Preamble,
    progress::Progress,
    report::{DateHits, Expression, Report, Shown},
    target::{LogTarget, RegexTarget},
};
use crate::{
    cli::{
        exit::{self, Fault},
        terminal::{plain, shown},
    },
    config::{self, FilterSource, Finding, Tree},
    date::{DateDetector, parse_zone},
    filter::{Filter, FilterSpec, lint},
    place::{Located, Place},
    scan::{Scan, ScanOptions, Scanner, Tally, Wants},
    source::{Blocks, Encoding, Journal, JournalOptions},
    time::{self, Stopwatch, Timestamp},
};

/// From this size on, a second thread is worth starting.
const BESIDE_BYTES_MIN: u64 = 4 << 20;

/// Reads the log, and prints the report or the failures.
pub fn scan_all(task: &Task, out: &mut impl Write) -> Result<(), Stop> {
    let options = &task.options;
    let now = options.now.unwrap_or_else(time::now);
    let mut preamble = Preamble::new();
    if let Some(lines) = options.maxlines {
        preamble.maxlines(lines);
    }
    let spec = read_filter(task, &mut preamble)?;
    let usedns = options.usedns.or(spec.usedns).unwrap_or_default();
    let filter = Filter::compile(&spec, usedns)
        .map_err(|fault| Fault::new(exit::CONFIG, fault.to_string()))?;
    if options.tells_warnings() {
        lint::lint(&filter).iter().for_each(|trap| warn(&format!("warning: {trap}")));
    }
    let dates = dates(task, &spec, now, &mut preamble)?;
    let listing = options.out.is_some();
    let scan_options = ScanOptions {
        check_all: options.check_all && !listing,
        keep_pending: !listing,
        // Names are shown as they stand: a test tool has no business with a name server.
        raw_hosts: true,
        assume_now: options.out == Some(Form::Json),
    };
    let in_journal = matches!(task.log, LogTarget::Journal(_));
    let multiline = filter.maxlines > 1;
    if let Some(form) = &options.out {
        let groups = filter.failregex.iter().map(|_| Vec::new()).collect();
        let printer = Printer::new(form.clone(), groups, task.to_terminal, now);
        let mut list = List { printer, invert: options.invert, out, broken: None };
        let mut scanner = Scanner::new(filter, dates, scan_options);
        let lost = read(task, &spec, &mut scanner, now, &mut list)?;
        tell_losses(options, &lost);
        return list.broken.map_or(Ok(()), |error| Err(error.into()));
    }
    name_log(task, &spec, &mut preamble);
    preamble.write(out, task.to_terminal)?;
    out.flush()?;
    let report = Report::new(
        Shown::new(options, multiline),
        filter.prefregex.as_ref().map(expression),
        filter.failregex.iter().map(expression).collect(),
        filter.ignoreregex.iter().map(expression).collect(),
    );
    let mut summary = Summary { report, now, buffered: Vec::new(), multiline };
    let mut scanner = Scanner::new(filter, dates, scan_options);
    let watch = Stopwatch::start();
    let lost = read(task, &spec, &mut scanner, now, &mut summary)?;
    tell_losses(options, &lost);
    let hits = scanner.dates().templates().map(|template| DateHits {
        name: template.name.to_owned(),
        hits: template.hits,
        weights: (template.weight, template.base_weight),
        pattern: template.pattern.unwrap_or_default().to_owned(),
        regex: template.regex.to_owned(),
    });
    let mut report = summary.report;
    report.set_dates((!in_journal).then(|| hits.collect()));
    report.set_seconds(watch.seconds());
    Ok(report.write(out, task.to_terminal)?)
}

/// Reads the log, wherever it is. Answers what the user should know of losses.
fn read(
    task: &Task,
    spec: &FilterSpec,
    scanner: &mut Scanner,
    now: Timestamp,
    hearer: &mut dyn Hearer,
) -> Result<Vec<String>, Stop> {
    match &task.log {
        LogTarget::Journal(words) => read_journal(task, words, spec, scanner, now, hearer),
        log => read_log(log, &task.options, scanner, now, hearer),
    }
}

fn tell_losses(options: &Options, lost: &[String]) {
    if options.tells_warnings() {
        lost.iter().for_each(|loss| warn(&format!("warning: {loss}")));
    }
}

fn warn(text: &str) {
    let mut stderr = io::stderr().lock();
    let is_terminal = stderr.is_terminal();
    // Nobody is left to tell if stderr is closed.
    for line in text.lines() {
        let _ = writeln!(stderr, "{}", shown(line, is_terminal));
    }
}

fn expression(one: &crate::filter::Expression) -> Expression {
    Expression { text: one.pattern.source.clone(), resolved: one.pattern.expanded.clone() }
}

fn name_log(task: &Task, spec: &FilterSpec, preamble: &mut Preamble) {
    let encoding = task.options.encoding.as_deref().unwrap_or("UTF-8");
    match &task.log {
        LogTarget::Stdin => preamble.log_file("-", encoding),
        LogTarget::File(path) => preamble.log_file(&path.to_string_lossy(), encoding),
        LogTarget::Lines(text) => {
            let lines = spec.maxlines.as_ref().map_or(1, |lines| lines.value);
            preamble.lines(&String::from_utf8_lossy(text), lines);
        }
        LogTarget::Journal(_) => {
            preamble.journal(encoding, &journal_matches(task, spec).join(" + "));
        }
    }
}

fn journal_matches(task: &Task, spec: &FilterSpec) -> Vec<String> {
    match &task.options.journalmatch {
        Some(wanted) => vec![wanted.clone()],
        None => spec.journalmatch.clone(),
    }
}

/// Reads REGEX and IGNOREREGEX, and lets the command line go before the file.
fn read_filter(task: &Task, preamble: &mut Preamble) -> Result<FilterSpec, Stop> {
    let options = &task.options;
    let here = Place::command_line();
    let written = |text: &str| Located::new(text.to_owned(), here.clone());
    let backend = if matches!(task.log, LogTarget::Journal(_)) { "systemd" } else { "auto" };
    let tree = Tree::new(Some(task.config.clone()));
    let mut spec = match &task.regex {
        RegexTarget::Expression(text) => {
            preamble.failregex(text);
            let failregex = vec![written(text)];
            FilterSpec { name: "<command line>".to_owned(), failregex, ..FilterSpec::default() }
        }
        RegexTarget::File { path, options } => {
            let options = option_list(options)?;
            let (tree, name) = match in_tree(path) {
                Some((root, name)) => (Tree::new(Some(root)), Some(name)),
                None => (tree.clone(), None),
            };
            match &name {
                Some(name) => preamble.filter(name, &tree.root().to_string_lossy()),
                None => preamble.filter_file(&path.to_string_lossy()),
            }
            if !options.is_empty() {
                preamble.filter_options(&options);
            }
            let source = match &name {
                Some(name) => FilterSource::Name(name),
                None => FilterSource::File(path),
            };
            loaded(task, config::read_filter(&tree, source, &options, backend))?
        }
        RegexTarget::Name { name, options } => {
            let options = option_list(options)?;
            let named = config::read_named(&tree, name, &options, backend);
            let is_jail = named.as_ref().is_ok_and(|named| named.is_jail);
            match (is_jail, options.is_empty()) {
                (true, true) => preamble.jail(name),
                (true, false) => {
                    preamble.jail(name);
                    preamble.jail_options(&options);
                }
                (false, none) => {
                    preamble.filter(name, &home_of(&tree, name));
                    if !none {
                        preamble.filter_options(&options);
                    }
                }
            }
            loaded(task, named.map(|named| (named.spec, named.findings)))?
        }
    };
    if options.tells_filter_options() && !matches!(task.regex, RegexTarget::Expression(_)) {
        preamble.real_options(&spec.settled);
    }
    match &task.ignoreregex {
        None => {}
        Some(RegexTarget::File { path, options }) => {
            let options = option_list(options)?;
            let source = FilterSource::File(path);
            spec.ignoreregex =
                loaded(task, config::read_filter(&tree, source, &options, backend))?.ignoreregex;
        }
        Some(RegexTarget::Expression(text) | RegexTarget::Name { name: text, .. }) => {
            preamble.ignoreregex(text);
            spec.ignoreregex = vec![written(text)];
        }
    }
    if let Some(lines) = options.maxlines {
        spec.maxlines = Some(Located::new(lines, here.clone()));
    } else if let Some(lines) = &spec.maxlines {
        preamble.maxlines(lines.value);
    }
    if let Some(pattern) = &options.datepattern {
        spec.datepattern = Some(written(pattern));
    }
    if spec.failregex.is_empty() {
        let what = format!("{}: there is no failregex, so nothing can match", spec.name);
        return Err(Fault::new(exit::CONFIG, what).into());
    }
    Ok(spec)
}

/// A file of some `filter.d` is read as part of that tree, with `.local` and `.d` files.
fn in_tree(path: &Path) -> Option<(std::path::PathBuf, String)> {
    let folder = path.parent()?;
    if folder.file_name()? != "filter.d" || path.extension()? != "conf" {
        return None;
    }
    let root = folder.parent().filter(|root| !root.as_os_str().is_empty());
    let root = root.unwrap_or(Path::new(".")).to_owned();
    Some((root, path.file_stem()?.to_str()?.to_owned()))
}

fn option_list(text: &str) -> Result<Vec<(String, String)>, Fault> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    config::options::parse(&format!("x{text}"))
        .map(|(_, options)| options)
        .map_err(|error| Fault::usage(format!("{}: {error}", plain(text))))
}

/// The directory from which a filter comes, or a word for those that are built in.
fn home_of(tree: &Tree, name: &str) -> String {
    let is_there = |ending| tree.has_on_disk(&format!("filter.d/{name}.{ending}"));
    match is_there("conf") || is_there("local") {
        true => tree.root().to_string_lossy().into_owned(),
        false => "<built-in>".to_owned(),
    }
}

fn loaded(
    task: &Task,
    read: Result<(FilterSpec, Vec<Finding>), config::ConfigError>,
) -> Result<FilterSpec, Fault> {
    match read {
        Ok((spec, warnings)) => {
            // The rest would run, but not as it is written.
            if let Some(fault) = warnings.iter().find(|finding| finding.is_fault()) {
                return Err(Fault::new(exit::CONFIG, fault.to_string()));
            }
            if task.options.tells_warnings() {
                warnings.iter().for_each(|warning| warn(&warning.to_string()));
            }
            Ok(spec)
        }
        Err(error) => Err(Fault::new(exit::CONFIG, error.to_string())),
    }
}

fn dates(
    task: &Task,
    spec: &FilterSpec,
    now: Timestamp,
    preamble: &mut Preamble,
) -> Result<DateDetector, Fault> {
    let options = &task.options;
    let pattern = spec.datepattern.as_ref();
    let mut dates =
        DateDetector::new(pattern.map(|pattern| pattern.value.as_str()), now).map_err(|error| {
            let at = pattern.map_or_else(Place::command_line, |pattern| pattern.at.clone());
            Fault::new(exit::CONFIG, format!("{at}: {error}"))
        })?;
    if let Some(zone) = &options.timezone {
        let known = parse_zone(zone);
        if known.is_none() {
            return Err(Fault::usage(format!(
                "--timezone {}: not a zone that is known\n  write UTC+0200, GMT, Z or an \
                 abbreviation such as CET; for a place such as Europe/Zurich set the variable TZ",
                plain(zone)
            )));
        }
        dates.set_default_zone(known);
    }
    if let Some(pattern) = pattern {
        preamble.datepattern(&pattern.value, &dates.describe().1);
    }
    Ok(dates)
}

/// Who hears of the lines.
trait Hearer: Tally {
    /// True if nobody listens any more.
    fn is_deaf(&self) -> bool {
        false
    }

    /// As something that other threads may count for, if it is.
    fn shared(&mut self) -> Option<&mut (dyn Tally + Send)> {
        None
    }
}

/// `--out`: each failure is printed as it comes.
struct List<'a, W: Write> {
    printer: Printer,
    invert: bool,
    out: &'a mut W,
    broken: Option<io::Error>,
}

impl<W: Write> Hearer for List<'_, W> {
    fn is_deaf(&self) -> bool {
        self.broken.is_some()
    }
}

impl<W: Write> Tally for List<'_, W> {
    fn scanned(&mut self, number: u64, line: &str, scan: Scan, scanner: &Scanner) {
        if self.broken.is_some() {
            return;
        }
        let counted = scan.failures.iter().any(|failure| !failure.nofail);
        let (printer, out) = (&self.printer, &mut *self.out);
        let written = match (self.invert, counted && scan.ignored_by.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => printer.write_other(line, scanner.last_date(), number, out),
            (false, _) => {
                scan.failures.iter().try_for_each(|failure| printer.write(failure, number, out))
            }
        };
        self.broken = written.err();
    }

    fn passed(&mut self, number: u64, line: &[u8], scanner: &Scanner) {
        let line = String::from_utf8_lossy(line);
        self.scanned(number, &line, Scan::default(), scanner);
    }

    fn wants(&self) -> Wants {
        if self.invert { Wants::Lines } else { Wants::Failures }
    }

    fn passed_many(&mut self, _: u64, _: u64) {}

    fn counted(&mut self, _: usize, _: bool) {}

    fn counted_many(&mut self, _: &[u64], _: u64) {}

    fn concluded(&mut self, _: &[u8], _: usize, _: bool, _: bool) {}
}

/// The report.
struct Summary {
    report: Report,
    now: Timestamp,
    /// Lines that waited in the buffer before this one.
    buffered: Vec<String>,
    multiline: bool,
}

impl Hearer for Summary {
    fn shared(&mut self) -> Option<&mut (dyn Tally + Send)> {
        Some(self)
    }
}

impl Tally for Summary {
    fn scanned(&mut self, _: u64, line: &str, scan: Scan, scanner: &Scanner) {
        if self.multiline {
            // What waited in the buffer and is gone now belongs to the match.
            let still: Vec<String> =
                scanner.buffered().iter().map(|line| line.whole().to_string()).collect();
            let full = self.buffered.len() >= scanner.filter().maxlines;
            for waited in self.buffered.iter().skip(usize::from(full)) {
                if !still.contains(waited) {
                    self.report.take_back_missed(waited);
                }
            }
            self.buffered = still;
        }
        self.report.add(line, &scan, self.now);
    }

    fn passed(&mut self, number: u64, line: &[u8], scanner: &Scanner) {
        let line = String::from_utf8_lossy(line);
        self.scanned(number, &line, Scan::default(), scanner);
    }

    fn wants(&self) -> Wants {
        match self.report.wants_missed_line() || self.report.wants_details() {
            true => Wants::Lines,
            false => Wants::Counts,
        }
    }

    fn passed_many(&mut self, lines: u64, prefixed: u64) {
        self.report.add_missed(lines, prefixed);
    }

    fn counted(&mut self, regex: usize, prefixed: bool) {
        self.report.add_counted(regex, 1, u64::from(prefixed));
    }

    fn counted_many(&mut self, hits: &[u64], prefixed: u64) {
        hits.iter().enumerate().for_each(|(regex, hits)| self.report.add_counted(regex, *hits, 0));
        self.report.add_missed(0, prefixed);
    }

    fn concluded(&mut self, line: &[u8], regex: usize, nofail: bool, prefixed: bool) {
        match nofail {
            true => self.report.add_nofail(line, regex, u64::from(prefixed)),
            false => self.report.add_counted(regex, 1, u64::from(prefixed)),
        }
    }
}

/// Reads a file, a pipe or the text itself. Answers what the user should know of losses.
fn read_log(
    log: &LogTarget,
    options: &Options,
    scanner: &mut Scanner,
    now: Timestamp,
    hearer: &mut dyn Hearer,
) -> Result<Vec<String>, Stop> {
    let word = options.encoding.as_deref().unwrap_or("auto");
    let encoding = Encoding::parse(word).map_err(|error| Fault::usage(format!("-e: {error}")))?;
    let mut size = 0;
    let (input, name): (Box<dyn Read + Send>, String) = match log {
        LogTarget::Lines(text) => (Box::new(Cursor::new(text.clone())), "the text".to_owned()),
        LogTarget::File(path) => {
            let name = plain(&path.to_string_lossy()).into_owned();
            let file = File::open(path)
                .map_err(|error| Fault::new(exit::NOINPUT, format!("{name}: {error}")))?;
            size = file.metadata().ok().filter(|m| m.is_file()).map_or(0, |m| m.len());
            (Box::new(file), name)
        }
        LogTarget::Stdin | LogTarget::Journal(_) => {
            (Box::new(io::stdin()), "standard input".to_owned())
        }
    };
    let quiet = options.out.is_some() && io::stdout().is_terminal();
    let mut progress = Progress::new(options.progress && !quiet, size);
    let mut blocks = Blocks::new(input, encoding);
    let unreadable =
        |error: io::Error| Fault::new(exit::IOERR, format!("{name}: cannot be read: {error}"));
    if size >= BESIDE_BYTES_MIN
        && let Some(tally) = hearer.shared()
        && let Some(helper) = scanner.helper()
    {
        let mut job = Job { blocks, scanner, tally, now, progress: &mut progress };
        beside::read(&mut job, helper).map_err(unreadable)?;
        blocks = job.blocks;
    } else {
        let mut number = 0;
        while let Some(block) = blocks.next().map_err(unreadable)? {
            number = scanner.scan_block(block.bytes, number, now, hearer);
            if hearer.is_deaf() {
                break;
            }
            progress.tick(blocks.read_bytes(), number);
        }
    }
    progress.finish();
    let mut lost = Vec::new();
    if blocks.cut_lines() > 0 {
        let count = blocks.cut_lines();
        lost.push(format!(
            "{name}: {count} line(s) were longer than {} KiB and have been cut there",
            crate::source::LINE_BYTES_MAX >> 10
        ));
    }
    lost.extend(out_of_steps(scanner));
    Ok(lost)
}

fn out_of_steps(scanner: &Scanner) -> Option<String> {
    let count = scanner.out_of_steps();
    (count > 0).then(|| {
        format!(
            "an expression ran out of steps {count} time(s), and the lines counted as not \
             matching: simplify nested repetitions such as '(a+)+'"
        )
    })
}

fn read_journal(
    task: &Task,
    words: &str,
    spec: &FilterSpec,
    scanner: &mut Scanner,
    now: Timestamp,
    hearer: &mut dyn Hearer,
) -> Result<Vec<String>, Stop> {
    let options = option_list(words)?;
    let options = JournalOptions::new(&options).map_err(|bad| {
        Fault::usage(format!(
            "systemd-journal[…]: '{}' is not known\n  write journalpath=DIR, journalfiles=FILES, \
             journalflags=NUMBER or namespace=NAME",
            plain(&bad.0)
        ))
    })?;
    let matches = journal_matches(task, spec);
    let unavailable = |error: &io::Error| {
        Fault::new(exit::UNAVAILABLE, format!("journalctl cannot be run: {error}"))
    };
    let mut journal = Journal::open(&options, &matches).map_err(|error| unavailable(&error))?;
    let mut number = 0;
    while let Some(entry) = journal.next().map_err(|error| unavailable(&error))? {
        number += 1;
        let scan = scanner.scan_stamped(&entry.text, &entry.stamp, entry.at, now);
        hearer.scanned(number, &entry.text, scan, scanner);
        if hearer.is_deaf() {
            return Ok(Vec::new());
        }
    }
    if !journal.finish().map_err(|error| unavailable(&error))? {
        let what = format!("{}: journalctl failed; its own message stands above", TOOL.name);
        return Err(Fault::new(exit::UNAVAILABLE, what).into());
    }
    Ok(out_of_steps(scanner).into_iter().collect())
}
