//! Lines with dates of every kind, made from a seed: well-formed stamps, stamps that are a little
//! wrong, stamps in odd company.

/// A small generator of numbers; the same seed gives the same lines everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len() as u64) as usize]
    }
}

pub const KINDS: u64 = 24;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const ZONES: [&str; 16] = [
    "", "", "", "Z", " Z", " UTC", "GMT", " +0200", "+02:00", "-0430", " -03", "+05", " CEST",
    " +2500", " utc", "  +0100",
];
const FRACTIONS: [&str; 8] = ["", "", "", ".123", ",9", ".123456", ".1234567", "."];

/// A stamp of one kind.
pub fn stamp(r: &mut Random, kind: u64) -> String {
    let y = if r.one_in(40) { 1990 + r.below(60) } else { 2003 + r.below(25) };
    let m = if r.one_in(60) { r.below(15) } else { 1 + r.below(12) };
    let d = if r.one_in(30) { 28 + r.below(6) } else { 1 + r.below(28) };
    let h = if r.one_in(60) { 20 + r.below(10) } else { r.below(24) };
    let mi = if r.one_in(60) { 55 + r.below(10) } else { r.below(60) };
    let s = if r.one_in(40) { 55 + r.below(8) } else { r.below(60) };
    let yy = y % 100;
    let mon = MONTHS[(m as usize + 11) % 12];
    let mon = match r.below(12) {
        0 => mon.to_uppercase(),
        1 => mon.to_lowercase(),
        _ => mon.to_owned(),
    };
    let day = if r.one_in(2) { String::new() } else { format!("{} ", r.pick(&DAYS)) };
    let fraction = r.pick(&FRACTIONS);
    let zone = r.pick(&ZONES);
    let year_behind = if r.one_in(3) { format!(" {y}") } else { String::new() };
    let clock = match r.below(14) {
        0 => format!("{h}:{mi:02}:{s:02}"),
        1 => format!("{h:2}:{mi:02}:{s:02}"),
        2 => format!("{h:02}:{mi}:{s}"),
        _ => format!("{h:02}:{mi:02}:{s:02}"),
    };
    let dd = match r.below(4) {
        0 => format!("{d}"),
        1 => format!("{d:02}"),
        _ => format!("{d:2}"),
    };
    let epoch = 1_000_000_000 + r.below(900_000_000);
    match kind {
        0 | 18 => {
            let sep = r.pick(&["-", "-", "-", "/", "."]);
            let between = r.pick(&["T", " ", " ", "  ", "_"]);
            format!("{y}{sep}{m:02}{sep}{d:02}{between}{clock}{fraction}{zone}")
        }
        1 | 19 => format!("{mon} {d:2} {clock}{}", if r.one_in(9) { &year_behind } else { "" }),
        2 => format!("{day}{mon} {dd} {clock}{}{year_behind}", fraction.replace(',', ".")),
        3 => format!("{day}{mon} {dd} {y} {clock}{fraction}"),
        4 => {
            let sep = r.pick(&["-", "/"]);
            let year = if r.one_in(2) { format!("{yy:02}") } else { format!("{y}") };
            format!("{d:02}{sep}{m:02}{sep}{year} {clock}")
        }
        5 | 20 => {
            let sep = r.pick(&["/", "/", "-"]);
            let between = r.pick(&[":", " ", ""]);
            format!("{d:02}{sep}{mon}{sep}{y}{between}{clock}{fraction}{zone}")
        }
        6 => format!("{m:02}/{d:02}/{y}:{clock}"),
        7 => format!("{m:02}-{d:02}-{y} {clock}{fraction}"),
        8 => format!("{epoch}{}", r.pick(&["", ".123", ".1", ".123456", ".1234567", "1", "12"])),
        9 => format!("audit({epoch}.{:03}:{})", r.below(1000), r.below(100)),
        10 => clock,
        11 => format!("<{m:02}/{d:02}/{yy:02}@{clock}>"),
        12 => format!("{yy:02}{m:02}{d:02} {clock}"),
        13 => format!("{mon} {d}, {y} {}:{mi:02}:{s:02} {}", r.below(14), r.pick(&["AM", "pm"])),
        14 => format!("{mon}-{d:02}-{yy:02} {clock}"),
        15 => {
            let between = r.pick(&["T", " ", "  ", "-", ""]);
            let colon = r.pick(&["", ":"]);
            format!("{y}{m:02}{d:02}{between}{h:02}{colon}{mi:02}{colon}{s:02}{fraction}{zone}")
        }
        16 => {
            let named = r.pick(&["PDT", "Z", "CEST", "UTC", "cest", "XYZ", "+0100", "-03:30"]);
            format!("{named} {day}{mon} {dd} {clock}")
        }
        17 => format!("@4000000{:09x}{:08x}", epoch, r.below(1 << 32)),
        21 => format!("{epoch}{:03}", r.below(1000)),
        22 => format!("{epoch}{:03}{}", r.below(1000), r.pick(&[".5", "123", "12"])),
        _ => format!("{}:{}", r.below(400), r.below(4000)),
    }
}

const BEFORE: [&str; 16] =
    ["", "", "", "", "", "[", "<34>", " ", "host ", "é ", "- ", "(", "\"", "[[", "x", "– "];
const BEHIND: [&str; 14] = [
    " host sshd[12]: Failed",
    "] client",
    ": message",
    " ",
    "",
    "x",
    "_",
    "é",
    " +0100",
    " 2024",
    " Zoo",
    " - GMT",
    "]: 10.0.0.1",
    ",123 root",
];

/// How the lines of one log are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    kind: u64,
    before: &'static str,
    behind: &'static str,
}

impl Layout {
    pub fn any(r: &mut Random) -> Layout {
        Layout { kind: r.below(KINDS), before: r.pick(&BEFORE), behind: r.pick(&BEHIND) }
    }

    pub fn of(kind: u64) -> Layout {
        Layout { kind, before: "", behind: " host sshd[12]: Failed" }
    }

    pub fn line(&self, r: &mut Random) -> String {
        let before = if r.one_in(12) { r.pick(&BEFORE) } else { self.before };
        let behind = if r.one_in(8) { r.pick(&BEHIND) } else { self.behind };
        let mut line = format!("{before}{}{behind}", stamp(r, self.kind));
        if r.one_in(6) {
            let kind = r.below(KINDS);
            line.push_str(&format!(" at {} end", stamp(r, kind)));
        }
        line
    }
}

/// The lines of a log: mostly of a few layouts, with runs of equal stamps, and strays in between.
pub fn log(r: &mut Random, count: usize) -> Vec<String> {
    let layouts: Vec<Layout> = (0..1 + r.below(3))
        .map(|_| {
            if r.one_in(2) {
                let kind = r.below(KINDS);
                Layout::of(kind)
            } else {
                Layout::any(r)
            }
        })
        .collect();
    let mut lines: Vec<String> = Vec::new();
    for _ in 0..count {
        let line = match r.below(20) {
            0 => Layout::any(r).line(r),
            1 => "no date in here, 10.0.0.1 at 12".to_owned(),
            2..=5 if !lines.is_empty() => lines[lines.len() - 1].clone(),
            _ => layouts[r.below(layouts.len() as u64) as usize].line(r),
        };
        lines.push(line);
    }
    lines
}
