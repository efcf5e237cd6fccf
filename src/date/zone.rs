//! Zones by name: abbreviations with fixed offsets, and texts such as `UTC+0200`.
//!
//! Abbreviations are ambiguous in the world; what each means here is what fail2ban takes it for.
//! None of them follows summer time: `CET` is one hour east the whole year.

use crate::time::Zone;

/// Reads a zone as `logtimezone` and stamps write it: `Z`, `GMT`, `CEST`, `UTC+0200`, `-04:30`,
/// `+02`. `None` for what is no zone, the empty text included.
pub fn parse_zone(text: &str) -> Option<Zone> {
    minutes_east(text).map(|minutes| Zone::Fixed(minutes * 60))
}

/// Minutes east of Greenwich.
pub(crate) fn minutes_east(text: &str) -> Option<i32> {
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let (name, offset) = text.split_at_checked(letters)?;
    if name.is_empty() && offset.is_empty() {
        return None;
    }
    let base = if name.is_empty() { 0 } else { abbreviation(name)? };
    Some(base + offset_minutes(offset)?)
}

/// `+hh`, `+hhmm`, `+hh:mm` or nothing. Hours go up to 19, minutes are not checked.
fn offset_minutes(text: &str) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let mut chars = text.chars();
    let sign = match chars.next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let mut minutes = 0;
    let mut count = 0;
    for (i, c) in chars.enumerate() {
        match super::matcher::digit_value(c) {
            // The tens of the hour are an ASCII 0 or 1.
            Some(_) if i == 0 && !matches!(c, '0' | '1') => return None,
            Some(value) => {
                let weight = *[600, 60, 10, 1].get(count)?;
                minutes += i32::try_from(value).ok()? * weight;
                count += 1;
            }
            None if i == 2 && c == ':' => {}
            None => return None,
        }
    }
    (count == 4 || count == 2 && !text.ends_with(':')).then_some(sign * minutes)
}

fn abbreviation(name: &str) -> Option<i32> {
    let found = ABBREVIATIONS.binary_search_by(|(known, _)| (*known).cmp(name)).ok()?;
    ABBREVIATIONS.get(found).map(|(_, minutes)| *minutes)
}

