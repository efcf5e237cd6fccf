//! `DateDetector`: the templates of one log, and what was learned about their order.
//!
//! Which template wins a line is decided as fail2ban decides it, since on logs with several dates
//! in a line filters depend on that. In short:
//!
//! - The template that won last is tried first: anywhere, if it is bound to the line; else only at
//!   the place where it stood, provided that the characters around that place are alike. If it
//!   matches elsewhere it is only a candidate.
//! - Then all are tried in order. The first one wins, unless it stands further right than it used
//!   to (a date in the message?): then it is a candidate, and the leftmost candidate wins if
//!   nothing better comes.
//! - A winner moves up in the order if it weighs more (hits by distance from the line's beginning)
//!   than those before it, or if they have not been used for long.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::DateError;
use super::defaults::{Defaults, defaults};
use super::directive::Decades;
use super::front::Front;
use super::matcher::{Scratch, is_word};
use super::recall::{Memory, Recall};
use super::template::{DateTemplate, LINE_BEGIN, date_tags, keyword, unbound};
use crate::time::{Timestamp, Zone};

/// Seconds after which a template that was not used gives way to one that is.
const UNUSED_SECONDS: i64 = 300;
/// The distance of a template that never matched: beyond every line.
const FAR: usize = 0x7fff_ffff;
/// How much of a line is looked at by [`DateDetector::find_again`].
const HEAD: usize = 512;

/// A date that was found in a line.
#[derive(Clone, Debug)]
pub struct DateMatch {
    /// The bytes to cut out of the line: the first group of the template. May be empty, which says
    /// that the line has no date of its own (`{NONE}`, or a group that took no part).
    pub cut: Range<usize>,
    /// Which template matched: its number in the order in which the templates were given.
    pub template: usize,
    pub(crate) span: Range<usize>,
    /// The end of the part of the line that was searched.
    pub(crate) until: usize,
    /// It is known without reading it that a calendar has this date.
    pub(crate) readable: bool,
}

/// The same date at the same place, however it was found.
impl PartialEq for DateMatch {
    fn eq(&self, other: &DateMatch) -> bool {
        let place = |one: &DateMatch| (one.cut.clone(), one.template, one.span.clone(), one.until);
        place(self) == place(other)
    }
}

impl Eq for DateMatch {}

/// What a report tells of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateInfo<'d> {
    /// The name under which its hits are listed.
    pub name: &'d str,
    /// The date pattern; the forms that are no patterns (epoch, TAI64N) have none.
    pub pattern: Option<&'d str>,
    /// The expression that the pattern stands for.
    pub regex: &'d str,
    /// Lines in which it found the date.
    pub hits: u64,
    /// Its present weight: hits times `base_weight` by distance.
    pub weight: f64,
    /// What it weighs by itself: 100 for the twins bound to the line's beginning, else 1.
    pub base_weight: f64,
}

/// A template's place in the order, and its record.
#[derive(Clone, Debug)]
struct Rank {
    id: usize,
    template: Arc<DateTemplate>,
    hits: u64,
    /// Matches, also those that did not win the line.
    matches: u64,
    last_used: Timestamp,
    /// Characters before its last match.
    distance: usize,
}

impl Rank {
    fn weight(&self) -> f64 {
        self.hits as f64 * self.template.weight / self.distance.max(1) as f64
    }
}

/// A match before it has won.
#[derive(Clone, Debug)]
struct Hit {
    rank: usize,
    found: DateMatch,
    /// Where it begins and ends, in characters.
    distance: usize,
    end: usize,
}

/// The place of the last winner: positions in characters, and what stood around them.
#[derive(Clone, Copy, Debug)]
struct Place {
    distance: usize,
    before: Option<char>,
    first: Option<char>,
    end: usize,
    last: Option<char>,
    after: Option<char>,
}

/// Finds the dates of one log's lines, and learns from them.
#[derive(Clone, Debug)]
pub struct DateDetector {
    ranks: Vec<Rank>,
    /// Rank of the last winner.
    last: Option<usize>,
    first_unused: usize,
    place: Place,
    scratch: Scratch,
    memory: Memory,
    recall: RefCell<Recall>,
    /// How the last line began whose stamp is known by its bytes, and its template.
    front: Option<(Front, usize)>,
}

