//! What a detector remembers of the last line: where its date stood, and what moment it was.
//!
//! Lines come in bursts, and a burst carries one stamp. Each memory answers only where the matcher
//! and the reader would say the same.

use super::calendar::Calendar;
use super::detector::DateMatch;
use super::matcher::Scratch;
use super::read::{Read, Reader, epoch, tai64n};
use super::template::{DateTemplate, Reading};
use crate::time::{Timestamp, Zone};

/// The head of the last line that the matcher read for `find_again`, and what it found there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    template: usize,
    /// Position of `bytes` in the line.
    from: usize,
    bytes: Vec<u8>,
    found: Option<DateMatch>,
}

impl Memory {
    /// What was found in this line's head, if it is the same.
    pub(crate) fn recall(&self, template: usize, line: &[u8]) -> Option<DateMatch> {
        let found = self.found.as_ref().filter(|_| self.template == template)?;
        let bytes = line.get(self.from..self.from + self.bytes.len())?;
        (bytes == self.bytes).then(|| found.clone())
    }

    /// Keeps what was found, unless the bytes that decided it are not all there.
    pub(crate) fn keep(
        &mut self,
        template: usize,
        from: usize,
        bytes: Option<&[u8]>,
        found: &DateMatch,
    ) {
        let Some(bytes) = bytes else {
            self.found = None;
            return;
        };
        self.template = template;
        self.from = from;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.found = Some(found.clone());
    }
}

/// The last stamp that was read, and the zones by which stamps are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recall {
    scratch: Scratch,
    calendar: Calendar,
    default_zone: Option<Zone>,
    template: usize,
    text: String,
    read: Option<Read>,
    now_seconds: i64,
}

impl Recall {
    pub(crate) fn set_default_zone(&mut self, zone: Option<Zone>) {
        self.default_zone = zone;
        self.read = None;
    }

    pub(crate) fn set_local_zone(&mut self, zone: Zone) {
        self.calendar = Calendar::new(zone);
        self.read = None;
    }

    /// The moment of a date that was found in `line`.
    pub(crate) fn time(
        &mut self,
        template: &DateTemplate,
        line: &str,
        found: &DateMatch,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let text = line.get(found.span.clone())?;
        if let Some(read) = self.read
            && self.template == found.template
            && self.text == text
            && (!read.assumed || self.now_seconds == now.secs())
        {
            return Some(read.at);
        }
        let read = self.read(template, line, found, now);
        // Kept only where the text alone tells what the groups are.
        self.read = read.filter(|_| template.program.plain());
        if self.read.is_some() {
            self.template = found.template;
            self.text.clear();
            self.text.push_str(text);
            self.now_seconds = now.secs();
        }
        read.map(|read| read.at)
    }

    fn read(
        &mut self,
        template: &DateTemplate,
        line: &str,
        found: &DateMatch,
        now: Timestamp,
    ) -> Option<Read> {
        let Recall { scratch, calendar, default_zone, .. } = self;
        let reader = Reader { now, default_zone: *default_zone, calendar };
        let cut = line.get(found.cut.clone())?;
        if let Some(shape) = template.shape
            && shape.fills(cut.as_bytes())
            && let Some(fields) = shape.fields(cut.as_bytes())
        {
            return reader.resolve(fields);
        }
        let plain = |at| Some(Read { at, assumed: false });
        match template.reading {
            Reading::Epoch { group: 1, long } => return epoch(cut, long).and_then(plain),
            Reading::Tai => return tai64n(cut).and_then(plain),
            Reading::Epoch { .. } | Reading::Fields(_) => {}
        }
        if !template.program.search(scratch, line, found.span.start..found.until) {
            return None;
        }
        let group = |number| scratch.group(number).and_then(|range| line.get(range));
        match &template.reading {
            Reading::Fields(fields) => reader.civil(fields, group),
            Reading::Epoch { group: number, long } => epoch(group(*number)?, *long).and_then(plain),
            Reading::Tai => None,
        }
    }
}
