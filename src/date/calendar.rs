//! What the clocks on the wall show, remembered: the zone's rules are slow to ask for every line.

use crate::time::{Civil, Timestamp, Zone};

/// The machine's zone, with the present second and the last day that were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendar {
    local: Zone,
    now: Option<(i64, Civil)>,
    day: Option<Day>,
}

/// A day, and its offset in seconds if the clocks are not changed on it.
#[derive(Clone, Copy, Debug)]
struct Day {
    date: (i32, u32, u32),
    east: Option<i64>,
}

impl Calendar {
    pub(crate) fn new(local: Zone) -> Calendar {
        Calendar { local, now: None, day: None }
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
        match day.east {
            Some(east) => civil.seconds_as_utc().map(|utc| Timestamp::from_secs(utc - east)),
            None => self.local.timestamp(civil),
        }
    }

    /// The offset that holds at the day's beginning, middle and end, if it is one.
    fn offset_all_day(&self, day: Civil) -> Option<i64> {
        let east = |hour, minute| {
            let civil = Civil { hour, minute, second: 0, ..day };
            Some(civil.seconds_as_utc()? - self.local.timestamp(civil)?.secs())
        };
        let morning = east(0, 0)?;
        (east(12, 0)? == morning && east(23, 59)? == morning).then_some(morning)
    }
}