impl DateDetector {
    /// A detector for the patterns of a `datepattern` option, one a line; without any, or with
    /// `{DEFAULT}` alone, for the default templates. `now` limits the years that `%ExY` takes.
    ///
    /// # Errors
    ///
    /// [`DateError`] for a pattern that cannot be read, or that is there twice.
    pub fn new(patterns: Option<&str>, now: Timestamp) -> Result<DateDetector, DateError> {
        let year = Zone::Fixed(0).civil(now).map_or(0, |civil| civil.year);
        let decades = Decades::until(year);
        let mut detector = DateDetector {
            ranks: Vec::new(),
            last: None,
            first_unused: 0,
            place: Place {
                distance: 1,
                before: None,
                first: None,
                end: FAR,
                last: None,
                after: None,
            },
            scratch: Scratch::default(),
            memory: Memory::default(),
            recall: RefCell::default(),
            front: None,
        };
        let lines = patterns.unwrap_or_default().lines().map(str::trim);
        for pattern in lines.filter(|line| !line.is_empty()) {
            detector.add_pattern(pattern, decades)?;
        }
        if detector.ranks.is_empty() {
            detector.add_all(defaults(decades).all, false)?;
        } else if patterns.is_some_and(|patterns| patterns.lines().any(asks_for_defaults)) {
            detector.weigh_as_defaults(decades);
        }
        Ok(detector)
    }

    fn add_pattern(&mut self, pattern: &str, decades: Decades) -> Result<(), DateError> {
        let key = keyword(pattern);
        let lenient = !self.ranks.is_empty();
        if key == LINE_BEGIN {
            let Defaults { mut all, .. } = defaults(decades);
            all.retain(|template| template.line_begin);
            return self.add_all(all, lenient);
        }
        // The defaults come by themselves if nothing else does.
        if key == "{DEFAULT}" {
            return Ok(());
        }
        if key.contains("{DATE}") {
            let mut made = Vec::new();
            for template in defaults(decades).plain {
                let mut text = pattern.to_owned();
                for tag in date_tags(pattern).into_iter().rev() {
                    text.replace_range(tag, unbound(template.source()));
                }
                let made_of = DateTemplate::new(&text, decades).map_err(|e| e.of(pattern))?;
                made.push(Arc::new(made_of));
            }
            return self.add_all(made, lenient);
        }
        let source = if key == "{NONE}" { "{UNB}^" } else { pattern };
        self.add(Arc::new(DateTemplate::new(source, decades)?), false)
    }

    /// A pattern that is one of the defaults, word for word, weighs as much wherever the defaults
    /// are asked for as well: it is one template to fail2ban.
    fn weigh_as_defaults(&mut self, decades: Decades) {
        let twins = defaults(decades).all;
        for rank in &mut self.ranks {
            let same = |twin: &&Arc<DateTemplate>| {
                twin.name == rank.template.name && twin.regex == rank.template.regex
            };
            if let Some(twin) = twins.iter().find(same) {
                rank.template = Arc::clone(twin);
            }
        }
    }

    fn add_all(
        &mut self,
        templates: Vec<Arc<DateTemplate>>,
        lenient: bool,
    ) -> Result<(), DateError> {
        templates.into_iter().try_for_each(|template| self.add(template, lenient))
    }

    fn add(&mut self, template: Arc<DateTemplate>, lenient: bool) -> Result<(), DateError> {
        if self.ranks.iter().any(|rank| rank.template.name == template.name) {
            let name = template.name.clone();
            return if lenient { Ok(()) } else { Err(DateError::Twice { name }) };
        }
        self.ranks.push(Rank {
            id: self.ranks.len(),
            template,
            hits: 0,
            matches: 0,
            last_used: Timestamp::default(),
            distance: FAR,
        });
        Ok(())
    }

    /// Takes over what `other` counted since it was the clone `since`, where neither has learnt
    /// anything: the order of templates is the same in all three.
    pub fn absorb(&mut self, other: &DateDetector, since: &DateDetector) {
        for ((rank, new), old) in self.ranks.iter_mut().zip(&other.ranks).zip(&since.ranks) {
            rank.hits += new.hits.saturating_sub(old.hits);
            rank.matches += new.matches.saturating_sub(old.matches);
            if new.hits > old.hits {
                rank.last_used = new.last_used;
                rank.distance = new.distance;
            }
        }
        self.first_unused = self.first_unused.max(other.first_unused);
        self.place = other.place;
    }

    /// Sets the zone of stamps that name none (`logtimezone`); [`None`] for the machine's.
    pub fn set_default_zone(&mut self, zone: Option<Zone>) {
        self.recall.get_mut().set_default_zone(zone);
    }