/// Abbreviations in the order of the alphabet, with minutes east of Greenwich. Letters standing
/// alone are the military zones. Pairs of letters are no zones to fail2ban.
#[rustfmt::skip]
const ABBREVIATIONS: [(&str, i32); 217] = [
    ("A", 60), ("ACDT", 630), ("ACST", 570), ("ACT", 480), ("ADT", -180), ("AEDT", 660),
    ("AEST", 600), ("AFT", 270), ("AKDT", -480), ("AKST", -540), ("ALMT", 360), ("AMST", 300),
    ("AMT", 240), ("ANAST", 720), ("ANAT", 720), ("AQTT", 300), ("ART", -180), ("AST", -240),
    ("AWDT", 540), ("AWST", 480), ("AZOT", -60), ("AZST", 300), ("AZT", 240), ("B", 120),
    ("BDT", 480), ("BIOT", 360), ("BNT", 480), ("BOT", -240), ("BRST", -120), ("BRT", -180),
    ("BTT", 360), ("C", 180), ("CAST", 480), ("CAT", 120), ("CCT", 390), ("CDT", -300),
    ("CEDT", 120), ("CEST", 120), ("CET", 60), ("CIST", -480), ("CKT", -600), ("CLST", -180),
    ("CLT", -240), ("COST", -240), ("COT", -300), ("CST", -360), ("CVT", -60), ("CXT", 420),
    ("D", 240), ("DAVT", 420), ("DFT", 60), ("E", 300), ("EASST", -300), ("EAST", -360),
    ("EAT", 180), ("ECT", -300), ("EDT", -240), ("EEDT", 180), ("EEST", 180), ("EET", 120),
    ("EGST", 0), ("EGT", -60), ("EST", -300), ("F", 360), ("FJST", 780),
    ("FJT", 720), ("FKST", -180), ("FKT", -240), ("FNT", -120), ("G", 420), ("GALT", -360),
    ("GAMT", -540), ("GET", 240), ("GFT", -180), ("GILT", 720), ("GIT", -540), ("GMT", 0),
    ("GST", 240), ("GYT", -240), ("H", 480), ("HAA", -180), ("HAC", -300), ("HADT", -540),
    ("HAE", -240), ("HAP", -420), ("HAR", -360), ("HAST", -600), ("HAT", -150), ("HAY", -480),
    ("HKT", 480), ("HLV", -270), ("HMT", 300), ("HNA", -240), ("HNC", -360), ("HNE", -300),
    ("HNP", -480), ("HNR", -420), ("HNT", -210), ("HNY", -540), ("HOVT", 420), ("HST", -600),
    ("I", 540), ("ICT", 420), ("IDT", 180), ("IOT", 360), ("IRDT", 270), ("IRKST", 540),
    ("IRKT", 480), ("IRST", 210), ("JST", 540), ("K", 600), ("KGT", 360), ("KRAST", 480),
    ("KRAT", 420), ("KST", 540), ("KUYT", 240), ("L", 660), ("LHDT", 660), ("LHST", 630),
    ("M", 720), ("MAGST", 720), ("MAGT", 660), ("MART", -570), ("MAWT", 300), ("MDT", -360),
    ("MHT", 720), ("MIT", -570), ("MMT", 390), ("MSD", 240), ("MSK", 180), ("MST", -420),
    ("MUT", 240), ("MVT", 300), ("MYT", 480), ("N", -60), ("NCT", 660), ("NDT", -150),
    ("NFT", 690), ("NOVST", 420), ("NOVT", 360), ("NPT", 345), ("NST", -210),
    ("NUT", -660), ("NZDT", 780), ("NZST", 720), ("O", -120), ("OMSST", 420), ("OMST", 360),
    ("P", -180), ("PDT", -420), ("PET", -300), ("PETST", 720), ("PETT", 720), ("PGT", 600),
    ("PHT", 480), ("PKT", 300), ("PMDT", -120), ("PMST", -180), ("PONT", 660), ("PST", -480),
    ("PWT", 540), ("PYST", -180), ("PYT", -240), ("Q", -240), ("R", -300),
    ("RET", 240), ("S", -360), ("SAMT", 240), ("SAST", 120), ("SBT", 660), ("SCT", 240),
    ("SGT", 480), ("SLT", 330), ("SRT", -180), ("SST", -660), ("T", -420), ("TAHT", -600),
    ("TFT", 300), ("THA", 420), ("TJT", 300), ("TKT", -600), ("TLT", 540), ("TMT", 300),
    ("TVT", 720), ("U", -480), ("ULAT", 480), ("UTC", 0), ("UYST", -120), ("UYT", -180),
    ("UZT", 300), ("V", -540), ("VET", -270), ("VLAST", 660), ("VLAT", 600), ("VUT", 660),
    ("W", -600), ("WAST", 120), ("WAT", 60), ("WDT", 540), ("WEDT", 60), ("WEST", 60), ("WET", 0),
    ("WFT", 720), ("WGST", -120), ("WGT", -180), ("WIB", 420), ("WIT", 540), ("WITA", 480),
    ("WST", 480), ("X", -660), ("Y", -720), ("YAKST", 600), ("YAKT", 540),
    ("YAPT", 600), ("YEKST", 360), ("YEKT", 300), ("Z", 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_read() {
        struct Row(&'static str, Option<i32>);
        let rows = [
            Row("Z", Some(0)),
            Row("GMT", Some(0)),
            Row("UTC+0200", Some(7200)),
            Row("UTC-04:30", Some(-16200)),
            Row("-0400", Some(-14400)),
            Row("+02", Some(7200)),
            Row("CET", Some(3600)),
            Row("CET+0100", Some(7200)),
            Row("NST", Some(-12600)),
            Row("NPT", Some(20700)),
            Row("cet", None),
            Row("ET", None),
            Row("XYZ", None),
            Row("UTC+2", None),
            Row("UTC+02:", None),
            Row("UTC+02:0", None),
            Row("+2200", None),
            Row("Europe/Zurich", None),
            Row("", None),
        ];
        for Row(text, seconds) in rows {
            assert_eq!(parse_zone(text), seconds.map(Zone::Fixed), "{text:?}");
        }
    }

    #[test]
    fn abbreviations_are_sorted() {
        assert!(ABBREVIATIONS.is_sorted());
    }
}
