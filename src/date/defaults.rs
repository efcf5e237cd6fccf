//! The templates that are tried where no `datepattern` is set.
//!
//! The list and its order are fail2ban's: filters in the field rely on what it finds first. Every
//! template that is not bound to the beginning of the line has a twin that is; the twins stand
//! before all others and weigh a hundred times as much.

use std::sync::{Arc, OnceLock};

use super::directive::Decades;
use super::template::{DateTemplate, LINE_BEGIN};

const TWIN_WEIGHT: f64 = 100.0;

/// ISO 8601 and its kin, with optional fraction and zone.
pub(crate) const ISO: &str =
    r"%ExY(?P<_sep>[-/.])%m(?P=_sep)%d(?:T|  ?)%H:%M:%S(?:[.,]%f)?(?:\s*%z)?";
/// Syslog and asctime: optional day, fraction and year behind the time.
pub(crate) const SYSLOG: &str = r"(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?";
/// Web servers, with or without zone: `31/Oct/2006:09:22:55 -0000`; name servers:
/// `26-Jul-2007 15:20:52.252`.
pub(crate) const WEB: &str = r"%d(?P<_sep>[-/])%b(?P=_sep)%ExY[ :]?%H:%M:%S(?:\.%f)?(?: %z)?";

const DEFAULTS: [&str; 17] = [
    ISO,
    SYSLOG,
    // Sun Jan 23 2005 21:59:59.011
    r"(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?",
    // 23/01/2005 21:59:59, 17-07-08 17:23:25
    r"%d(?P<_sep>[-/])%m(?P=_sep)(?:%ExY|%Exy) %k:%M:%S",
    WEB,
    // 05/20/2008:01:57:39
    r"%m/%d/%ExY:%H:%M:%S",
    // 01-27-2012 16:22:44.252; behind the one with the day first, so that it loses where both fit
    r"%m-%d-%ExY %k:%M:%S(?:\.%f)?",
    r"EPOCH",
    // The time alone
    r"{^LN-BEG}%H:%M:%S",
    // <09/16/08@05:03:30>
    r"^<%m/%d/%Exy@%H:%M:%S>",
    // 130322 11:46:11
    r"%Exy%Exm%Exd  ?%H:%M:%S",
    // Jan 23, 2005 9:59:59 PM
    r"%b %d, %ExY %I:%M:%S %p",
    // Apr-27-13 02:33:06
    r"^%b-%d-%Exy %k:%M:%S",
    // 20050123T215959, 20050123-21:59:59
    r"%ExY%Exm%Exd(?:-|T|  ?)%ExH:?%ExM:?%ExS(?:[.,]%f)?(?:\s*%z)?",
    // PDT Apr 16 21:05:29
    r"(?:%Z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    // +00:00 Jan 23 21:59:59.011 2005
    r"(?:%z )?(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?",
    r"TAI64N",
];

/// The default templates of one present.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// As listed, without twins.
    pub(crate) plain: Vec<Arc<DateTemplate>>,
    /// Twins first.
    pub(crate) all: Vec<Arc<DateTemplate>>,
}

/// The default templates; those of the decade first asked for are built only once, as every jail
/// needs them.
pub(crate) fn defaults(decades: Decades) -> Defaults {
    static KNOWN: OnceLock<(Decades, Defaults)> = OnceLock::new();
    let (known, built) = KNOWN.get_or_init(|| (decades, build(decades)));
    if *known == decades { built.clone() } else { build(decades) }
}

fn build(decades: Decades) -> Defaults {
    let mut twins = Vec::new();
    let mut plain = Vec::new();
    for pattern in DEFAULTS {
        // Each of them is known to compile: a test holds it.
        let Ok(template) = DateTemplate::new(pattern, decades) else { continue };
        if !template.name.starts_with(LINE_BEGIN) && !template.name.starts_with('^') {
            let source = format!("{LINE_BEGIN}{}", template.source());
            if let Ok(mut twin) = DateTemplate::new(&source, decades) {
                twin.weight = TWIN_WEIGHT;
                twins.push(Arc::new(twin));
            }
        }
        plain.push(Arc::new(template));
    }
    twins.extend(plain.iter().cloned());
    Defaults { plain, all: twins }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_template_compiles() {
        let built = build(Decades::until(2026));
        assert_eq!((built.plain.len(), built.all.len()), (17, 31));
        for twin in built.all.iter().take(14) {
            assert!(twin.line_begin && twin.weight == 100.0, "{}", twin.name);
            assert_eq!(twin.program.plain(), twin.pattern.is_some() || twin.name.ends_with("64N"));
        }
    }
}
