//! `Scanner`: a line goes in, failures come out.
//!
//! ```text
//! line ──► date cut out ──► ignoreregex? ──► prefregex ──► failregex … ──► session ──► Failure
//! ```
//!
//! The same scanner serves live jails, replays and `sentryban-regex`. It holds what one log needs
//! from line to line: the learning date detector, the buffer of `maxlines` lines, the sessions.
//! [`Scanner::scan`] takes one line; `block.rs` takes many at once and looks only at those that
//! could matter.

pub mod block;
mod gate;
mod multiline;

use std::sync::Arc;

use crate::{
    date::DateDetector,
    filter::{Draft, Expression, Fields, Filter, Hit, Sessions, UseDns},
    net,
    time::Timestamp,
};

pub use crate::record::CutLine;
pub use block::Tally;
use gate::Gate;

/// How a scanner is used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ScanOptions {
    /// Try every failregex on a line, as `sentryban-regex` reports; else the first match decides.
    pub check_all: bool,
    /// Tell of failures whose address is not known yet.
    pub keep_pending: bool,
    /// Names stand for themselves: no failure asks for a look-up.
    pub raw_hosts: bool,
    /// A line without a date happens now; else its failures have no time.
    pub assume_now: bool,
}

/// One failregex found one failure.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Which failregex, counted from 0.
    pub regex: usize,
    /// The id under which the failure counts: an address, a network, a name, an `<F-ID>`. `None`
    /// where a session's address is not known yet (only when pending failures are asked for).
    pub id: Option<String>,
    /// The address or name of the offender, if the expression gave one.
    pub host: Option<String>,
    /// True if the id is a name that `usedns` wants looked up (`yes`, `warn`).
    pub lookup: bool,
    /// When it happened; `None` if the line has no readable date and the scanner assumes none.
    pub time: Option<Timestamp>,
    /// All named groups, merged over prefregex, alternatives and session.
    pub fields: Fields,
    /// The users that its session tried, if it is one.
    pub users: Vec<String>,
    /// How many failures this stands for: the number of its lines, at least 1.
    pub attempts: u32,
    /// The lines that made it, oldest first.
    pub lines: Vec<Arc<CutLine>>,
    /// `<F-NOFAIL>`: matched, yet no failure.
    pub nofail: bool,
}

/// What became of one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What was found, in the order of the failregexes; several only when all are checked.
    pub failures: Vec<Failure>,
    /// The ignoreregexes that took the line, counted from 0.
    pub ignored_by: Vec<usize>,
    /// The groups of prefregex, if there is one and it matched.
    pub prefregex: Option<Fields>,
    /// An expression ran out of steps on this line: it counts as not matching.
    pub out_of_steps: u32,
}

/// Reads one log through one filter.
#[derive(Debug)]
pub struct Scanner {
    filter: Filter,
    dates: DateDetector,
    options: ScanOptions,
    gate: Gate,
    sessions: Sessions,
    /// The last `maxlines` lines that no failure has taken.
    buffer: Vec<CutLine>,
    /// Date of the last line that had one, and how it was written.
    last_date: Option<(Timestamp, String)>,
    hit: Hit,
}

/// How far back the date of an earlier line serves a line without one, in seconds.
const LAST_DATE_S: i64 = 60;

/// A line whose date has been found.
struct Dated {
    line: CutLine,
    time: Option<Timestamp>,
}

/// What the expressions are run on: one text, and the lines it came from.
struct Buffer {
    /// Ends with a newline.
    text: String,
    /// Lines that `text` was made of, or that stand behind a prefregex's content.
    lines: Vec<CutLine>,
}

