//! `<HOST>`, `<ADDR>`, `<F-USER>…</F-USER>`: the tags of the filter language, written out.
//!
//! Source of the rules: the manual of fail2ban's filters, measured on its version 1.0.2. A tag
//! that is not known stays in the expression as literal text.

use std::ops::Range;

use super::spec::UseDns;

/// An IPv4 address, also as an IPv6 socket writes it (`::ffff:192.0.2.1`).
const IP4: &str = r"(?:::f{4,6}:)?(?P<ip4>(?:\d{1,3}\.){3}\d{1,3})";
/// An IPv6 address. A lone last colon can only follow another one, so no look-behind is needed.
const IP6: &str = r"(?P<ip6>(?:[0-9a-fA-F]{1,4}::?|::){1,7}(?:[0-9a-fA-F]{1,4}|:))";
/// A host's name.
const DNS: &str = r"(?P<dns>[\w\-.^_]*\w)";
/// The length of a network's prefix.
const CIDR: &str = r"(?P<cidr>\d+)";

/// The groups that can name a failure, in the order in which they are asked.
pub const ID_GROUPS: [&str; 6] = ["fid", "ip4", "ip6", "dns", "host", "mlfid"];

/// An expression without tags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expanded {
    /// The text, in Python's dialect.
    pub text: String,
    /// Where host tags were written out, and whether they take names.
    pub hosts: Vec<(Range<usize>, bool)>,
}

/// Writes out every tag of `expression`.
pub fn expand(expression: &str, usedns: UseDns) -> Expanded {
    let mut out = Expanded { text: String::with_capacity(expression.len() + 200), hosts: vec![] };
    let mut open: Vec<&str> = Vec::new();
    let mut skipped_blocks = 0;
    let mut rest = expression;
    while let Some(start) = rest.find('<') {
        let (plain, tagged) = rest.split_at(start);
        out.text.push_str(plain);
        let Some(tag) = tag_at(tagged) else {
            out.text.push('<');
            rest = tagged.get(1..).unwrap_or_default();
            continue;
        };
        rest = tagged.get(tag.len() + 2..).unwrap_or_default();
        let names = usedns != UseDns::No;
        match tag {
            "HOST" => host(&mut out, names),
            "ADDR" | "F-ADDR/" => host(&mut out, false),
            "IP4" | "F-IP4/" => out.text.push_str(IP4),
            "IP6" | "F-IP6/" => out.text.push_str(IP6),
            "CIDR" | "F-CIDR/" => out.text.push_str(CIDR),
            "SUBNET" | "F-SUBNET/" => {
                out.text.push_str(&format!(r"\[?(?:{IP4}|{IP6})(?:/{CIDR})?\]?"));
            }
            "DNS" | "F-DNS/" => out.text.push_str(DNS),
            "F-ID/" => out.text.push_str(r"(?P<fid>\S+)"),
            "F-PORT/" => out.text.push_str(r"(?P<fport>\w+)"),
            "SKIPLINES" => {
                out.text.push_str(&format!(r"\n(?P<skiplines{skipped_blocks}>(?:(?:.*\n)*?))"));
                skipped_blocks += 1;
            }
            _ => custom(&mut out.text, tag, &mut open),
        }
    }
    out.text.push_str(rest);
    out
}

/// Puts the commonest tags back into the beginning of an expanded expression, for messages: nobody
/// knows by heart what they stand for.
pub fn contract(expanded: &str, usedns: UseDns) -> String {
    let mut text = expanded.to_owned();
    for tag in ["<HOST>", "<ADDR>", "<SUBNET>"] {
        text = text.replace(&expand(tag, usedns).text, tag);
    }
    text
}

/// The inside of the tag that begins at the first byte: word characters and dashes, with a slash
/// in front or behind.
fn tag_at(text: &str) -> Option<&str> {
    let inside = text.get(1..text.find('>')?)?;
    let name = inside.strip_prefix('/').unwrap_or(inside);
    let name = name.strip_suffix('/').unwrap_or(name);
    let good = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
    good.then_some(inside)
}