    /// Sets the machine's zone. It is [`Zone::Local`] unless set: tests set it.
    pub fn set_local_zone(&mut self, zone: Zone) {
        self.recall.get_mut().set_local_zone(zone);
    }

    /// Finds the date of a line and learns from it; `None` if no template matches.
    pub fn find(&mut self, line: &str, now: Timestamp) -> Option<DateMatch> {
        let mut best: Option<Hit> = None;
        let mut skip = None;
        if let Some((number, anchored)) = self.last_rank() {
            let part = if anchored { None } else { self.same_place(line) };
            skip = part.is_none().then_some(number);
            if let Some(hit) = self.try_rank(number, line, part.unwrap_or(0..line.len())) {
                let same = hit.distance == self.place.distance && hit.end == self.place.end;
                if anchored || same || self.ranks.len() == 1 {
                    return Some(self.win(line, hit, now));
                }
                best = Some(hit);
            }
        }
        for number in (0..self.ranks.len()).filter(|number| Some(*number) != skip) {
            let Some(hit) = self.try_rank(number, line, 0..line.len()) else { continue };
            if self.is_sure(&hit) {
                return Some(self.win(line, hit, now));
            }
            if best.as_ref().is_none_or(|best| hit.distance < best.distance) {
                best = Some(hit);
            }
        }
        best.map(|hit| self.win(line, hit, now))
    }

    /// Reads the date that was found in `line`; `None` for a date that no calendar has.
    pub fn time(&self, line: &str, found: &DateMatch, now: Timestamp) -> Option<Timestamp> {
        let template = &self.ranks.iter().find(|rank| rank.id == found.template)?.template;
        let Ok(mut recall) = self.recall.try_borrow_mut() else { return None };
        recall.time(template, line, found, now)
    }

    /// The quick way for the next line of a log: the date, if the template that won last certainly
    /// wins again, with all that [`find`](DateDetector::find) does on a win. `None` says nothing:
    /// ask `find`. The line comes without its newline and need not be UTF-8 behind the date.
    #[inline]
    pub fn find_again(&mut self, line: &[u8], now: Timestamp) -> Option<DateMatch> {
        let number = self.last?;
        let rank = self.ranks.get(number)?;
        if rank.template.anchored {
            let found = match rank.template.shape.and_then(|shape| shape.find(line)) {
                Some(cut) => {
                    let front = rank.template.shape.filter(|_| cut.start == 0);
                    let front = front.and_then(|shape| Front::new(shape, line, cut.end));
                    self.front = front.map(|front| (front, rank.id));
                    let (span, until) = (0..cut.end, usize::MAX);
                    DateMatch { span, cut, template: rank.id, until, readable: true }
                }
                None => self.match_head(number, line)?,
            };
            let start = found.span.start;
            self.count_match(number);
            self.count(number, start, now);
            self.place.distance = start;
            return Some(found);
        }
        let found = self.match_part(number, line)?;
        self.count_match(number);
        self.count(number, self.place.distance, now);
        let char_at = |at: usize| line.get(at).map(|byte| char::from(*byte));
        self.place.before = found.span.start.checked_sub(1).and_then(char_at);
        self.place.first = char_at(found.span.start);
        self.place.last = found.span.end.checked_sub(1).and_then(char_at);
        self.place.after = char_at(found.span.end);
        Some(found)
    }

    /// How a line begins whose date is certainly found by the template that won last, at the
    /// line's front; `None` where there is no such knowledge.
    #[inline]
    pub fn front(&self) -> Option<&Front> {
        let (front, template) = self.front.as_ref()?;
        let rank = self.ranks.get(self.last?)?;
        (rank.id == *template).then_some(front)
    }

    /// Counts so many lines that [`front`](DateDetector::front) fits, as
    /// [`find_again`](DateDetector::find_again) does.
    #[inline]
    pub fn count_fronts(&mut self, lines: u64, now: Timestamp) {
        let Some(number) = self.last.filter(|_| lines > 0) else { return };
        if let Some(rank) = self.ranks.get_mut(number) {
            rank.matches += lines;
            rank.hits += lines - 1;
        }
        self.count(number, 0, now);
        self.place.distance = 0;
    }

    /// The date of a line that [`front`](DateDetector::front) fits.
    pub fn front_match(&self) -> Option<DateMatch> {
        let (front, template) = self.front.as_ref()?;
        let cut = 0..front.length();
        let (span, until) = (cut.clone(), usize::MAX);
        Some(DateMatch { span, cut, template: *template, until, readable: true })
    }