impl Scanner {
    /// A scanner for one log.
    pub fn new(filter: Filter, dates: DateDetector, options: ScanOptions) -> Scanner {
        let gate = Gate::new(&filter);
        Scanner {
            filter,
            dates,
            options,
            gate,
            sessions: Sessions::default(),
            buffer: Vec::new(),
            last_date: None,
            hit: Hit::default(),
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The date detector, for its templates and their hits.
    pub fn dates(&self) -> &DateDetector {
        &self.dates
    }

    /// Lines that are still in the buffer, oldest first: `sentryban-regex` asks which have left.
    pub fn buffered(&self) -> &[CutLine] {
        &self.buffer
    }

    /// Scans one line, given without its line break.
    pub fn scan(&mut self, line: &str, now: Timestamp) -> Scan {
        let dated = self.cut_date(line, now);
        self.scan_cut(dated, now)
    }

    /// Scans a line whose time is known from elsewhere: a journal entry. `stamp` is that time as
    /// text, for display.
    pub fn scan_stamped(&mut self, line: &str, stamp: &str, at: Timestamp, now: Timestamp) -> Scan {
        self.last_date = Some((at, stamp.to_owned()));
        let line =
            CutLine { before: String::new(), date: stamp.to_owned(), after: line.to_owned() };
        self.scan_cut(Dated { line, time: Some(at) }, now)
    }

    /// Finds the date, cuts the line at it, and says when the line was written.
    fn cut_date(&mut self, line: &str, now: Timestamp) -> Dated {
        let found = self.dates.find(line, now);
        let whole = || CutLine { after: line.to_owned(), ..CutLine::default() };
        let (cut, time) = match found {
            Some(found) => {
                let part = |range: std::ops::Range<usize>| line.get(range).unwrap_or_default().to_owned();
                let cut = CutLine {
                    before: part(0..found.cut.start),
                    date: part(found.cut.clone()),
                    after: part(found.cut.end..line.len()),
                };
                if cut.date.is_empty() {
                    // The pattern says that there is no date to be had.
                    return match self.recent_date(now) {
                        Some((time, date)) => {
                            Dated { line: CutLine { date, ..whole() }, time: Some(time) }
                        }
                        None => Dated { line: cut, time: Some(now) },
                    };
                }
                let time = self.dates.time(line, &found, now);
                if let Some(time) = time {
                    self.last_date = Some((time, cut.date.clone()));
                }
                (cut, time)
            }
            None => (whole(), None),
        };
        if time.is_some() {
            return Dated { line: cut, time };
        }
        match self.recent_date(now) {
            Some((time, date)) => Dated { line: CutLine { date, ..whole() }, time: Some(time) },
            None => Dated { line: cut, time: self.options.assume_now.then_some(now) },
        }
    }

    fn recent_date(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        self.last_date.clone().filter(|(time, _)| *time > now.plus_secs(-LAST_DATE_S))
    }

    fn scan_cut(&mut self, dated: Dated, now: Timestamp) -> Scan {
        let multiline = self.filter.maxlines > 1;
        if multiline {
            self.buffer.push(dated.line);
            let surplus = self.buffer.len().saturating_sub(self.filter.maxlines);
            self.buffer.drain(..surplus);
        } else {
            self.buffer.clear();
            self.buffer.push(dated.line);
        }
        let lines = self.buffer.clone();
        let buffer = Buffer { text: multiline::text_of(&lines), lines };
        let mut scan = Scan::default();
        self.judge(buffer, dated.time, now, &mut scan);
        scan
    }

    /// Runs the expressions over the buffer, as the daemon or the report wants it.
    fn judge(&mut self, original: Buffer, time: Option<Timestamp>, now: Timestamp, scan: &mut Scan) {
        let multiline = self.filter.maxlines > 1;
        let (fails, ignores) = (self.filter.failregex.len(), self.filter.ignoreregex.len());
        // With few ignoreregexes it is cheaper to ask them first; the rule is fail2ban's.
        if ignores > 0 && ignores + 2 < fails && self.is_ignored(&original.text, scan) {
            return;
        }
        let mut common = Fields::default();
        let mut text = original.text.clone();
        if let Some(prefregex) = &self.filter.prefregex {
            match prefregex.pattern.search(&text, &mut self.hit) {
                Ok(true) => common = prefregex.fields(&text, &self.hit),
                Ok(false) => return,
                Err(_) => {
                    scan.out_of_steps += 1;
                    return;
                }
            }
            scan.prefregex = Some(common.clone());
            if let Some(content) = common.take("content")
                && let Some(content) = content.text().filter(|content| !content.is_empty())
            {
                text = format!("{content}\n");
                let after = content.to_owned();
                self.buffer = vec![CutLine { after, ..CutLine::default() }];
            }
        }
        let mut stale = false;
        for regex in self.gate.candidates(&text, multiline) {
            if stale {
                text = multiline::text_of(&self.buffer);
                stale = false;
            }
            let Some(expression) = self.filter.failregex.get(regex) else { continue };
            match expression.pattern.search(&text, &mut self.hit) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => {
                    scan.out_of_steps += 1;
                    continue;
                }
            }
            let fields = expression.fields(&text, &self.hit);
            let (matched, unmatched) =
                multiline::split(&text, &self.hit.span, &original.lines, &skipped(&fields));
            if ignores > 0 {
                let ignored_text =
                    if multiline { multiline::text_of(&matched) } else { text.clone() };
                if self.is_ignored(&ignored_text, scan) {
                    if !self.options.check_all || multiline {
                        self.buffer = unmatched;
                    }
                    stale = true;
                    if !self.options.check_all {
                        break;
                    }
                    continue;
                }
            }
            if !self.options.check_all || multiline {
                self.buffer = unmatched;
                stale = true;
            }
            let mut merged = common.clone();
            merged.update(fields);
            let matched: Vec<Arc<CutLine>> = matched.into_iter().map(Arc::new).collect();
            match self.conclude(regex, merged, matched, time, now) {
                Conclusion::Found(failure) => scan.failures.push(failure),
                Conclusion::Nothing => {}
                Conclusion::Unknown => continue,
            }
            if !self.options.check_all {
                break;
            }
        }
    }

    /// Asks the ignoreregexes; in a report, all of them.
    fn is_ignored(&mut self, text: &str, scan: &mut Scan) -> bool {
        let mut ignored = false;
        for (index, expression) in self.filter.ignoreregex.iter().enumerate() {
            match expression.pattern.search(text, &mut self.hit) {
                Ok(true) => {
                    ignored = true;
                    scan.ignored_by.push(index);
                    if !self.options.check_all {
                        break;
                    }
                }
                Ok(false) => {}
                Err(_) => scan.out_of_steps += 1,
            }
        }
        ignored
    }

    /// Names the offender of one match, by way of its session if it has one.
    fn conclude(
        &mut self,
        regex: usize,
        fields: Fields,
        matched: Vec<Arc<CutLine>>,
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Conclusion {
        let session = fields.text("mlfid").map(str::to_owned);
        let mut goes_on = false;
        let mut draft = match &session {
            Some(id) => {
                let merged = self.sessions.merge(id, fields, &matched, now);
                goes_on = merged.goes_on;
                merged.draft
            }
            None => {
                let mut draft = Draft::of(fields);
                draft.lines = matched;
                draft
            }
        };
        let conclusion = if session.is_some() && draft.is_nofail() && !self.options.check_all {
            Conclusion::Nothing
        } else {
            self.name_offender(regex, &mut draft, session.is_some(), time)
        };
        if let Some(id) = session {
            match goes_on {
                true => self.sessions.keep(&id, draft, now),
                false => self.sessions.forget(&id),
            }
        }
        conclusion
    }

    fn name_offender(
        &self,
        regex: usize,
        draft: &mut Draft,
        in_session: bool,
        time: Option<Timestamp>,
    ) -> Conclusion {
        let fields = &draft.fields;
        let id = fields.get("fid").map(plain_text);
        let address = fields.text("ip4").or(fields.text("ip6"));
        let name = fields.text("dns").or(fields.text("host"));
        let mut lookup = false;
        let (id, host) = match (id, address, name) {
            (Some(id), Some(address), _) => {
                let id = if id == address { with_prefix(address, fields) } else { net::normal_id(&id) };
                (Some(id), Some(net::normal_id(address)))
            }
            (None, Some(address), _) => {
                (Some(with_prefix(address, fields)), Some(net::normal_id(address)))
            }
            (id, None, Some(name)) => {
                lookup = !self.options.raw_hosts
                    && matches!(self.filter.usedns, UseDns::Yes | UseDns::Warn)
                    && net::parse_address(name).is_none();
                let id = if lookup { name.to_owned() } else { id.unwrap_or(name.to_owned()) };
                (Some(net::normal_id(&id)), Some(net::normal_id(name)))
            }
            (Some(id), None, None) => {
                let id = net::normal_id(&id);
                let host = id_address(&id).then(|| id.clone());
                (Some(id), host)
            }
            (None, None, None) if !in_session => return Conclusion::Unknown,
            (None, None, None) => {
                draft.pending = true;
                if !self.options.check_all && !self.options.keep_pending {
                    return Conclusion::Nothing;
                }
                (None, None)
            }
        };
        Conclusion::Found(Failure {
            regex,
            id,
            host,
            lookup,
            time,
            fields: draft.fields.clone(),
            users: draft.users.clone(),
            attempts: u32::try_from(draft.lines.len().max(1)).unwrap_or(u32::MAX),
            lines: draft.lines.clone(),
            nofail: draft.is_nofail(),
        })
    }
}

enum Conclusion {
    Found(Failure),
    /// Matched, and nothing is to be told: the line is done.
    Nothing,
    /// Matched, but it names nobody: the next expression may.
    Unknown,
}

/// An address, with the length of its network if the expression took one.
fn with_prefix(address: &str, fields: &Fields) -> String {
    match fields.text("cidr") {
        Some(bits) if !bits.is_empty() => net::normal_id(&format!("{address}/{bits}")),
        _ => net::normal_id(address),
    }
}

/// True for an address or a network.
fn id_address(id: &str) -> bool {
    let address = id.split_once('/').map_or(id, |(address, _)| address);
    net::parse_address(address).is_some()
}

fn plain_text(field: &crate::filter::Field) -> String {
    match field {
        crate::filter::Field::Text(text) => text.clone(),
        crate::filter::Field::Tuple(parts) => {
            let parts: Vec<&str> = parts.iter().map(|part| part.as_deref().unwrap_or("None")).collect();
            parts.join(", ")
        }
    }
}

/// The lines that `<SKIPLINES>` passed over.
fn skipped(fields: &Fields) -> Vec<String> {
    let mut all = String::new();
    for number in 0.. {
        match fields.text(&format!("skiplines{number}")) {
            Some(text) => all.push_str(text),
            None => break,
        }
    }
    all.lines().map(str::to_owned).collect()
}

impl Expression {
    /// True if lines of one connection have to be joined.
    fn has_session(&self) -> bool {
        self.pattern.group("mlfid").is_some()
    }
}
