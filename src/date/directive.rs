//! The %-directives of date patterns: what each matches, and what it is called.
//!
//! A `%H` becomes a named group `(?P<H>…)`; the group's letter says which field it is
//! (`read.rs`). The names are those under which fail2ban-regex lists a template's hits.

/// What stands for a year of the present: the decades in which a stamp may lie.
///
/// `%ExY` takes no year that this machine cannot see: from 2000 to three years from now (at least
/// to 2029, so that old samples and new logs agree).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Decades {
    last: u32,
}

impl Decades {
    const FIRST: u32 = 200;

    /// The decades for a present in `year`.
    pub(crate) fn until(year: i32) -> Decades {
        let ahead = u32::try_from(year.saturating_add(3)).unwrap_or(0) / 10;
        Decades { last: ahead.clamp(202, 999) }
    }

    /// Whether a year that begins with these three digits is taken.
    pub(crate) fn has(self, decade: u32) -> bool {
        (Decades::FIRST..=self.last).contains(&decade)
    }

    fn expression(self) -> String {
        let mut groups: Vec<String> = Vec::new();
        for century in Decades::FIRST / 10..=self.last / 10 {
            let most = if century == self.last / 10 { self.last % 10 } else { 9 };
            let digits: String = (0..=most).map(|digit| digit.to_string()).collect();
            groups.push(format!("{century}[{digits}]"));
        }
        let decades = if let [only] = groups.as_slice() {
            only.clone()
        } else {
            format!("(?:{})", groups.join("|"))
        };
        format!(r"(?P<Y>{decades}\d)")
    }
}

/// Month names, January first.
pub(crate) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
/// Names of days, Monday first.
pub(crate) const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

struct Directive {
    key: &'static str,
    name: &'static str,
    /// The expression; empty where it is put together from names.
    expression: &'static str,
}

const fn row(key: &'static str, name: &'static str, expression: &'static str) -> Directive {
    Directive { key, name, expression }
}

/// Longer keys stand first: `%ExY` is no `%E`.
const DIRECTIVES: [Directive; 37] = [
    row("ExY", "ExYear", ""),
    row("Exy", "ExYear2", r"(?P<y>\d\d)"),
    row("Exm", "ExMonth", r"(?P<m>0[1-9]|1[012])"),
    row("Exd", "ExDay", r"(?P<d>[12]\d|0[1-9]|3[01])"),
    row("ExH", "Ex24hour", r"(?P<H>[01]\d|2[0-3])"),
    row("Exk", "%Exk", r" ?(?P<H>[01]?\d|2[0-3])"),
    row("Exl", "%Exl", r" ?(?P<I>1[012]|\d)"),
    row("ExM", "ExMinute", r"(?P<M>[0-5]\d)"),
    row("ExS", "ExSecond", r"(?P<S>[0-5]\d|6[01])"),
    row("ExZ", "ExZone name", r"(?P<Z>[A-Z](?:[A-Z]{2,4})?)"),
    row(
        "Exz",
        "ExZone offset",
        r"(?P<z>(?:[A-Z](?:[A-Z]{2,4})?)?[+-][01]\d(?::?\d\d)?|[A-Z](?:[A-Z]{2,4})?)",
    ),
    row("a", "DAY", ""),
    row("A", "DAYNAME", ""),
    row("b", "MON", ""),
    row("B", "MONTH", ""),
    row("c", "%c", ""),
    row("d", "Day", r"(?P<d>[12]\d|[ 0]?[1-9]|3[01])"),
    row("f", "Microseconds", r"(?P<f>[0-9]{1,6})"),
    row("G", "%G", r"(?P<G>\d{4})"),
    row("H", "24hour", r"(?P<H>[01]?\d|2[0-3])"),
    row("I", "12hour", r"(?P<I>1[012]|0[1-9]|[1-9])"),
    row("j", "Yearday", r"(?P<j>36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])"),
    row("k", "%k", r" ?(?P<H>[0-2]?\d)"),
    row("l", "%l", r" ?(?P<I>1?\d)"),
    row("m", "Month", r"(?P<m>0?[1-9]|1[012])"),
    row("M", "Minute", r"(?P<M>[0-5]?\d)"),
    row("p", "AMPM", r"(?P<p>am|pm)"),
    row("S", "Second", r"(?P<S>[0-5]?\d|6[01])"),
    row("u", "%u", r"(?P<u>[1-7])"),
    row("U", "Yearweek", r"(?P<U>5[0-3]|[0-4]\d|\d)"),
    row("V", "%V", r"(?P<V>5[0-3]|0[1-9]|[1-4]\d|\d)"),
    row("w", "Weekday", r"(?P<w>[0-6])"),
    row("W", "Yearweek", r"(?P<W>5[0-3]|[0-4]\d|\d)"),
    row(
        "x",
        "%x",
        r"(?P<m>1[012]|0[1-9]|[1-9])/(?P<d>3[01]|[12]\d|0[1-9]|[1-9]| [1-9])/(?P<y>\d\d)",
    ),
    row("X", "%X", r"(?P<H>2[0-3]|[01]\d|\d):(?P<M>[0-5]\d|\d):(?P<S>6[01]|[0-5]\d|\d)"),
    row("y", "Year2", r"(?P<y>\d\d)"),
    row("Y", "Year", r"(?P<Y>\d{4})"),
];

