//! `--out` with a text of the user's own: `<time> <ip> <F-USER>: <msg>`.
//!
//! The text is cut into pieces once; what a log put into a tag is never read for tags again.

use std::net::IpAddr;

use crate::{
    cli::{
        exit::Fault,
        nearest::did_you_mean,
        python::{float, text_of_field},
    },
    net::parse_address,
    scan::Failure,
    time::Timestamp,
};

/// A text with tags, cut into its pieces.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(String),
    Tag(Tag),
    /// `<F-NAME>`, under the group's name.
    Group(String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tag {
    Ip,
    IpReverse,
    Id,
    Host,
    Family,
    Failures,
    Time,
    Matches,
    Msg,
    /// Things that are always 0 here: nobody was banned yet.
    Zero,
}

const TAGS: &[(&str, Tag)] = &[
    ("ip", Tag::Ip),
    ("ip-rev", Tag::IpReverse),
    ("fid", Tag::Id),
    ("host", Tag::Host),
    ("family", Tag::Family),
    ("failures", Tag::Failures),
    ("time", Tag::Time),
    ("matches", Tag::Matches),
    ("msg", Tag::Msg),
    ("bancount", Tag::Zero),
    ("restored", Tag::Zero),
];

/// Tags that actions know and a test run cannot.
const ELSEWHERE: &[&str] = &[
    "bantime",
    "ipmatches",
    "ipjailmatches",
    "ipfailures",
    "ipjailfailures",
    "ip-host",
    "raw-ticket",
    "jail.name",
    "jail.banned",
    "jail.banned_total",
    "jail.found",
    "jail.found_total",
];

impl Template {
    /// Cuts the text. An unknown tag stays as it stands, which is what fail2ban-regex does; one
    /// that is nearly a known tag is refused rather than printed.
    ///
    /// # Errors
    /// A tag that needs a running jail or a look-up; a tag with a typing error.
    pub fn parse(text: &str) -> Result<Template, Fault> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            let inside = from.get(1..).unwrap_or_default();
            let end = inside.find([' ', '<', '>']).filter(|&end| inside[end..].starts_with('>'));
            let Some(name) = end.and_then(|end| inside.get(..end)).filter(|name| !name.is_empty())
            else {
                plain.push('<');
                rest = inside;
                continue;
            };
            rest = inside.get(name.len() + 1..).unwrap_or_default();
            match piece(name)? {
                Some(Piece::Text(text)) => plain.push_str(&text),
                Some(piece) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                }
                None => {
                    plain.push('<');
                    plain.push_str(name);
                    plain.push('>');
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The filled texts: one, or with `<msg>` one for each line of the failure.
    pub fn fill(&self, failure: &Failure, id: &str, now: Timestamp) -> Vec<String> {
        let per_line = self.0.contains(&Piece::Tag(Tag::Msg)) && !failure.lines.is_empty();
        let lines: Vec<&str> = failure.lines.iter().map(|line| &**line.whole()).collect();
        let fill = |msg: &str| {
            let fill_piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Group(name) => {
                    failure.fields.get(name).map(text_of_field).unwrap_or_default()
                }
                Piece::Tag(Tag::Msg) => msg.to_owned(),
                Piece::Tag(Tag::Matches) => lines.join("\n"),
                Piece::Tag(tag) => tag.of(failure, id, now),
            };
            self.0.iter().map(fill_piece).collect::<String>()
        };
        if per_line { lines.iter().map(|line| fill(line)).collect() } else { vec![fill("")] }
    }
}

impl Tag {
    fn of(self, failure: &Failure, id: &str, now: Timestamp) -> String {
        let ip = failure.host.as_deref().unwrap_or(id);
        match self {
            Tag::Ip => ip.to_owned(),
            Tag::IpReverse => address_of(ip).map(reversed).unwrap_or_default(),
            Tag::Id => id.to_owned(),
            Tag::Host => failure.host.as_deref().unwrap_or_default().to_owned(),
            Tag::Family => match address_of(ip) {
                Some(IpAddr::V4(_)) => "inet4".to_owned(),
                Some(IpAddr::V6(_)) => "inet6".to_owned(),
                None => "None".to_owned(),
            },
            Tag::Failures => failure.attempts.to_string(),
            Tag::Time => float(failure.time.unwrap_or(now)),
            Tag::Zero => "0".to_owned(),
            // Filled where the lines are at hand.
            Tag::Matches | Tag::Msg => String::new(),
        }
    }
}

fn piece(name: &str) -> Result<Option<Piece>, Fault> {
    if let Some((_, tag)) = TAGS.iter().find(|(known, _)| *known == name) {
        return Ok(Some(Piece::Tag(*tag)));
    }
    if ELSEWHERE.contains(&name) {
        return Err(Fault::usage(format!(
            "--out: <{name}> is known only where a jail runs{}",
            if name == "ip-host" { " and names are looked up" } else { "" }
        )));
    }
    let is_group_letter = |letter: char| {
        letter.is_ascii_uppercase() || letter.is_ascii_digit() || "_-".contains(letter)
    };
    match name {
        "br" => return Ok(Some(Piece::Text("\n".to_owned()))),
        "sp" => return Ok(Some(Piece::Text(" ".to_owned()))),
        "F-ID" => return Ok(Some(Piece::Group("fid".to_owned()))),
        "F-PORT" => return Ok(Some(Piece::Group("fport".to_owned()))),
        _ => {}
    }
    match name.strip_prefix("F-") {
        Some(group) if !group.is_empty() && group.chars().all(is_group_letter) => {
            Ok(Some(Piece::Group(group.to_lowercase())))
        }
        Some(group) if group.chars().any(char::is_lowercase) => Err(Fault::usage(format!(
            "--out: <{name}>: the tag of a group is written in capitals: <F-{}>",
            group.to_uppercase()
        ))),
        _ => {
            let hint = did_you_mean(name, TAGS.iter().map(|(known, _)| *known));
            // Short names are near to everything (`<id>`, `<x>`): those stay text.
            match name.len() > 3 && !hint.is_empty() {
                true => Err(Fault::usage(format!("--out: there is no tag <{name}>{hint}"))),
                false => Ok(None),
            }
        }
    }
}

/// The address, also of a network.
fn address_of(text: &str) -> Option<IpAddr> {
    parse_address(text.split('/').next().unwrap_or(text))
}

/// As DNS writes it backwards, with a dot at the end: `1.2.0.192.`.
fn reversed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.octets().iter().rev().map(|octet| format!("{octet}.")).collect(),
        IpAddr::V6(v6) => v6
            .octets()
            .iter()
            .rev()
            .map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4))
            .collect(),
    }
}
