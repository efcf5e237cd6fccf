//! How a line of our own log is laid out: fail2ban's format, or one written with `format=`.

use std::{borrow::Cow, fmt::Write as _};

use super::{Level, target::Target};
use crate::time::{Timestamp, Zone, push_digits};

/// One line before it has its shape.
pub struct Line<'a> {
    /// When it is written.
    pub now: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// The logger's whole name.
    pub name: &'a str,
    /// Our process.
    pub pid: u32,
    /// What it says.
    pub text: &'a str,
}

/// A format, taken apart once.
#[derive(Debug)]
pub struct Layout {
    /// Without the message where that is the last one.
    parts: Vec<Part>,
    ends_in_message: bool,
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    /// `%(name)-24s`: the key, the width (left-aligned below zero), the most that is shown.
    Field {
        key: String,
        width: i32,
        cut: Option<usize>,
    },
}

impl Layout {
    /// The layout that a target asks for.
    pub fn of(target: &Target) -> Layout {
        let (adds_time, pads) = (target.adds_time(), target.pads());
        match &target.format {
            Some(format) => Layout::parse(format),
            None => {
                let time = if adds_time { "%(asctime)s " } else { "" };
                let rest = match pads {
                    true => "%(name)-24s[%(process)d]: %(levelname)-7s %(message)s",
                    false => "%(name)s[%(process)d]: %(levelname)s %(message)s",
                };
                Layout::parse(&format!("{time}{rest}"))
            }
        }
    }

    /// Reads Python's `%(key)-24s`; what is no such field stands for itself.
    fn parse(format: &str) -> Layout {
        let mut parts = Vec::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            let (before, tail) = rest.split_at(at);
            push_text(&mut parts, before);
            if let Some(after) = tail.strip_prefix("%%") {
                push_text(&mut parts, "%");
                rest = after;
                continue;
            }
            match field(tail) {
                Some((part, after)) => {
                    parts.push(part);
                    rest = after;
                }
                None => {
                    push_text(&mut parts, "%");
                    rest = tail.get(1..).unwrap_or_default();
                }
            }
        }
        push_text(&mut parts, rest);
        let is_message = |part: &Part| matches!(part, Part::Field { key, .. } if key == "message");
        let plain = Part::Field { key: "message".to_owned(), width: 0, cut: None };
        let count = parts.iter().filter(|part| is_message(part)).count();
        let ends_in_message = parts.last() == Some(&plain) && count == 1;
        if ends_in_message {
            parts.pop();
        }
        Layout { parts, ends_in_message }
    }

    /// True if what a line says stands behind all else, and nowhere else: then what stands before
    /// it is the same for all lines of one moment, level and name.
    pub fn ends_in_message(&self) -> bool {
        self.ends_in_message
    }

    /// Appends the line, without its newline; without what it says where
    /// [that ends it](Layout::ends_in_message).
    pub fn render(&self, line: &Line<'_>, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { key, width, cut } => {
                    let value = value(key, line);
                    let shown: Cow<'_, str> = match cut {
                        Some(cut) => value.chars().take(*cut).collect::<String>().into(),
                        None => value,
                    };
                    let size = usize::try_from(width.unsigned_abs()).unwrap_or(0);
                    // Writing to a String never fails.
                    let _ = match *width < 0 {
                        true => write!(out, "{shown:<size$}"),
                        false => write!(out, "{shown:>size$}"),
                    };
                }
            }
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(last)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// `%(key)[-][width][.cut]{s,d}` and what follows it.
fn field(text: &str) -> Option<(Part, &str)> {
    let (key, rest) = text.strip_prefix("%(")?.split_once(')')?;
    let (left, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let (width, rest) = digits(rest);
    let (cut, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (cut, rest) = digits(rest);
            (Some(cut.parse().unwrap_or(0)), rest)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(['s', 'd', 'X', 'f'])?;
    // Nobody wants a column wider than this.
    let width = width.parse::<i32>().unwrap_or(0).min(200);
    let width = if left { -width } else { width };
    Some((Part::Field { key: key.to_owned(), width, cut }, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn value<'a>(key: &str, line: &Line<'a>) -> Cow<'a, str> {
    match key {
        "message" => line.text.into(),
        "name" => line.name.into(),
        "levelname" => line.level.name(),
        "levelno" => line.level.0.to_string().into(),
        "process" | "thread" => line.pid.to_string().into(),
        "asctime" => asctime(line.now).into(),
        "created" => format!("{:.6}", line.now.secs_f64()).into(),
        "msecs" => millis(line.now).to_string().into(),
        "processName" | "threadName" | "module" | "funcName" | "filename" => {
            env!("CARGO_PKG_NAME").into()
        }
        _ => "?".into(),
    }
}

fn millis(at: Timestamp) -> i64 {
    at.micros().rem_euclid(1_000_000) / 1000
}

/// `2005-08-14 12:00:00,123`, as the machine's zone has it.
pub fn asctime(at: Timestamp) -> String {
    let Some(civil) = Zone::Local.civil(at) else { return format!("{:.3}", at.secs_f64()) };
    let mut out = String::with_capacity(24);
    civil.append_to(&mut out);
    out.push(',');
    push_digits(&mut out, u32::try_from(millis(at)).unwrap_or(0), 100);
    out
}

/// One line, whatever is in it.
pub fn one_line(text: &str) -> Cow<'_, str> {
    // All of it is looked at, as that is done many bytes at a time.
    let is_plain = text.bytes().fold(true, |plain, byte| plain & matches!(byte, 0x20..0x7f));
    if is_plain || !text.contains(char::is_control) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() && c != '\t' {
            true => {
                // Writing to a String never fails.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            false => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_as_python_reads_them() {
        let line = Line {
            now: Timestamp::from_secs(0),
            level: Level::INFO,
            name: "sentryban.jail",
            pid: 7,
            text: "hello",
        };
        let rows = [
            ("%(name)-16s|%(levelname)8s|%(message).3s", "sentryban.jail  |    INFO|hel"),
            ("%(name)-4s|%(levelname)-7s|%(message)9s|", "sentryban.jail|INFO   |    hello|"),
            ("%(name)s|%(levelname)s|%(message)s", "sentryban.jail|INFO|hello"),
            ("100%% %(process)d%(levelno)4d", "100% 7  20"),
            ("%d %(broken", "%d %(broken"),
            ("%(nothing)s", "?"),
            ("%(message)s%(message)s", "hellohello"),
            ("%(message)5.2s%(message)s", "   hehello"),
            ("%(message)s.", "hello."),
            ("", ""),
        ];
        for (format, expected) in rows {
            let layout = Layout::parse(format);
            let mut out = String::new();
            layout.render(&line, &mut out);
            if layout.ends_in_message() {
                out.push_str(line.text);
            }
            assert_eq!(out, expected, "{format}");
        }
    }
}
