//! Tables and lists that fail2ban-client does not have.

use std::fmt::Write as _;

use super::show::{one_line, state};
use crate::control::{ImportReport, JailStats};

/// `stats`: a row for each jail, what it counts on the left, what it bans on the right.
pub fn stats(rows: &[JailStats]) -> String {
    let head = ["Jail", "Backend", "Failed", "Total", "Banned", "Total", "State"];
    let mut cells = vec![head.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        [
            row.jail.clone(),
            row.backend.clone(),
            row.failed.to_string(),
            row.failed_total.to_string(),
            row.banned.to_string(),
            row.banned_total.to_string(),
            state(&row.health).unwrap_or_else(|| "running".to_owned()),
        ]
    }));
    table(&cells, &[false, false, true, true, true, true, false])
}

/// Rows with columns as wide as their widest cell; those of numbers are flush right.
fn table<const N: usize>(rows: &[[String; N]], right: &[bool; N]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(widths).zip(right) {
                // Writing to a String cannot fail.
                let _ = match right {
                    true => write!(line, "{cell:>width$}  "),
                    false => write!(line, "{cell:<width$}  "),
                };
            }
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// `import FILE`.
pub fn imported(report: &ImportReport) -> String {
    let total: u64 = report.bans.iter().map(|jail| jail.count).sum();
    let mut out = match report.kind.as_str() {
        "" => format!("Imported: {}", bans(total)),
        kind => format!("Imported from {}: {}", one_line(kind), bans(total)),
    };
    // Writing to a String cannot fail.
    for jail in &report.bans {
        let _ = write!(out, "\n|- {}:\t{}", one_line(&jail.jail), jail.count);
    }
    if report.history > 0 {
        let _ = write!(out, "\n|- former bans, kept as history:\t{}", report.history);
    }
    let _ = write!(out, "\n`- skipped:\t{}", report.skipped);
    for note in &report.notes {
        let _ = write!(out, "\n   {}", one_line(note));
    }
    out
}

fn bans(count: u64) -> String {
    match count {
        1 => "1 ban holds now".to_owned(),
        count => format!("{count} bans hold now"),
    }
}