fn host(out: &mut Expanded, names: bool) {
    let start = out.text.len();
    match names {
        true => out.text.push_str(&format!(r"(?:\[?(?:{IP4}|{IP6})\]?|{DNS})")),
        false => out.text.push_str(&format!(r"\[?(?:{IP4}|{IP6})\]?")),
    }
    out.hosts.push((start..out.text.len(), names));
}

/// `<F-NAME>` opens a group of that name in small letters, `</F-NAME>` closes it.
fn custom<'a>(text: &mut String, tag: &'a str, open: &mut Vec<&'a str>) {
    let (closing, word) = match tag.strip_prefix('/') {
        Some(word) => (true, word),
        None => (false, tag),
    };
    let name = word.strip_prefix("F-").filter(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || "_-".contains(c))
    });
    match name {
        Some(name) if closing && open.contains(&name) => text.push(')'),
        Some(name) if !closing => {
            open.push(name);
            text.push_str(&format!("(?P<{}>", group_name(&name.to_ascii_lowercase())));
        }
        _ => text.push_str(&format!("<{tag}>")),
    }
}

/// `<F-ID>` and `<F-PORT>` have groups whose names differ from the tag.
pub fn group_name(name: &str) -> &str {
    match name {
        "id" => "fid",
        "port" => "fport",
        other => other,
    }
}

/// What to write where [`unset`] finds one.
pub const UNSET_ADVICE: &str =
    "set an option of that name, or mend the one from which the name is built, such as mode";

/// A tag for an option that is not there: `<mdre-agressive>`. Those of the language are capitals.
pub fn unset(source: &str) -> Option<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    source.match_indices('<').find_map(|(at, _)| {
        let (tag, _) = source.get(at + 1..)?.split_once('>')?;
        let is_group = source.get(..at)?.ends_with("(?P") || source.get(..at)?.ends_with("(?");
        let first = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_word = tag.starts_with(first) && tag.chars().all(word);
        (is_word && !is_group).then_some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_written_out() {
        let rows = [
            ("a<F-USER>x</F-USER>b", "a(?P<user>x)b"),
            ("<F-ID>x</F-ID><F-PORT/>", r"(?P<fid>x)(?P<fport>\w+)"),
            ("</F-USER>", "</F-USER>"),
            ("<W><USER><f-user>", "<W><USER><f-user>"),
            ("a<b<CIDR>", r"a<b(?P<cidr>\d+)"),
            (
                "<SKIPLINES><SKIPLINES>",
                r"\n(?P<skiplines0>(?:(?:.*\n)*?))\n(?P<skiplines1>(?:(?:.*\n)*?))",
            ),
            ("x <", "x <"),
            ("<é>", "<é>"),
        ];
        for (written, expected) in rows {
            assert_eq!(expand(written, UseDns::Warn).text, expected, "{written}");
        }
    }

    #[test]
    fn a_host_is_known_as_a_whole() {
        let expanded = expand("from <HOST> to <ADDR>", UseDns::Warn);
        assert_eq!(expanded.hosts.len(), 2);
        assert!(expanded.hosts[0].1 && !expanded.hosts[1].1);
        assert!(expanded.text[expanded.hosts[0].0.clone()].ends_with(r"\w))"));
        assert!(!expand("<HOST>", UseDns::No).text.contains("dns"));
    }

    #[test]
    fn a_tag_that_nothing_sets_is_found() {
        let rows = [
            ("<mdre-agressive>", Some("mdre-agressive")),
            ("<_mode_ddso>", Some("_mode_ddso")),
            ("^x <a> y", Some("a")),
            ("^a < b <c>", Some("c")),
            ("(?P<user>x)(?<z>y)", None),
            ("<HOST> <F-USER>x</F-USER> <W> <co ts=\"x\"> <> <é>", None),
        ];
        for (source, expected) in rows {
            assert_eq!(unset(source), expected, "{source}");
        }
    }
}
