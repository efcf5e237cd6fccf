//! Tags of `action.d` files: `<name>` out of the file itself, then those of a ban.
//!
//! What the file says may hold tags again. What a ban says never does: its text may be an
//! attacker's. Such text reaches the shell as an environment variable and the script as the
//! variable's name, unless it is made of letters, digits and a few signs that mean nothing to any
//! shell, anywhere.

use std::collections::HashMap;

/// So often are tags looked for in what tags stood for; deeper nesting is a circle.
const ROUNDS_MAX: usize = 26;

/// A script does not grow beyond this, in bytes.
const SCRIPT_BYTES_MAX: usize = 1 << 20;

/// A variable is cut to this, in bytes: the kernel takes no longer one than 128 KiB.
const VARIABLE_BYTES_MAX: usize = 96 * 1024;

/// A plain value is pasted up to this length, in bytes.
const PLAIN_BYTES_MAX: usize = 255;

/// What a tag of a ban stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    /// Written by us: numbers, addresses.
    Ours(String),
    /// Perhaps written by an attacker.
    Theirs(String),
    /// An attacker's for certain: never pasted, however plain it looks.
    Matches(String),
}

/// Replaces the tags of the file itself, `family` choosing between `name` and
/// `name?family=inet6`.
///
/// # Errors
///
/// When tags stand for themselves or grow without end.
pub fn fixed(
    text: &str,
    properties: &HashMap<String, String>,
    family: &str,
) -> Result<String, String> {
    let mut text = text.to_owned();
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        let next = replaced(&text, |tag| {
            let own = match family {
                "" => None,
                family => properties.get(&format!("{tag}?family={family}")),
            };
            let found = own.or_else(|| properties.get(tag)).map(String::as_str);
            let found = found.or(match tag {
                "br" => Some("\n"),
                "sp" => Some(" "),
                _ => None,
            });
            changed |= found.is_some();
            found.map(str::to_owned)
        });
        if !changed || next == text {
            return Ok(next);
        }
        if next.len() > SCRIPT_BYTES_MAX {
            return Err("its tags grow beyond a megabyte: make the tags in it fewer".to_owned());
        }
        text = next;
    }
    Err("its tags stand for themselves: break the circle".to_owned())
}

/// Replaces the tags of a ban, once: the script, and the variables that it reads.
pub fn of_a_ban(
    text: &str,
    mut value: impl FnMut(&str) -> Option<Value>,
) -> (String, Vec<(String, String)>) {
    let mut variables: Vec<(String, String)> = Vec::new();
    let script = replaced(text, |tag| {
        let value = value(tag)?;
        let text = match value {
            Value::Ours(text) => return Some(text),
            Value::Theirs(text) if is_plain(&text) => return Some(text),
            Value::Theirs(text) | Value::Matches(text) => text,
        };
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let tag: String = tag.strip_prefix("F-").map_or_else(
            || tag.chars().map(word).collect(),
            |field| {
                format!("F_{}", field.to_ascii_lowercase().chars().map(word).collect::<String>())
            },
        );
        let name = format!("f2bV_{tag}");
        if !variables.iter().any(|(known, _)| *known == name) {
            variables.push((name.clone(), variable(&text)));
        }
        Some(format!("${name}"))
    });
    (script, variables)
}

/// Nothing in it means anything to a shell, in or out of quotes, nor begins an option.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.,:@/+-".contains(c);
    text.len() <= PLAIN_BYTES_MAX && !text.starts_with('-') && text.chars().all(plain)
}

/// As the system takes a variable: without NUL, and not too long.
fn variable(text: &str) -> String {
    let mut text = text.replace('\0', "");
    if text.len() > VARIABLE_BYTES_MAX {
        let mut end = VARIABLE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// Replaces each innermost `<tag>` for which there is a value; one pass, left to right.
fn replaced(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let (before, tail) = rest.split_at(open);
        result.push_str(before);
        let inside = tail.get(1..).unwrap_or_default();
        let end = inside.find(['<', '>', ' ']);
        let tag = end.and_then(|end| inside.get(..end).filter(|_| inside[end..].starts_with('>')));
        match tag.filter(|tag| !tag.is_empty()).and_then(|tag| Some((tag, value(tag)?))) {
            Some((tag, value)) => {
                result.push_str(&value);
                rest = inside.get(tag.len() + 1..).unwrap_or_default();
            }
            None => {
                result.push('<');
                rest = inside;
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(rows: &[(&str, &str)]) -> HashMap<String, String> {
        rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn tags_of_the_file_nest_and_know_families() {
        let known = properties(&[
            ("tool", "ip<six>tables"),
            ("six", ""),
            ("six?family=inet6", "6"),
            ("rule", "<tool> -A <name>"),
            ("name", "sshd"),
            ("a_sshd", "found"),
        ]);
        let rows = [
            ("<rule>", "", "iptables -A sshd"),
            ("<rule> <ip>", "inet6", "ip6tables -A sshd <ip>"),
            ("<a_<name>>", "inet4", "found"),
            ("a<sp>b<br>", "", "a b\n"),
            ("cat < file > other; <<END", "", "cat < file > other; <<END"),
            ("< name> <unknown> <>", "", "< name> <unknown> <>"),
        ];
        for (text, family, expected) in rows {
            assert_eq!(fixed(text, &known, family).as_deref(), Ok(expected), "{text}");
        }
        let circle = properties(&[("a", "<b>x"), ("b", "<a>y")]);
        assert!(fixed("<a>", &circle, "").is_err());
        let bomb =
            properties(&[("a", &"<b>".repeat(2000)), ("b", &"<c>".repeat(2000)), ("c", "x")]);
        assert!(fixed("<a>", &bomb, "").is_err());
    }

    #[test]
    fn what_an_attacker_wrote_is_a_variable() {
        let value = |tag: &str| match tag {
            "ip" => Some(Value::Ours("192.0.2.1".into())),
            "F-USER" => Some(Value::Theirs("$(reboot)`id`'\"<ip>".into())),
            "F-HOST" => Some(Value::Theirs("gate.example.org".into())),
            "F-OPTION" => Some(Value::Theirs("-rf".into())),
            "matches" => Some(Value::Matches("plain\0".into())),
            _ => None,
        };
        let text = "log <ip> \"<F-USER>\" <F-HOST> <F-OPTION> '<matches>' <what> <F-USER>";
        let (script, variables) = of_a_ban(text, value);
        assert_eq!(
            script,
            "log 192.0.2.1 \"$f2bV_F_user\" gate.example.org $f2bV_F_option '$f2bV_matches' <what> \
             $f2bV_F_user"
        );
        let expected = [
            ("f2bV_F_user", "$(reboot)`id`'\"<ip>"),
            ("f2bV_F_option", "-rf"),
            ("f2bV_matches", "plain"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, expected);
    }
}
