//! `journalmatch`: which entries of the journal a jail wants.
//!
//! `_SYSTEMD_UNIT=ssh.service + _COMM=sshd`: words with different fields have all to fit, words
//! with the same field are alternatives, `+` stands between alternatives, and so does a new line.
//! Since each jail is matched here, one reader of the journal serves them all.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::journal::field;

/// What one jail wants: all of it if there is nothing to match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JournalMatches {
    alternatives: Vec<Vec<(String, Vec<String>)>>,
}

impl JournalMatches {
    /// Reads the lines of `journalmatch`.
    pub fn new(lines: &[String]) -> JournalMatches {
        let mut alternatives = Vec::new();
        for line in lines {
            let mut terms: Vec<(String, Vec<String>)> = Vec::new();
            for word in words(line) {
                if word == "+" {
                    alternatives.push(std::mem::take(&mut terms));
                    continue;
                }
                // journalctl takes a path for the program of that name; filters do not.
                let Some((name, value)) = word.split_once('=') else { continue };
                match terms.iter_mut().find(|(known, _)| known == name) {
                    Some((_, values)) => values.push(value.to_owned()),
                    None => terms.push((name.to_owned(), vec![value.to_owned()])),
                }
            }
            alternatives.push(terms);
        }
        alternatives.retain(|terms| !terms.is_empty());
        JournalMatches { alternatives }
    }

    /// True if an entry with these fields is wanted.
    pub fn fits(&self, fields: &Map<String, Value>) -> bool {
        let fits = |(name, values): &(String, Vec<String>)| match fields.get(name) {
            // A field may occur several times in an entry.
            Some(Value::Array(found)) if found.iter().any(Value::is_string) => {
                found.iter().filter_map(Value::as_str).any(|one| values.iter().any(|v| v == one))
            }
            Some(_) => field(fields, name).is_some_and(|one| values.contains(&one)),
            None => false,
        };
        self.alternatives.is_empty() || self.alternatives.iter().any(|terms| terms.iter().all(fits))
    }

    /// The arguments for journalctl(1) that let through at least what these want; none if
    /// everything is wanted by one of them.
    pub fn union<'a>(all: impl Iterator<Item = &'a JournalMatches>) -> Vec<String> {
        let mut alternatives: BTreeSet<Vec<String>> = BTreeSet::new();
        for one in all {
            if one.alternatives.is_empty() {
                return Vec::new();
            }
            for terms in &one.alternatives {
                let words = terms.iter().flat_map(|(name, values)| {
                    values.iter().map(move |value| format!("{name}={value}"))
                });
                alternatives.insert(words.collect());
            }
        }
        let mut arguments = Vec::new();
        for words in alternatives {
            if !arguments.is_empty() {
                arguments.push("+".to_owned());
            }
            arguments.extend(words);
        }
        arguments
    }
}

/// The words of a line; quotes hold a word with blanks together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(end) if c == end => quote = None,
            Some(_) => word.push(c),
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            None => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(lines: &[&str], entry: &str) -> bool {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let Ok(Value::Object(fields)) = serde_json::from_str(entry) else { panic!("{entry}") };
        JournalMatches::new(&lines).fits(&fields)
    }

    #[test]
    fn an_entry_fits_as_journalctl_has_it() {
        let ssh = r#"{"_SYSTEMD_UNIT":"ssh.service","_COMM":"sshd","N":["a","b"],"B":[104,105]}"#;
        let rows: [(&[&str], bool); 11] = [
            (&[], true),
            (&["_COMM=sshd"], true),
            (&["_COMM=cron"], false),
            (&["_SYSTEMD_UNIT=ssh.service + _COMM=cron"], true),
            (&["_SYSTEMD_UNIT=ssh.service _COMM=cron"], false),
            (&["_COMM=cron _COMM=sshd _SYSTEMD_UNIT=ssh.service"], true),
            (&["_COMM=cron", "_COMM=sshd"], true),
            (&["'_COMM=sshd'"], true),
            (&["N=b"], true),
            (&["B=hi"], true),
            (&["MISSING="], false),
        ];
        for (lines, expected) in rows {
            assert_eq!(fits(lines, ssh), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_union_lets_everybody_have_his_own() {
        let one = JournalMatches::new(&["A=1 B=2 + C=3".to_owned()]);
        let two = JournalMatches::new(&["C=3".to_owned()]);
        let words = JournalMatches::union([&one, &two].into_iter());
        assert_eq!(words, ["A=1", "B=2", "+", "C=3"]);
        let all = JournalMatches::default();
        assert!(JournalMatches::union([&one, &all].into_iter()).is_empty());
    }
}
