//! `--out`: failures alone, one a line, for other programs.
//!
//! A [`Form`] is read once from the command line, a [`Printer`] writes each [`Failure`] in it. The
//! forms are fail2ban-regex's down to Python's `None`, plus `json`, whose keys are a promise
//! (sentryban-regex(1)). Failures that do not count (`<F-NOFAIL>`, or still without an id) give
//! nothing.

use std::io::{self, Write};

use serde_json::Value;

use super::template::Template;
use crate::{
    cli::{
        exit::Fault,
        python::{float, repr_dict, repr_field, repr_option, repr_text, text_of_field},
        terminal::shown,
    },
    filter::{Field, Fields},
    scan::{CutLine, Failure},
    time::Timestamp,
};

/// How a failure is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Form {
    /// The id under which it counts.
    Id,
    /// Address or name of the offender; the id where there is none.
    Ip,
    /// Its lines.
    Msg,
    /// `[id, time, {groups}],` as Python writes it.
    Row,
    /// Its lines, each cut at its date, as a Python list.
    Matches,
    /// One captured group.
    Group(String),
    /// A text with tags.
    Template(Template),
    /// One JSON object.
    Json,
}

impl Form {
    /// Reads the word behind `--out`.
    ///
    /// # Errors
    /// A tag that only a running server can fill.
    pub fn parse(word: &str) -> Result<Form, Fault> {
        Ok(match word {
            "id" | "fid" => Form::Id,
            "ip" => Form::Ip,
            "msg" => Form::Msg,
            "row" => Form::Row,
            "matches" => Form::Matches,
            "json" => Form::Json,
            template if template.contains('<') => Form::Template(Template::parse(template)?),
            group => Form::Group(group.to_owned()),
        })
    }
}

/// Writes failures in one form.
#[derive(Clone, Debug)]
pub struct Printer {
    form: Form,
    to_terminal: bool,
    /// Groups of each failregex, for `row`: Python lists those that took no part as `None`.
    groups: Vec<Vec<String>>,
    /// Stands in a template for the time of a failure that has none.
    now: Timestamp,
}

impl Printer {
    /// A printer. `groups` holds, for each failregex, the names that a `row` shows even if their
    /// group took no part (those of prefregex if there is one, else the failregex's own), in order;
    /// may be empty.
    pub fn new(form: Form, groups: Vec<Vec<String>>, to_terminal: bool, now: Timestamp) -> Printer {
        Printer { form, to_terminal, groups, now }
    }

    /// Writes one failure, found on line `number` (from 1) of the log.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, failure: &Failure, number: u64, out: &mut impl Write) -> io::Result<()> {
        let Some(id) = failure.id.as_deref().filter(|_| !failure.nofail) else { return Ok(()) };
        match &self.form {
            Form::Json => write_json(failure, id, number, out),
            Form::Id => self.line(id, out),
            Form::Ip => self.line(failure.host.as_deref().unwrap_or(id), out),
            Form::Msg => failure.lines.iter().try_for_each(|line| self.line(line.whole(), out)),
            Form::Matches => self.line(&matches(&failure.lines), out),
            Form::Row => {
                let time = failure.time.map_or_else(|| "None".to_owned(), float);
                let groups = repr_dict(self.row_groups(failure));
                self.line(&format!("[{},\t{time},\t{groups}],", repr_text(id)), out)
            }
            Form::Group(name) => self.line(&group(failure, name), out),
            Form::Template(template) => template
                .fill(failure, id, self.now)
                .iter()
                .try_for_each(|text| self.line(text, out)),
        }
    }

    /// With `--invert`: writes a line that holds no failure. `last` is the last date seen in the
    /// log, which is all that is known of its time.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_other(
        &self,
        line: &str,
        last: Option<Timestamp>,
        number: u64,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut fields = Fields::default();
        fields.set(&"fid".into(), Field::Text("".into()));
        let nobody = Failure {
            regex: usize::MAX,
            id: Some("".into()),
            host: None,
            lookup: false,
            time: last,
            fields,
            attempts: 1,
            lines: vec![CutLine::undated(line)],
            users: Vec::new(),
            nofail: false,
        };
        self.write(&nobody, number, out)
    }

    fn line(&self, text: &str, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", shown(text, self.to_terminal))
    }

    /// The known groups in order, `None` for those that took no part, then whatever was merged in.
    fn row_groups<'a>(&'a self, failure: &'a Failure) -> Vec<(&'a str, String)> {
        let known = self.groups.get(failure.regex).map(Vec::as_slice).unwrap_or_default();
        let mut pairs: Vec<(&str, String)> = known
            .iter()
            .map(|name| {
                let value = failure.fields.get(name).map(repr_field);
                (name.as_str(), value.unwrap_or_else(|| repr_option(None)))
            })
            .collect();
        pairs.extend(
            failure
                .fields
                .iter()
                .filter(|(name, _)| !known.iter().any(|known| known == name))
                .map(|(name, field)| (name, repr_field(field))),
        );
        pairs
    }
}

