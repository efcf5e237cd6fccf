//! Ears: jails that hear the sensor directly, through the same scanners that read logs.

use std::sync::Arc;

use crate::{
    daemon::reader::{Batch, Catch, Follow},
    scan::Scanner,
    sensor::Detection,
    ticket::JailName,
    time::{Timestamp, Zone},
};

/// What batches of the sensor name as their source.
pub const SOURCE: &str = "sensor";

/// The jails on the sensor.
#[derive(Debug)]
pub struct Ears {
    source: Arc<str>,
    jails: Vec<(JailName, Scanner)>,
}

impl Ears {
    /// Nobody listens.
    pub fn new() -> Ears {
        Ears { source: SOURCE.into(), jails: Vec::new() }
    }

    /// A jail listens from now on; one of its name is replaced.
    pub fn add(&mut self, follow: Follow) {
        self.remove(&follow.jail);
        self.jails.push((follow.jail, follow.scanner));
    }

    /// A jail listens no longer.
    pub fn remove(&mut self, jail: &str) {
        self.jails.retain(|(name, _)| **name != *jail);
    }

    /// What the jails make of these detections; none if nothing. `preface` is what stands before a
    /// line in a log.
    pub fn hear(
        &mut self,
        detections: &[Detection],
        preface: &str,
        now: Timestamp,
    ) -> Option<Batch> {
        if detections.is_empty() || self.jails.is_empty() {
            return None;
        }
        let lines: Vec<(String, String, Timestamp)> = detections
            .iter()
            .map(|one| (format!("{preface}{}", one.text), stamp(one.time), one.time))
            .collect();
        let mut found: Vec<(JailName, Catch)> = Vec::new();
        for (name, scanner) in &mut self.jails {
            let mut catch = Catch::default();
            for (line, stamp, at) in &lines {
                let scan = scanner.scan_stamped(line, stamp, *at, now);
                for failure in scan.failures.into_iter().filter(|failure| !failure.nofail) {
                    let time = failure.time.unwrap_or(now);
                    catch.push(failure, time);
                }
            }
            if !catch.is_empty() {
                found.push((Arc::clone(name), catch));
            }
        }
        Some(Batch {
            source: Arc::clone(&self.source),
            // What the sensor hands over is read by nobody again.
            followers: Arc::default(),
            position: None,
            shared: false,
            found,
            lines: lines.len() as u64,
            cut_lines: 0,
            torn_lines: 0,
            stale: 0,
        })
    }
}

/// `2026-11-20T10:00:00 `, as entries of the journal are stamped.
fn stamp(at: Timestamp) -> String {
    let Some(civil) = Zone::Local.civil(at) else { return String::new() };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02} ",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}
