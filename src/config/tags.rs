//! `<tag>`: an option's value inside another's, replaced after `%(…)s`, from the inside out.
//!
//! `<mdre-<mode>>` first becomes `<mdre-normal>`, then what the option `mdre-normal` says. A tag
//! that nobody defines stays as it is: `<HOST>` is the filter's affair, `<ip>` the action's.

use std::collections::{HashMap, HashSet};

use super::{
    finding::Finding,
    text::{Options, Text},
};

/// How often one tag may be replaced within one value.
const REPLACEMENTS_MAX: usize = 25;

/// How long a value may become; options that double each other would fill the memory.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// How many bytes of values are read and written until all tags are replaced; far beyond what any
/// stock action takes. Many values that each stay just below the limit add up.
const WORK_BYTES_MAX: usize = 16 << 20;

/// Replaces, in every value, the tags that name another value or that `lookup` knows.
///
/// Names in `ignore` are neither replaced nor changed.
///
/// # Errors
/// A value that contains itself, directly or through others, or grows beyond a megabyte, or many
/// that are so large together.
pub fn substitute(
    values: &Options,
    ignore: &HashSet<String>,
    mut lookup: impl FnMut(&str) -> Result<Option<Text>, Finding>,
) -> Result<Options, Finding> {
    let mut values = values.clone();
    let names: Vec<String> = values.keys().cloned().collect();
    let mut counts: HashMap<String, HashMap<String, usize>> = HashMap::new();
    let mut done: HashSet<&str> = HashSet::new();
    let mut work = 0;
    loop {
        let mut again = false;
        for name in &names {
            if ignore.contains(name) || done.contains(name.as_str()) {
                continue;
            }
            let Some(original) = values.get(name).cloned() else { continue };
            let count = counts.entry(name.clone()).or_default();
            let value =
                one(name, original.clone(), &values, ignore, &mut lookup, (count, &mut work))?;
            if !value.as_str().contains('<') {
                done.insert(name);
            }
            if value != original {
                again |= find_tag(value.as_str(), 0).is_some();
                values.insert(name.clone(), value);
            }
        }
        if !again {
            return Ok(values);
        }
    }
}

/// One pass over one value, from left to right.
fn one(
    name: &str,
    mut value: Text,
    values: &Options,
    ignore: &HashSet<String>,
    lookup: &mut impl FnMut(&str) -> Result<Option<Text>, Finding>,
    (count, work): (&mut HashMap<String, usize>, &mut usize),
) -> Result<Text, Finding> {
    let mut from = 0;
    *work += value.as_str().len();
    while let Some((start, end)) = find_tag(value.as_str(), from) {
        let tag = value.as_str().get(start + 1..end - 1).unwrap_or_default().to_owned();
        from = end;
        if ignore.contains(&tag) {
            continue;
        }
        let replaced = count.get(&tag).copied();
        if tag == name || replaced.unwrap_or(1) > REPLACEMENTS_MAX {
            let what = format!("option '{name}' contains itself through <{tag}>");
            return Err(Finding::fault(value.at(), what, "break the circle of <…> tags"));
        }
        let found = match values.get(&tag) {
            Some(found) => Some(found.clone()),
            None => lookup(&tag)?,
        };
        let Some(found) = found else { continue };
        value = value.replace(&format!("<{tag}>"), &found);
        *work += value.as_str().len();
        if *work > WORK_BYTES_MAX {
            let what = format!("option '{name}' and others grow too large together");
            return Err(Finding::fault(value.at(), what, "make the tags in them fewer"));
        }
        if value.as_str().len() > VALUE_BYTES_MAX {
            let what = format!("option '{name}' grows beyond a megabyte through <{tag}>");
            return Err(Finding::fault(value.at(), what, "make the tags in it fewer"));
        }
        *count.entry(tag).or_default() += 1;
        from = start;
    }
    Ok(value)
}

/// The next `<tag>` at or behind byte `from`: innermost, without blanks. Start and end in bytes.
pub(super) fn find_tag(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut start = None;
    for (at, &byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'<' => start = Some(at),
            b' ' => start = None,
            b'>' => {
                if let Some(start) = start.filter(|start| at > start + 1) {
                    return Some((start, at + 1));
                }
                start = None;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    /// Each value stays below a megabyte, and all together would have taken gigabytes.
    #[test]
    fn many_large_values_are_refused_together() {
        let text = |text: String| Text::new(text, Place::command_line());
        let mut values = Options::new();
        for number in 0..500 {
            values.insert(format!("a{number}"), text("<b17>".to_owned()));
        }
        for number in 1..18 {
            values.insert(format!("b{number}"), text(format!("<b{0}><b{0}>", number - 1)));
        }
        values.insert("b0".to_owned(), text("xxx".to_owned()));
        let refused = substitute(&values, &HashSet::new(), |_| Ok(None)).map_err(|e| e.what);
        assert!(
            refused.as_ref().is_err_and(|what| what.contains("too large together")),
            "{:?}",
            refused.err()
        );
    }
}
