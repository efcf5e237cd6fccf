//! What the clocks on the wall show, remembered: the zone's rules are slow to ask for every line.

use crate::time::{Civil, Timestamp, WallOffset, Zone};

/// The machine's zone, with the present second and the last day that were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendar {
    local: Zone,
    now: Option<(i64, Civil)>,
    day: Option<Day>,
    /// Offset of the last stamp, in seconds east: it tells which of two like hours is meant.
    near: i64,
}

/// A day, and its offset in seconds if the clocks are not changed on it.
#[derive(Clone, Copy, Debug)]
struct Day {
    date: (i32, u32, u32),
    east: Option<i64>,
}

impl Calendar {
    pub(crate) fn new(local: Zone) -> Calendar {
        Calendar { local, ..Calendar::default() }
    }

    /// What the zone's clocks show at `now`.
    pub(crate) fn civil(&mut self, now: Timestamp) -> Option<Civil> {
        if let Some((seconds, civil)) = self.now
            && seconds == now.secs()
        {
            return Some(civil);
        }
        let civil = self.local.civil(now)?;
        self.now = Some((now.secs(), civil));
        Some(civil)
    }

    /// The moment at which the zone's clocks show `civil`.
    pub(crate) fn timestamp(&mut self, civil: Civil) -> Option<Timestamp> {
        let date = (civil.year, civil.month, civil.day);
        let day = match self.day {
            Some(day) if day.date == date => day,
            _ => {
                let day = Day { date, east: self.offset_all_day(civil) };
                self.day = Some(day);
                day
            }
        };
        let seconds = civil.seconds_as_utc()?;
        let at = match day.east {
            Some(east) => Timestamp::from_secs(seconds - east),
            None => self.local.timestamp_near(civil, self.near)?,
        };
        self.near = seconds - at.secs();
        Some(at)
    }

    /// The offset that holds at the day's beginning, middle and end, if it is one.
    fn offset_all_day(&self, day: Civil) -> Option<i64> {
        let east = |hour, minute| {
            let civil = Civil { hour, minute, second: 0, ..day };
            match self.local.offset(civil)? {
                WallOffset::Once(east) => Some(i64::from(east)),
                WallOffset::Twice(..) | WallOffset::Never(_) => None,
            }
        };
        let morning = east(0, 0)?;
        (east(12, 0)? == morning && east(23, 59)? == morning).then_some(morning)
    }
}
