//! The ini dialect in which fail2ban's files are written, which is that of Python's ConfigParser.
//!
//! ```text
//! [section]            header; what follows the last `]` is ignored
//! Name = value         `=` or `:`, the first one counts; the name is lower-cased
//!    more of it        a deeper indent continues the value, each line stripped
//!                      an empty line inside a value stays an empty line
//!    # a comment       `#` or `;` first on a line: dropped, inside values as well
//!    text ; comment    white space and `;` cut a line short, everywhere
//! ```
//!
//! A section or an option that comes twice in one file is an error. Unlike Python, which stops at
//! the first error, all of them are reported, and what could be read is handed back beside them.
//! A byte order mark is skipped (Python stumbles over it).

use std::{collections::HashSet, sync::Arc};

use indexmap::IndexMap;

use super::{
    finding::Finding,
    text::{Options, Text},
};
use crate::place::Place;

/// What one file says.
#[derive(Clone, Debug, Default)]
pub struct Ini {
    /// `[DEFAULT]`.
    pub defaults: Options,
    /// The other sections, in order.
    pub sections: IndexMap<String, Section>,
}

/// One section of one file.
#[derive(Clone, Debug)]
pub struct Section {
    /// Where its header stands.
    pub at: Place,
    /// Its own options.
    pub options: Options,
}

/// White space as Python's `str` understands it: Unicode's, and the four ASCII separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Reads the bytes of a file named `file`, together with everything that is wrong in it.
pub fn parse(bytes: &[u8], file: &Arc<str>) -> (Ini, Vec<Finding>) {
    let place = |line| Place { file: file.clone(), line };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.contains(&0) {
        let what = "this is a binary file, not a configuration (it holds NUL bytes)";
        let fault = Finding::fault(place(0), what, "replace it by a text file, or remove it");
        return (Ini::default(), vec![fault]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = memchr::memchr_iter(b'\n', good).count() + 1;
            let what = "the file is not UTF-8 text";
            let write = format!("convert it, for example with `iconv -f latin1 -t utf-8 {file}`");
            let fault = Finding::fault(place(line_number(line)), what, write);
            return (Ini::default(), vec![fault]);
        }
    };
    let mut reader = Reader::new(file.clone());
    for (number, line) in lines(text).enumerate() {
        reader.line(line, line_number(number + 1));
    }
    reader.finish()
}

fn line_number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Lines as text mode sees them: ended by `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr2(b'\n', b'\r', rest.as_bytes()).unwrap_or(rest.len());
        let (line, tail) = rest.split_at_checked(end)?;
        let tail = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\r', '\n']));
        rest = tail.unwrap_or_default();
        Some(line)
    })
}

/// Reads line by line; knows the section and the option that a continuation would belong to.
struct Reader {
    file: Arc<str>,
    ini: Ini,
    findings: Vec<Finding>,
    /// The section in which we are; `None` before the first header.
    section: Option<String>,
    /// The option to which continuation lines belong.
    option: Option<(String, Text)>,
    indent: usize,
    /// Options seen in this file, for duplicates: `[DEFAULT]` may be opened twice.
    seen: HashSet<(String, String)>,
}

impl Reader {
    fn new(file: Arc<str>) -> Reader {
        Reader {
            file,
            ini: Ini::default(),
            findings: Vec::new(),
            section: None,
            option: None,
            indent: 0,
            seen: HashSet::new(),
        }
    }

    fn line(&mut self, line: &str, number: u32) {
        let (code, has_comment) = without_comment(line);
        let value = code.trim_matches(is_space);
        let at = Place { file: self.file.clone(), line: number };
        if value.is_empty() {
            if let Some((_, text)) = self.option.as_mut().filter(|_| !has_comment) {
                text.push_line("", at);
            }
            return;
        }
        let indent = line.chars().take_while(|&c| is_space(c)).count();
        if let Some((_, text)) = self.option.as_mut().filter(|_| indent > self.indent) {
            text.push_line(value, at);
            return;
        }
        self.indent = indent;
        match header(value) {
            Some(name) => self.header(name, at),
            None => self.option(value, at),
        }
    }

    fn header(&mut self, name: &str, at: Place) {
        self.close();
        self.section = Some(name.to_owned());
        if name == "DEFAULT" {
            return;
        }
        match self.ini.sections.get(name) {
            None => {
                let section = Section { at, options: Options::new() };
                self.ini.sections.insert(name.to_owned(), section);
            }
            Some(first) => {
                let what = format!("section [{name}] stands twice in this file");
                let write = format!("move its options up to line {}", first.at.line);
                self.findings.push(Finding::fault(at, what, write).within(name));
            }
        }
    }

    fn option(&mut self, line: &str, at: Place) {
        let Some(section) = self.section.clone() else {
            let what = format!("'{}' stands before any section", shorten(line));
            let write = "write a header such as [DEFAULT], [Definition] or [sshd] above it";
            self.findings.push(Finding::fault(at, what, write));
            // One message is enough: the rest of the section-less part would repeat it.
            self.section = Some("DEFAULT".to_owned());
            self.option = None;
            return;
        };
        let Some(delimiter) = line.find(['=', ':']) else {
            let what = format!("'{}' is neither a section nor an option", shorten(line));
            let write = "write `name = value`, or indent it to continue the line above";
            self.findings.push(Finding::fault(at, what, write).within(section));
            return;
        };
        let (name, value) = line.split_at_checked(delimiter).unwrap_or((line, ""));
        let name = name.trim_end_matches(is_space).to_lowercase();
        let value = value.get(1..).unwrap_or_default().trim_matches(is_space);
        self.close();
        if name.is_empty() {
            let what = format!("'{}' has no name before the delimiter", shorten(line));
            let fault = Finding::fault(at, what, "write `name = value`");
            self.findings.push(fault.within(section));
            return;
        }
        if !self.seen.insert((section.clone(), name.clone())) {
            let what = format!("option '{name}' stands twice in section [{section}]");
            let first = self.options(&section).and_then(|options| options.get(&name));
            let first = first.map_or(0, |text| text.lines().next().map_or(0, |one| one.at.line));
            let write = format!("keep one of them; the first is on line {first}");
            self.findings.push(Finding::fault(at.clone(), what, write).within(section));
        }
        self.option = Some((name, Text::new(value, at)));
    }

    /// Puts the option that was being read into its section.
    fn close(&mut self) {
        let Some((name, mut text)) = self.option.take() else { return };
        text.trim_end();
        let section = self.section.clone().unwrap_or_default();
        if let Some(options) = self.options(&section) {
            options.insert(name, text);
        }
    }

    fn options(&mut self, section: &str) -> Option<&mut Options> {
        match section {
            "DEFAULT" => Some(&mut self.ini.defaults),
            name => self.ini.sections.get_mut(name).map(|section| &mut section.options),
        }
    }

    fn finish(mut self) -> (Ini, Vec<Finding>) {
        self.close();
        (self.ini, self.findings)
    }
}

/// The line without its comment, and whether it had one.
fn without_comment(line: &str) -> (&str, bool) {
    if line.trim_matches(is_space).starts_with(['#', ';']) {
        return ("", true);
    }
    for (at, _) in line.match_indices(';') {
        let (before, _) = line.split_at_checked(at).unwrap_or((line, ""));
        if before.chars().next_back().is_none_or(is_space) {
            return (before, true);
        }
    }
    (line, false)
}

/// The name in `[name]`: up to the last bracket, and not empty.
fn header(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('[')?;
    let (name, _) = inner.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// Enough of a line to find it again.
pub(super) fn shorten(line: &str) -> String {
    match line.char_indices().nth(60) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
    }
}