/// A group's text; `None` as Python prints it. `host` without a group of that name is the
/// offender's address or name.
fn group(failure: &Failure, name: &str) -> String {
    match (failure.fields.get(name), &failure.host) {
        (Some(field), _) => text_of_field(field),
        (None, Some(host)) if name == "host" => host.to_string(),
        (None, _) => "None".to_owned(),
    }
}

fn matches(lines: &[CutLine]) -> String {
    let cut: Vec<String> = lines
        .iter()
        .map(|line| {
            let parts = [line.before(), line.date(), line.after()].map(repr_text);
            format!("({})", parts.join(", "))
        })
        .collect();
    format!("[{}]", cut.join(", "))
}

/// One object on one line, with a blank behind each comma and colon, as the manual shows it.
fn write_json(failure: &Failure, id: &str, number: u64, out: &mut impl Write) -> io::Result<()> {
    let time = Value::from(failure.time.map(Timestamp::secs_f64));
    let host = Value::from(failure.host.as_deref());
    let id = Value::from(id);
    let regex = failure.regex.saturating_add(1);
    write!(
        out,
        r#"{{"line": {number}, "time": {time}, "host": {host}, "id": {id}, "regex": {regex}, "groups": {{"#
    )?;
    for (index, (name, field)) in failure.fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let name = Value::from(name);
        match field {
            Field::Text(text) => write!(out, "{comma}{name}: {}", Value::from(&**text))?,
            Field::Tuple(parts) => {
                let parts: Vec<String> =
                    parts.iter().map(|part| Value::from(part.as_deref()).to_string()).collect();
                write!(out, "{comma}{name}: [{}]", parts.join(", "))?;
            }
        }
    }
    if !failure.users.is_empty() {
        let comma = if failure.fields.is_empty() { "" } else { ", " };
        let users: Vec<String> =
            failure.users.iter().map(|user| Value::from(user.as_str()).to_string()).collect();
        write!(out, r#"{comma}"users": [{}]"#, users.join(", "))?;
    }
    writeln!(out, r#"}}, "attempts": {}}}"#, failure.attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let mut fields = Fields::default();
        for (name, value) in [("user", "b\"o'b"), ("ip4", "192.0.2.1"), ("fport", "22")] {
            fields.set(&name.into(), Field::Text(value.into()));
        }
        let line = |second: u32, text: &str| {
            CutLine::new("", &format!("2005-08-14 12:00:{second:02}"), text)
        };
        Failure {
            regex: 2,
            id: Some("192.0.2.1".into()),
            host: Some("192.0.2.1".into()),
            lookup: false,
            time: Some(Timestamp::from_secs(1_124_013_599)),
            fields,
            attempts: 2,
            lines: vec![line(0, " one"), line(1, " two \u{1b}[2J")],
            users: Vec::new(),
            nofail: false,
        }
    }

    fn print(form: &str, failure: &Failure) -> String {
        let groups = vec![vec![]; 2].into_iter().chain([vec!["user".into(), "dns".into()]]);
        let printer = Printer::new(
            Form::parse(form).unwrap(),
            groups.collect(),
            false,
            Timestamp::from_secs(9),
        );
        let mut out = Vec::new();
        printer.write(failure, 12, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_form_has_its_text() {
        let rows = [
            ("id", "192.0.2.1\n"),
            ("fid", "192.0.2.1\n"),
            ("ip", "192.0.2.1\n"),
            ("host", "192.0.2.1\n"),
            ("ip4", "192.0.2.1\n"),
            ("ip6", "None\n"),
            ("user", "b\"o'b\n"),
            ("msg", "2005-08-14 12:00:00 one\n2005-08-14 12:00:01 two \u{1b}[2J\n"),
            (
                "matches",
                "[('', '2005-08-14 12:00:00', ' one'), \
                 ('', '2005-08-14 12:00:01', ' two \\x1b[2J')]\n",
            ),
            (
                "row",
                "['192.0.2.1',\t1124013599.0,\t{'user': 'b\"o\\'b', 'dns': None, \
                 'ip4': '192.0.2.1', 'fport': '22'}],\n",
            ),
            (
                "json",
                r#"{"line": 12, "time": 1124013599.0, "host": "192.0.2.1", "id": "192.0.2.1", "#,
            ),
            ("<ip> <fid> <F-USER>:<F-NONE>:<F-PORT>", "192.0.2.1 192.0.2.1 b\"o'b::22\n"),
            ("<time>|<family>|<ip-rev>|<failures>", "1124013599.0|inet4|1.2.0.192.|2\n"),
            ("<host><sp><br><bancount><restored>", "192.0.2.1 \n00\n"),
            ("a < b <user> <x> <>", "a < b <user> <x> <>\n"),
            (
                "<fid>: <msg>",
                "192.0.2.1: 2005-08-14 12:00:00 one\n192.0.2.1: 2005-08-14 12:00:01 two \u{1b}[2J\n",
            ),
            ("<matches>", "2005-08-14 12:00:00 one\n2005-08-14 12:00:01 two \u{1b}[2J\n"),
        ];
        for (form, expected) in rows {
            let printed = print(form, &failure());
            if form == "json" {
                let rest = r#""regex": 3, "groups": {"user": "b\"o'b", "ip4": "192.0.2.1", "fport": "22"}, "attempts": 2}"#;
                assert_eq!(printed, format!("{expected}{rest}\n"));
            } else {
                assert_eq!(printed, expected, "{form}");
            }
        }
    }

    #[test]
    fn json_keeps_null_fractions_and_tuples() {
        let mut one = failure();
        one.host = None;
        one.id = Some("s\u{1}".into());
        one.time = Some(Timestamp::from_micros(1_124_013_599_250_000));
        one.fields = Fields::default();
        one.fields.set(&"user1".into(), Field::Tuple(vec![None, Some("a".to_owned())]));
        assert_eq!(
            print("json", &one),
            "{\"line\": 12, \"time\": 1124013599.25, \"host\": null, \"id\": \"s\\u0001\", \
             \"regex\": 3, \"groups\": {\"user1\": [null, \"a\"]}, \"attempts\": 2}\n"
        );
        let value: Value = serde_json::from_str(&print("json", &one)).unwrap();
        assert!(value["time"].is_f64());
        one.time = None;
        assert!(print("json", &one).contains("\"time\": null"));
        assert!(print("row", &one).contains(",\tNone,\t"));
        assert_eq!(print("<time>", &one), "9.0\n");
    }

    #[test]
    fn what_does_not_count_prints_nothing() {
        for form in ["id", "ip", "msg", "row", "user", "<ip>", "json", "matches"] {
            assert_eq!(print(form, &Failure { nofail: true, ..failure() }), "", "{form}");
            assert_eq!(print(form, &Failure { id: None, ..failure() }), "", "{form}");
        }
    }

    #[test]
    fn an_inverted_line_is_nobodys() {
        let rows = [
            ("row", "['',\t1124013599.0,\t{'fid': ''}],\n"),
            ("id", "\n"),
            ("ip", "\n"),
            ("msg", "nothing of note\n"),
            ("<ip>;<time>;<msg>", ";1124013599.0;nothing of note\n"),
        ];
        for (form, expected) in rows {
            let form = Form::parse(form).unwrap();
            let printer = Printer::new(form, Vec::new(), false, Timestamp::default());
            let mut out = Vec::new();
            let last = Some(Timestamp::from_secs(1_124_013_599));
            printer.write_other("nothing of note", last, 3, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let printer = Printer::new(Form::Msg, Vec::new(), true, Timestamp::default());
        let mut out = Vec::new();
        printer.write(&failure(), 1, &mut out).unwrap();
        assert!(!out.contains(&0x1b));
    }

    #[test]
    fn what_a_log_holds_is_not_read_for_tags() {
        let mut one = failure();
        one.fields.set(&"user".into(), Field::Text("<F-PORT><ip>".into()));
        assert_eq!(print("<F-USER>", &one), "<F-PORT><ip>\n");
    }

    #[test]
    fn a_tag_that_cannot_be_filled_is_refused() {
        let rows = [
            ("<bantime>", "only where a jail runs"),
            ("<ip-host>", "names are looked up"),
            ("<jail.name>", "only where a jail runs"),
            ("<failrues>", "did you mean 'failures'?"),
            ("<F-user>", "<F-USER>"),
        ];
        for (form, part) in rows {
            let fault = Form::parse(form).unwrap_err();
            assert_eq!(fault.code, 64);
            assert!(fault.text.contains(part), "{form}: {fault}");
        }
    }
}