    /// Matches a template that is bound to the line's beginning against the head of the line. The
    /// match counts only if it did not look beyond the head.
    fn match_head(&mut self, number: usize, line: &[u8]) -> Option<DateMatch> {
        let rank = self.ranks.get(number)?;
        if !rank.template.program.anchored() {
            return None;
        }
        if let Some(found) = self.memory.recall(rank.id, line) {
            return Some(found);
        }
        let head = line.get(..HEAD).unwrap_or(line);
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
        };
        if !rank.template.program.search(&mut self.scratch, text, 0..text.len()) {
            return None;
        }
        let seen = self.scratch.seen();
        if seen > text.len() && text.len() < line.len() {
            return None;
        }
        let found = take(&self.scratch, rank.id, usize::MAX)?;
        self.memory.keep(rank.id, 0, line.get(..seen), &found);
        Some(found)
    }

    /// Matches the last winner at its place, if all up to there is ASCII.
    fn match_part(&mut self, number: usize, line: &[u8]) -> Option<DateMatch> {
        let (distance, end) = (self.place.distance, self.place.end);
        if line.len() < end || distance > end || end > HEAD {
            return None;
        }
        let head = line.get(..end + 1).unwrap_or(line);
        if !head.is_ascii() {
            return None;
        }
        let text = std::str::from_utf8(head).ok()?;
        let part = self.same_place(text)?;
        let rank = self.ranks.get(number)?;
        // The border before the date is certain where no word goes on.
        if let Some(shape) = rank.template.shape
            && shape.fills(head.get(part.clone())?)
            && !head.get(..distance)?.last().is_some_and(|byte| is_word(char::from(*byte)))
        {
            let (cut, span) = (part.clone(), part);
            return Some(DateMatch { cut, span, template: rank.id, until: end, readable: true });
        }
        let known = self.memory.recall(rank.id, head).filter(|found| found.span == part);
        if known.is_some() {
            return known;
        }
        if !rank.template.program.search(&mut self.scratch, text, part.clone()) {
            return None;
        }
        let found = take(&self.scratch, rank.id, end)?;
        if found.span != part {
            return None;
        }
        // A plain template looks back by no more than one character.
        let from = distance.saturating_sub(1);
        if rank.template.program.plain() {
            self.memory.keep(rank.id, from, head.get(from..end), &found);
        }
        Some(found)
    }

    /// What fail2ban-regex prints of a pattern: pattern and name of the first template, or words
    /// for the default ones.
    pub fn describe(&self) -> (Option<String>, String) {
        match self.ranks.as_slice() {
            [first] | [first, _] => (first.template.pattern.clone(), first.template.name.clone()),
            _ => (None, "Default Detectors".to_owned()),
        }
    }

    /// All templates in their present order.
    pub fn templates(&self) -> impl Iterator<Item = TemplateInfo<'_>> {
        self.ranks.iter().map(|rank| TemplateInfo {
            name: &rank.template.name,
            pattern: rank.template.pattern.as_deref(),
            regex: &rank.template.regex,
            hits: rank.hits,
            weight: rank.weight(),
            base_weight: rank.template.weight,
        })
    }

    /// The name of the template that found a date.
    pub fn name(&self, found: &DateMatch) -> Option<&str> {
        let rank = self.ranks.iter().find(|rank| rank.id == found.template)?;
        Some(&rank.template.name)
    }

    /// Searches that were given up because they took too many steps.
    pub fn overruns(&self) -> u64 {
        self.scratch.overruns()
    }

    fn last_rank(&self) -> Option<(usize, bool)> {
        let number = self.last?;
        self.ranks.get(number).map(|rank| (number, rank.template.anchored))
    }

    fn try_rank(&mut self, number: usize, line: &str, part: Range<usize>) -> Option<Hit> {
        let rank = self.ranks.get_mut(number)?;
        let whole = part == (0..line.len());
        let until = if whole { usize::MAX } else { part.end };
        if !rank.template.program.search(&mut self.scratch, line, part) {
            return None;
        }
        rank.matches += 1;
        let found = take(&self.scratch, rank.id, until)?;
        let distance = chars_until(line, found.span.start);
        let end = chars_until(line, found.span.end);
        Some(Hit { rank: number, found, distance, end })
    }

    /// Whether nothing better than this can come when all are tried in order.
    fn is_sure(&self, hit: &Hit) -> bool {
        let Some(rank) = self.ranks.get(hit.rank) else { return false };
        let Some(next) = self.ranks.get(hit.rank + 1) else { return true };
        rank.template.anchored
            || (hit.distance == 0 && rank.hits > 0 && next.matches == 0)
            || (hit.distance <= rank.distance && hit.distance <= self.place.distance)
    }

    /// The bytes of the last winner's place, if what stands around it is alike in this line:
    /// outside the same characters, or inside the same ones that belong to no word.
    fn same_place(&self, line: &str) -> Option<Range<usize>> {
        let Place { distance, before, first, end, last, after } = self.place;
        let mark = |c: Option<char>| !c.is_some_and(|c| is_word(c) && c != '_');
        let char_at = |place: Option<usize>| {
            line.get(byte_at(line, place?)..).and_then(|rest| rest.chars().next())
        };
        let left = char_at(distance.checked_sub(1)) == before
            || (char_at(Some(distance)) == first && mark(first));
        let right =
            char_at(Some(end)) == after || (char_at(end.checked_sub(1)) == last && mark(last));
        (left && right).then(|| byte_at(line, distance)..byte_at(line, end))
    }

    fn win(&mut self, line: &str, hit: Hit, now: Timestamp) -> DateMatch {
        let Hit { rank, found, distance, end } = hit;
        self.count(rank, distance, now);
        let Range { start, end: stop } = found.span;
        let next = |at: usize| line.get(at..).and_then(|rest| rest.chars().next());
        let previous = |at: usize| line.get(..at).and_then(|head| head.chars().next_back());
        self.place = Place {
            distance,
            before: previous(start),
            first: next(start),
            end,
            // Behind nothing stands, going round, the line's last character.
            last: previous(if stop == 0 { line.len() } else { stop }),
            after: next(stop),
        };
        let moved = rank > 0 && Some(rank) != self.last;
        self.last = Some(if moved { self.move_up(rank) } else { rank });
        found
    }

    #[inline]
    fn count_match(&mut self, number: usize) {
        if let Some(rank) = self.ranks.get_mut(number) {
            rank.matches += 1;
        }
    }

    #[inline]
    fn count(&mut self, number: usize, distance: usize, now: Timestamp) {
        if let Some(rank) = self.ranks.get_mut(number) {
            rank.hits += 1;
            rank.last_used = now;
            rank.distance = distance;
        }
        if self.first_unused == number {
            self.first_unused += 1;
        }
    }

    /// Moves a winner up in the order, if it outweighs who stands where it would go: the first that
    /// was never used, or half way up, else one place up. Tells where it stands then.
    fn move_up(&mut self, number: usize) -> usize {
        let Some(rank) = self.ranks.get(number) else { return number };
        let weight = rank.weight();
        let long_ago = rank.last_used.plus_secs(-UNUSED_SECONDS);
        let gives_way = |place: usize| {
            self.ranks
                .get(place)
                .is_some_and(|other| weight > other.weight() || long_ago > other.last_used)
        };
        let far = if self.first_unused < number { self.first_unused } else { number / 2 };
        let near = number.saturating_sub(1);
        let Some(place) = [far, near].into_iter().find(|place| gives_way(*place)) else {
            return number;
        };
        if let Some(moved) = self.ranks.get_mut(place..=number) {
            moved.rotate_right(1);
        }
        while self.ranks.get(self.first_unused).is_some_and(|rank| rank.hits > 0) {
            self.first_unused += 1;
        }
        place
    }
}

/// True for a line of `datepattern` that stands for default templates.
fn asks_for_defaults(pattern: &str) -> bool {
    [LINE_BEGIN, "{DEFAULT}"].contains(&keyword(pattern.trim()).as_str())
}

/// The last match of a search.
fn take(scratch: &Scratch, template: usize, until: usize) -> Option<DateMatch> {
    let span = scratch.group(0)?;
    // A first group that took no part leaves nothing to cut.
    let cut = scratch.group(1).unwrap_or(0..0);
    Some(DateMatch { cut, template, span, until, readable: false })
}

fn chars_until(line: &str, at: usize) -> usize {
    let head = line.get(..at).unwrap_or(line);
    if head.is_ascii() { head.len() } else { head.chars().count() }
}

/// The byte at which a character begins, by its number; the line's length if it has fewer.
fn byte_at(line: &str, chars: usize) -> usize {
    match line.as_bytes().get(..chars) {
        Some(head) if head.is_ascii() => chars,
        _ => line.char_indices().nth(chars).map_or(line.len(), |(at, _)| at),
    }
}
