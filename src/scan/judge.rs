//! The verdict on one line: which expression took it, and whom that names.

use std::{ops::Range, sync::Arc};

use super::{CutLine, Failure, Parts, Scan, Scanner, multiline};
use crate::{
    filter::{Draft, Expression, Field, Fields, Filter, Hit, Marks, Outcome, Piece, UseDns},
    net,
    time::Timestamp,
};

/// What a buffer of several lines may hold.
const BUFFER_BYTES_MAX: usize = 2 << 20;

/// What one match came to.
enum Conclusion {
    Found(Failure),
    /// Matched, and nothing is to be told: the line is done.
    Nothing,
    /// Matched, but it names nobody: the next expression may.
    Unknown,
}

impl Scanner {
    pub(super) fn scan_parts(
        &mut self,
        parts: Parts<'_>,
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Scan {
        let mut scan = Scan::default();
        if self.filter.maxlines > 1 {
            self.buffer.push(parts.to_line());
            let surplus = self.buffer.len().saturating_sub(self.filter.maxlines);
            self.buffer.drain(..surplus);
            self.bound_buffer();
            self.judge_buffer(time, now, &mut scan);
            self.out_of_steps += u64::from(scan.out_of_steps);
            return scan;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.push_str(parts.before);
        text.push_str(parts.after);
        text.push('\n');
        let filter = Arc::clone(&self.filter);
        self.judge_line(&filter, parts, &text, time, now, &mut scan);
        self.text = text;
        self.out_of_steps += u64::from(scan.out_of_steps);
        scan
    }

    /// Long lines let fewer of them wait.
    fn bound_buffer(&mut self) {
        let mut bytes = 0;
        let fitting = self.buffer.iter().rev().take_while(|line| {
            bytes += line.whole().len();
            bytes <= BUFFER_BYTES_MAX
        });
        let kept = fitting.count().max(1);
        self.buffer.drain(..self.buffer.len().saturating_sub(kept));
    }

    /// With few ignoreregexes it is cheaper to ask them first; the rule is fail2ban's.
    fn ignores_first(&self) -> bool {
        let (fails, ignores) = (self.filter.failregex.len(), self.filter.ignoreregex.len());
        ignores > 0 && ignores + 2 < fails
    }

    /// The usual case: the buffer is one line. `text` is that line without its date, and a newline.
    /// `filter` is the scanner's own, which threads share: it is not for each line to hold it.
    pub(super) fn judge_line(
        &mut self,
        filter: &Filter,
        parts: Parts<'_>,
        text: &str,
        time: Option<Timestamp>,
        now: Timestamp,
        scan: &mut Scan,
    ) {
        let is_ascii = text.is_ascii();
        if self.ignores_first() && self.is_ignored(text, scan) {
            return;
        }
        let mut source = Source::new(parts, text, self.details);
        let mut content = text;
        let mut offset = 0;
        let owned;
        if let Some(prefregex) = &filter.prefregex {
            if !found(prefregex, text, is_ascii, &mut self.pre_hit, scan) {
                return;
            }
            let range = prefregex.pattern.group("content");
            let range = range.and_then(|group| self.pre_hit.groups.get(group)?.clone());
            if let Some(range) = range.filter(|range| !range.is_empty()) {
                // The content usually ends where the line does, so its newline is there already.
                let with_newline = text.get(range.start..range.end + 1);
                offset = range.start;
                content = match with_newline.filter(|content| content.ends_with('\n')) {
                    Some(content) => content,
                    None => {
                        owned = format!("{}\n", text.get(range).unwrap_or_default());
                        &owned
                    }
                };
            }
            scan.prefixed = true;
            if self.options.check_all && self.details {
                let fields = prefix_fields(prefregex, &self.pre_hit, |at| source.piece(at));
                scan.prefregex = Some(fields);
            }
        }
        self.choose(content.as_bytes());
        let mut candidates = std::mem::take(&mut self.candidates);
        while let Some(regex) = candidates.next() {
            let Some(expression) = filter.failregex.get(regex) else { continue };
            let Some(hit) = self.hits.get_mut(regex) else { continue };
            if !found(expression, content, is_ascii, hit, scan) {
                continue;
            }
            if !filter.ignoreregex.is_empty() && self.is_ignored(content, scan) {
                if !self.options.check_all {
                    break;
                }
                continue;
            }
            let Some(hit) = self.hits.get(regex) else { continue };
            if self.is_lean() {
                let mut marks = expression.marks(offset, hit);
                if let Some(prefregex) = &filter.prefregex {
                    marks = marks.over(prefregex.marks(0, &self.pre_hit));
                }
                match self.defers {
                    true => scan.deferred.push((regex, marks)),
                    false => {
                        let nofail = self.count_match(&marks, text.as_bytes(), now);
                        scan.failures.extend(nofail.map(|nofail| Failure::counted(regex, nofail)));
                    }
                }
                continue;
            }
            let fields =
                expression.fields(hit, |at| source.piece(offset + at.start..offset + at.end));
            let merged = match &filter.prefregex {
                Some(prefregex) => {
                    let mut merged = prefix_fields(prefregex, &self.pre_hit, |at| source.piece(at));
                    merged.update(fields);
                    merged
                }
                None => fields,
            };
            match self.conclude(regex, merged, source.line().as_slice(), time, now) {
                Conclusion::Found(failure) => scan.failures.push(failure),
                Conclusion::Nothing => {}
                Conclusion::Unknown => continue,
            }
            if !self.options.check_all {
                break;
            }
        }
        self.candidates = candidates;
    }

    /// The buffer holds several lines: what matches is taken out of it, the rest waits.
    fn judge_buffer(&mut self, time: Option<Timestamp>, now: Timestamp, scan: &mut Scan) {
        let lines = self.buffer.clone();
        let mut text = multiline::text_of(&lines);
        if self.ignores_first() && self.is_ignored(&text, scan) {
            return;
        }
        let mut common = Fields::default();
        if let Some(prefregex) = &self.filter.prefregex {
            if !found(prefregex, &text, text.is_ascii(), &mut self.pre_hit, scan) {
                return;
            }
            let line: Arc<str> = text.as_str().into();
            common = prefregex.fields(&self.pre_hit, |at| Piece::new(&line, at));
            let content = common.take("content");
            scan.prefixed = true;
            scan.prefregex = Some(common.clone());
            if let Some(content) = content.as_ref().and_then(Field::text).filter(|c| !c.is_empty())
            {
                text = format!("{content}\n");
                self.buffer = vec![CutLine::undated(content)];
            }
        }
        let mut stale = false;
        let mut candidates = std::mem::take(&mut self.candidates);
        self.gate.choose(text.as_bytes(), &mut candidates);
        while let Some(regex) = candidates.next() {
            // The buffer only shrinks, so no expression can have become a candidate meanwhile.
            if std::mem::take(&mut stale) {
                text = multiline::text_of(&self.buffer);
            }
            let Some(expression) = self.filter.failregex.get(regex) else { continue };
            let Some(hit) = self.hits.get_mut(regex) else { continue };
            if !found(expression, &text, text.is_ascii(), hit, scan) {
                continue;
            }
            let line: Arc<str> = text.as_str().into();
            let fields = expression.fields(hit, |at| Piece::new(&line, at));
            let span = hit.span.clone();
            let (taken, left) = multiline::split(&text, &span, &lines, &skipped(&fields));
            if !self.filter.ignoreregex.is_empty()
                && self.is_ignored(&multiline::text_of(&taken), scan)
            {
                self.buffer = left;
                stale = true;
                if !self.options.check_all {
                    break;
                }
                continue;
            }
            self.buffer = left;
            stale = true;
            let mut merged = common.clone();
            merged.update(fields);
            match self.conclude(regex, merged, &taken, time, now) {
                Conclusion::Found(failure) => scan.failures.push(failure),
                Conclusion::Nothing => {}
                Conclusion::Unknown => continue,
            }
            if !self.options.check_all {
                break;
            }
        }
        self.candidates = candidates;
    }

    /// Asks the ignoreregexes; in a report, all of them.
    fn is_ignored(&mut self, text: &str, scan: &mut Scan) -> bool {
        let mut ignored = false;
        for (index, expression) in self.filter.ignoreregex.iter().enumerate() {
            if found(expression, text, text.is_ascii(), &mut self.ignore_hit, scan) {
                ignored = true;
                scan.ignored_by.push(index);
                if !self.options.check_all {
                    break;
                }
            }
        }
        ignored
    }

    /// True if matches need not be told, only counted: all of a line, as a report counts them.
    fn is_lean(&self) -> bool {
        !self.details && self.options.check_all
    }

    /// Finds all matches of a line as long as the quick machine can tell: `text` is ASCII, a line
    /// without its date, with its newline. They are left in `matches`. Answers whether prefregex
    /// matched, or `None` if it takes the long way to tell. Only for a filter without
    /// ignoreregexes and without a buffer.
    pub(super) fn match_all(&mut self, filter: &Filter, text: &[u8]) -> Option<bool> {
        self.matches.clear();
        let (mut content, mut offset) = (text, 0);
        if let Some(prefregex) = &filter.prefregex {
            match prefregex.pattern.search_line(text, &mut self.recall, &mut self.pre_memory) {
                Outcome::Found => {}
                Outcome::Nowhere => return Some(false),
                Outcome::Unknown => return None,
            }
            let range = self.content.and_then(|group| self.pre_memory.group(group));
            if let Some(range) = range.filter(|range| !range.is_empty()) {
                if range.end + 1 != text.len() {
                    return None;
                }
                offset = range.start;
                content = text.get(offset..)?;
            }
        }
        self.choose(content);
        while let Some(regex) = self.candidates.next() {
            let Some(expression) = filter.failregex.get(regex) else { continue };
            match expression.pattern.search_ascii(content, &mut self.memory) {
                Outcome::Nowhere => {}
                Outcome::Found => {
                    let mut marks = expression.marks_in(offset, &self.memory);
                    if let Some(prefregex) = &filter.prefregex {
                        marks = marks.over(prefregex.marks_in(0, &self.pre_memory));
                    }
                    self.matches.push((regex, marks));
                }
                Outcome::Unknown => return None,
            }
        }
        Some(filter.prefregex.is_some())
    }

    /// Concludes a match of which only the count is asked for, and tells whether it is no failure;
    /// `None` if it names nobody. `text` is what the marks are of.
    pub(super) fn count_match(
        &mut self,
        marks: &Marks,
        text: &[u8],
        now: Timestamp,
    ) -> Option<bool> {
        let facts = marks.facts(text);
        match marks.session_of(text) {
            // Pending failures are counted in a report, too.
            Some(id) => Some(self.sessions.count(id, &facts, now)),
            None if facts.named => Some(facts.nofail),
            None => None,
        }
    }

    /// Names the offender of one match, by way of its session if it has one.
    fn conclude(
        &mut self,
        regex: usize,
        fields: Fields,
        matched: &[CutLine],
        time: Option<Timestamp>,
        now: Timestamp,
    ) -> Conclusion {
        let Some(id) = fields.text("mlfid").map(str::to_owned) else {
            let mut draft = Draft::of(fields);
            draft.lines = matched.to_vec();
            return self.name_offender(regex, &mut draft, false, time);
        };
        let merged = self.sessions.merge(id.as_bytes(), fields, matched, now);
        let mut draft = merged.draft;
        let conclusion = match draft.is_nofail() && !self.options.check_all {
            true => Conclusion::Nothing,
            false => self.name_offender(regex, &mut draft, true, time),
        };
        match merged.goes_on {
            true => self.sessions.keep(id.as_bytes(), draft, now),
            false => self.sessions.forget(id.as_bytes()),
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
        let known = ["ip4", "ip6", "dns", "fid", "host"].iter().any(|n| fields.get(n).is_some());
        if known && !self.details {
            let nofail = draft.is_nofail();
            return Conclusion::Found(Failure { regex, nofail, ..Failure::default() });
        }
        let id = fields.get("fid").map(plain_text);
        let piece = |name: &str| fields.get(name).and_then(Field::piece);
        let address = piece("ip4").or(piece("ip6"));
        let name = piece("dns").or(piece("host"));
        let mut lookup = false;
        let (id, host) = match (id, address, name) {
            (Some(id), Some(address), _) if id != *address => {
                (Some(normal(&id)), Some(normal(address)))
            }
            (_, Some(address), _) => {
                let host = normal(address);
                let bits = fields.text("cidr").filter(|bits| !bits.is_empty());
                let id = bits.map(|bits| net::normal_id(&format!("{}/{bits}", &**address)).into());
                (Some(id.unwrap_or_else(|| host.clone())), Some(host))
            }
            (id, None, Some(name)) => {
                lookup = !self.options.raw_hosts
                    && matches!(self.filter.usedns, UseDns::Yes | UseDns::Warn)
                    && net::parse_address(name).is_none();
                let id = id.filter(|_| !lookup).unwrap_or_else(|| name.clone());
                (Some(normal(&id)), Some(normal(name)))
            }
            (Some(id), None, None) => {
                let id = normal(&id);
                let host = is_address(&id).then(|| id.clone());
                (Some(id), host)
            }
            (None, None, None) if !in_session => return Conclusion::Unknown,
            (None, None, None) => {
                draft.set_pending();
                if !self.options.check_all && !self.options.keep_pending {
                    return Conclusion::Nothing;
                }
                (None, None)
            }
        };
        let (users, nofail) = (draft.users(), draft.is_nofail());
        // A session goes on with what it has.
        let (fields, lines) = match in_session {
            true => (draft.fields.clone(), draft.lines.clone()),
            false => (std::mem::take(&mut draft.fields), std::mem::take(&mut draft.lines)),
        };
        Conclusion::Found(Failure {
            regex,
            id,
            host,
            lookup,
            time,
            fields,
            users,
            attempts: u32::try_from(lines.len().max(1)).unwrap_or(u32::MAX),
            lines,
            nofail,
        })
    }
}

/// Searches, and counts it if the engine gave up.
fn found(
    expression: &Expression,
    text: &str,
    is_ascii: bool,
    hit: &mut Hit,
    scan: &mut Scan,
) -> bool {
    match expression.pattern.search_known(text, is_ascii, hit) {
        Ok(found) => found,
        Err(_) => {
            scan.out_of_steps += 1;
            false
        }
    }
}

/// A line from which pieces are taken, and its text: it without its date, with a newline.
struct Source<'a> {
    parts: Parts<'a>,
    text: &'a str,
    /// The whole line, as it is kept; made when the first piece of it is.
    line: Option<CutLine>,
    /// Where only numbers are asked for, nobody will look at the line again.
    keeps_line: bool,
    /// The text, for pieces that are none of the line.
    own: Option<Arc<str>>,
}

impl<'a> Source<'a> {
    fn new(parts: Parts<'a>, text: &'a str, keeps_line: bool) -> Source<'a> {
        Source { parts, text, line: None, keeps_line, own: None }
    }

    fn line(&mut self) -> Option<CutLine> {
        self.keeps_line.then(|| self.whole().clone())
    }

    fn whole(&mut self) -> &CutLine {
        self.line.get_or_insert_with(|| self.parts.to_line())
    }

    /// The piece of the text at `range`. Most stand on one side of the date, and so in the line,
    /// too.
    fn piece(&mut self, range: Range<usize>) -> Piece {
        let (before, date) = (self.parts.before.len(), self.parts.date.len());
        let in_line = match self.keeps_line && range.end < self.text.len() {
            true if range.end <= before => Some(range.clone()),
            true if range.start >= before => Some(range.start + date..range.end + date),
            _ => None,
        };
        match in_line {
            Some(range) => Piece::new(self.whole().whole(), range),
            None => Piece::new(self.own.get_or_insert_with(|| self.text.into()), range),
        }
    }
}

/// What prefregex captured, without the content that it handed on.
fn prefix_fields(
    prefregex: &Expression,
    hit: &Hit,
    piece: impl FnMut(Range<usize>) -> Piece,
) -> Fields {
    let mut fields = prefregex.fields(hit, piece);
    fields.take("content");
    fields
}

/// True for an address or a network.
fn is_address(id: &str) -> bool {
    let address = id.split_once('/').map_or(id, |(address, _)| address);
    net::parse_address(address).is_some()
}

fn plain_text(field: &Field) -> Piece {
    match field {
        Field::Text(text) => text.clone(),
        Field::Tuple(parts) => {
            let parts: Vec<&str> = parts.iter().map(|p| p.as_deref().unwrap_or_default()).collect();
            parts.join(" ").into()
        }
    }
}

/// An id in its one spelling, which most have already.
fn normal(text: &Piece) -> Piece {
    match net::is_normal_id(text) {
        true => text.clone(),
        false => net::normal_id(text).into(),
    }
}

/// The lines that `<SKIPLINES>` passed over.
fn skipped(fields: &Fields) -> Vec<String> {
    let mut all = String::new();
    let mut number = 0;
    while let Some(text) = fields.text(&format!("skiplines{number}")) {
        all.push_str(text);
        number += 1;
    }
    all.split_terminator('\n').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces are cut out of the whole line, which has a date that the searched text lacks.
    #[test]
    fn a_piece_is_what_the_expression_saw() {
        let dated = |whole| Parts { before: "<3>ä", date: "Jan 1", after: " sshd: ö", whole };
        let rows = [
            dated(Some("<3>äJan 1 sshd: ö")),
            dated(None),
            Parts { before: "", date: "12:00", after: " x", whole: Some("12:00 x") },
            Parts::undated("no date"),
            Parts { date: "of the line before", whole: None, ..Parts::undated("line") },
        ];
        for parts in rows {
            let text = [parts.before, parts.after, "\n"].concat();
            for keeps_line in [true, false] {
                let mut source = Source::new(parts, &text, keeps_line);
                let places = 0..=text.len();
                for (from, to) in places.clone().flat_map(|a| places.clone().map(move |b| (a, b))) {
                    let expected = text.get(from..to).unwrap_or_default();
                    assert_eq!(&*source.piece(from..to), expected, "{text:?} {from}..{to}");
                }
                let line = source.line();
                assert_eq!(line.is_some(), keeps_line);
                let whole = [parts.before, parts.date, parts.after].concat();
                assert!(
                    line.is_none_or(|line| **line.whole() == *whole && line.date() == parts.date)
                );
            }
        }
    }
}
