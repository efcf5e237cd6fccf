//! `why IP`: what every jail says of an address, the jail that bans it first.

use std::fmt::Write as _;

use super::show::{moment, one_line, state};
use crate::control::{Case, JailCase, Verdict};

/// So many lines of a ban are shown; `--json` has all.
const LINES_SHOWN: usize = 10;

/// The text, without a newline at its end.
pub fn text(case: &Case) -> String {
    let banned = of(case, |verdict| matches!(verdict, Verdict::Banned { .. }));
    let counted = of(case, |verdict| matches!(verdict, Verdict::Counted { .. }));
    let ignored = of(case, |verdict| matches!(verdict, Verdict::Ignored { .. }));
    let id = one_line(&case.id);
    let mut out = match (banned.as_slice(), counted.as_slice(), ignored.as_slice()) {
        ([], [], []) => format!("{id} is not banned; no jail has seen it"),
        ([], [], _) => format!("{id} is not banned; it is ignored"),
        ([], _, _) => format!("{id} is not banned; failures of it count"),
        (banned, _, _) => {
            let names: Vec<&str> = banned.iter().map(|jail| jail.jail.as_str()).collect();
            format!("{id} is banned in {}", names.join(", "))
        }
    };
    for jail in banned.into_iter().chain(counted).chain(ignored) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\n\n[{}]", jail.jail);
        let mut rows = Rows { out: &mut out };
        if let Some(state) = state(&jail.health) {
            rows.row("jail", &state);
        }
        verdict(&mut rows, case, jail);
    }
    unseen(&mut out, case);
    out
}

fn of(case: &Case, is: fn(&Verdict) -> bool) -> Vec<&JailCase> {
    case.jails.iter().filter(|jail| is(&jail.verdict)).collect()
}

struct Rows<'a> {
    out: &'a mut String,
}

impl Rows<'_> {
    fn row(&mut self, name: &str, value: &str) {
        let _ = write!(self.out, "\n  {name:<9} {}", one_line(value));
    }

    fn lines(&mut self, lines: &[String]) {
        let hidden = lines.len().saturating_sub(LINES_SHOWN);
        let shown = lines.get(hidden..).unwrap_or_default();
        for (at, line) in shown.iter().enumerate() {
            self.row(if at == 0 { "lines" } else { "" }, line);
        }
        if hidden > 0 {
            self.row("", &format!("and {hidden} before these: --json shows them"));
        }
    }
}

fn verdict(rows: &mut Rows<'_>, case: &Case, jail: &JailCase) {
    match &jail.verdict {
        Verdict::Unseen => {}
        Verdict::Ignored { rule, detail } => {
            let by = match detail.as_str() {
                "" => format!("by {rule}"),
                detail => format!("by {rule}: {detail}"),
            };
            rows.row("ignored", &by);
        }
        Verdict::Counted {
            failures,
            maxretry,
            findtime,
            last,
            forgotten,
            line,
            regex,
            failregex,
        } => {
            let span = span(i64::try_from(*findtime).unwrap_or(i64::MAX));
            rows.row("counted", &format!("{failures} of {maxretry} failures within {span}"));
            rows.row("last", &format!("{}{}", moment(*last), ago(case.now, *last)));
            if *forgotten > case.now {
                rows.row(
                    "forgotten",
                    &format!("{}{}", moment(*forgotten), ahead(case.now, *forgotten)),
                );
            }
            expression(rows, *regex, failregex.as_deref());
            rows.lines(line.as_slice());
            earlier(rows, jail.earlier, 0);
        }
        Verdict::Banned {
            banned,
            from,
            until,
            count,
            failures,
            lines,
            regex,
            failregex,
            enforced,
            trouble,
        } => {
            if *banned != case.id {
                rows.row("as", banned);
            }
            rows.row("since", &format!("{}{}", moment(*from), ago(case.now, *from)));
            rows.row(
                "until",
                &match until {
                    None => "for ever".to_owned(),
                    Some(until) => format!("{}{}", moment(*until), ahead(case.now, *until)),
                },
            );
            match (failures, regex) {
                (0, None) => rows.row("because", "somebody ordered it"),
                (1, _) => rows.row("because", "of 1 failure"),
                (failures, _) => rows.row("because", &format!("of {failures} failures")),
            }
            expression(rows, *regex, failregex.as_deref());
            rows.lines(lines);
            earlier(rows, jail.earlier, *count);
            match (enforced, trouble) {
                (_, Some(trouble)) => rows.row("firewall", &format!("refuses: {trouble}")),
                (false, None) => rows.row("firewall", "has not confirmed it yet"),
                (true, None) => {}
            }
        }
    }
}

fn expression(rows: &mut Rows<'_>, regex: Option<u32>, text: Option<&str>) {
    match (regex, text) {
        (Some(number), Some(text)) => rows.row("failregex", &format!("{number}: {text}")),
        (Some(number), None) => rows.row("failregex", &number.to_string()),
        (None, _) => {}
    }
}

/// `count` is the number of the ban that holds now, 0 if none does.
fn earlier(rows: &mut Rows<'_>, known: u32, count: u32) {
    match known.max(count.saturating_sub(1)) {
        0 => {}
        1 => rows.row("before", "1 earlier ban"),
        bans => rows.row("before", &format!("{bans} earlier bans")),
    }
}

/// The jails that know nothing, in one line, and those among them that could not.
fn unseen(out: &mut String, case: &Case) {
    let unseen = of(case, |verdict| *verdict == Verdict::Unseen);
    if unseen.is_empty() {
        return;
    }
    let names: Vec<&str> = unseen.iter().map(|jail| jail.jail.as_str()).collect();
    let _ = write!(out, "\n\nnot seen by: {}", names.join(", "));
    for jail in unseen {
        if let Some(state) = state(&jail.health) {
            let _ = write!(out, "\n  {} is {state}", jail.jail);
        }
    }
    if let Some(before) =
        case.jails.iter().find(|jail| jail.verdict == Verdict::Unseen && jail.earlier > 0)
    {
        let bans = if before.earlier == 1 { "ban" } else { "bans" };
        let _ = write!(out, "\n  {} remembers {} earlier {bans}", before.jail, before.earlier);
    }
}

fn ago(now: i64, then: i64) -> String {
    match now.saturating_sub(then) {
        0 => String::new(),
        seconds @ 1.. => format!(" ({} ago)", span(seconds)),
        seconds => format!(" (in {})", span(seconds.saturating_neg())),
    }
}

fn ahead(now: i64, then: i64) -> String {
    match then.saturating_sub(now) {
        seconds @ 1.. => format!(" (in {})", span(seconds)),
        _ => String::new(),
    }
}

/// A span in its two largest units: `29d 23h`, `10m`, `45s`.
fn span(seconds: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds.max(0);
    let mut parts = Vec::new();
    for (length, name) in UNITS {
        let count = left / length;
        left %= length;
        if count > 0 {
            parts.push(format!("{count}{name}"));
        }
        if parts.len() == 2 || (!parts.is_empty() && count == 0) {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let rows = [
            (0, "0s"),
            (45, "45s"),
            (600, "10m"),
            (3_661, "1h 1m"),
            (3_601, "1h"),
            (2_591_999, "29d 23h"),
            (86_400, "1d"),
        ];
        for (seconds, expected) in rows {
            assert_eq!(span(seconds), expected);
        }
    }
}