// `%z`, `%Z` and `%%` are the three that no row above could be mistaken for.
const ZONES: [Directive; 3] = [
    row("z", "Zone offset", r"(?P<z>Z|UTC|GMT|[+-][01]\d(?::?\d\d)?)"),
    row("Z", "Zone name", r"(?P<Z>Z|[A-Z]{3,5})"),
    row("%", "%", "%"),
];

/// A date pattern with its directives replaced: by expressions, and by names.
pub(crate) struct Expanded {
    pub(crate) expression: String,
    pub(crate) name: String,
    /// A directive whose text has upper and lower case is among them.
    pub(crate) letters: bool,
}

/// A `%` that begins no directive: what stands there, and what to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownDirective {
    /// The character (from 1) at which it stands in the pattern.
    pub column: usize,
    /// The `%` and the character behind it.
    pub found: String,
    /// What to write in its place.
    pub instead: &'static str,
}

/// Replaces all directives of `pattern`.
pub(crate) fn expand(pattern: &str, decades: Decades) -> Result<Expanded, UnknownDirective> {
    let mut expanded =
        Expanded { expression: String::new(), name: String::new(), letters: has_letters(pattern) };
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.expression.push_str(before);
        expanded.name.push_str(before);
        let Some(found) =
            DIRECTIVES.iter().chain(&ZONES).find(|directive| after.starts_with(directive.key))
        else {
            let letter = after.chars().next();
            return Err(UnknownDirective {
                column: pattern.chars().count() - after.chars().count(),
                found: std::iter::once('%').chain(letter).collect(),
                instead: instead_of(letter),
            });
        };
        expanded.expression.push_str(&expression(found, decades));
        expanded.name.push_str(found.name);
        rest = after.get(found.key.len()..).unwrap_or_default();
    }
    expanded.expression.push_str(rest);
    expanded.name.push_str(rest);
    Ok(expanded)
}

fn expression(directive: &Directive, decades: Decades) -> String {
    let short = |names: &[&str]| {
        names.iter().filter_map(|name| name.get(..3)).collect::<Vec<_>>().join("|")
    };
    match directive.key {
        "ExY" => decades.expression(),
        "a" => format!("(?P<a>{})", short(&DAYS)),
        "A" => format!("(?P<A>{})", DAYS.join("|")),
        "b" => format!("(?P<b>{})", short(&MONTHS)),
        "B" => format!("(?P<B>{})", MONTHS.join("|")),
        "c" => format!(
            r"(?P<a>{})\s+(?P<b>{})\s+(?P<d>3[01]|[12]\d|0[1-9]|[1-9]| [1-9])\s+{}\s+(?P<Y>\d{{4}})",
            short(&DAYS),
            short(&MONTHS),
            r"(?P<H>2[0-3]|[01]\d|\d):(?P<M>[0-5]\d|\d):(?P<S>6[01]|[0-5]\d|\d)",
        ),
        _ => directive.expression.to_owned(),
    }
}

/// Whether a directive stands in the pattern that matches letters whatever their case.
fn has_letters(pattern: &str) -> bool {
    let mut before = None;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '%'
            && before != Some('%')
            && chars.peek().is_some_and(|letter| "aAbBpc".contains(*letter))
        {
            return true;
        }
        before = Some(c);
    }
    false
}

/// What those mean who write a directive of `date(1)` or `strftime(3)` that is not known here.
fn instead_of(letter: Option<char>) -> &'static str {
    match letter {
        Some('T') => "write %H:%M:%S",
        Some('R') => "write %H:%M",
        Some('D') => "write %m/%d/%y",
        Some('F') => "write %Y-%m-%d",
        Some('e') => "write %d",
        Some('h') => "write %b",
        Some('N') => "write %f",
        Some('s') => "write {EPOCH} (without other directives)",
        Some('P') => "write %p",
        _ => "write %% for the character",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_reach_three_years_ahead() {
        assert_eq!(Decades::until(2005).expression(), r"(?P<Y>20[012]\d)");
        assert_eq!(Decades::until(2027).expression(), r"(?P<Y>20[0123]\d)");
        assert_eq!(Decades::until(2098).expression(), r"(?P<Y>(?:20[0123456789]|21[0])\d)");
    }

    #[test]
    fn an_unknown_directive_tells_its_place() {
        let error = expand("^%Y %T", Decades::until(2026)).err().unwrap();
        assert_eq!((error.column, error.found.as_str()), (5, "%T"));
        assert_eq!(error.instead, "write %H:%M:%S");
        assert_eq!(expand("50%", Decades::until(2026)).err().unwrap().found, "%");
    }

    #[test]
    fn every_month_and_day_has_its_own_first_three_letters() {
        let expanded = expand("%a%b", Decades::until(2026)).unwrap();
        assert!(expanded.expression.contains("|wed|") && expanded.expression.contains("|sep|"));
        assert!(expanded.letters && !has_letters("%%a"));
    }
}
