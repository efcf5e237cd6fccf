//! What could not be written yet, in its order and within a limit.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::{
    ticket::{Entry, Evidence},
    time::Timestamp,
};

/// So many entries wait at most.
pub(super) const ENTRIES_MAX: usize = 100_000;

/// So many bytes of evidence wait at most, by estimate.
pub(super) const BYTES_MAX: usize = 32 << 20;

/// Entries that wait, each with its time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<(Entry, Timestamp)>,
    bytes: usize,
    pub(super) lost_failures: u64,
    pub(super) lost_others: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Entry, Timestamp)> {
        self.entries.iter().map(|(entry, time)| (entry, *time))
    }

    /// Forgets what waits, since it is written.
    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }

    /// Puts a batch behind the others; true if something had to be dropped for it.
    pub(super) fn push(&mut self, batch: &[Entry], now: Timestamp) -> bool {
        let lost = self.lost_failures + self.lost_others;
        for entry in batch {
            self.bytes += weight(entry);
            self.entries.push_back((entry.clone(), now));
            if self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
                self.shrink();
            }
        }
        self.lost_failures + self.lost_others > lost
    }

    /// Makes room for a quarter more: at first by what is outdated, then by dropping failures (a
    /// restart counts from fewer), then by dropping the oldest of the rest.
    fn shrink(&mut self) {
        self.drop_outdated();
        if self.is_roomy() {
            return;
        }
        let before = self.entries.len();
        self.entries.retain(|(entry, _)| !matches!(entry, Entry::Failure { .. }));
        self.lost_failures += (before - self.entries.len()) as u64;
        self.weigh();
        while !self.is_roomy()
            && let Some((entry, _)) = self.entries.pop_front()
        {
            self.bytes -= weight(&entry).min(self.bytes);
            self.lost_others += 1;
        }
    }

    fn is_roomy(&self) -> bool {
        self.entries.len() <= ENTRIES_MAX / 4 * 3 && self.bytes <= BYTES_MAX / 4 * 3
    }

    /// Of positions and counters only the last of each counts.
    fn drop_outdated(&mut self) {
        let mut last: HashMap<(u8, &str), usize> = HashMap::new();
        let mut outdated = HashSet::new();
        for (index, (entry, _)) in self.entries.iter().enumerate() {
            let key = match entry {
                Entry::Position { key, .. } | Entry::ForgetPosition { key } => (0, &**key),
                Entry::Counters { jail, .. } => (1, &**jail),
                Entry::JailStart { jail, .. } => (2, &**jail),
                _ => continue,
            };
            outdated.extend(last.insert(key, index));
        }
        let mut index = 0;
        self.entries.retain(|_| {
            index += 1;
            !outdated.contains(&(index - 1))
        });
        self.weigh();
    }

    fn weigh(&mut self) {
        self.bytes = self.entries.iter().map(|(entry, _)| weight(entry)).sum();
    }
}

/// About how many bytes an entry holds beside its own size.
fn weight(entry: &Entry) -> usize {
    let of = |evidence: &Evidence| -> usize {
        let lines = evidence.lines.iter().map(|line| line.len() + 32).sum::<usize>();
        let fields = evidence.fields.iter().map(|(name, value)| name.len() + value.len() + 64);
        lines + fields.sum::<usize>()
    };
    match entry {
        Entry::Failure { ticket, .. } => of(&ticket.evidence.evidence()),
        Entry::Ban { ban, .. } | Entry::PastBan { ban, .. } | Entry::Prolong { ban, .. } => {
            of(&ban.evidence)
        }
        Entry::Position { key, value } => key.len() + value.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        store::UnbanWhy,
        ticket::{Id, Ticket},
    };

    fn failure(number: usize, line: &str) -> Entry {
        let evidence = Evidence { lines: vec![line.into()], ..Evidence::default() };
        let id = Id::parse(&format!("10.0.{}.{}", number / 256 % 256, number % 256));
        let time = Timestamp::from_secs(1);
        let ticket = Ticket { id, time, attempts: 1, evidence: evidence.into() };
        Entry::Failure { jail: "sshd".into(), ticket }
    }

    fn unban(number: usize) -> Entry {
        let id = Id::Text(format!("{number}").into());
        Entry::Unban { jail: "sshd".into(), id, why: UnbanWhy::Lapsed }
    }

    #[test]
    fn old_positions_make_room_before_anything_is_lost() {
        let mut queue = Queue::default();
        let now = Timestamp::from_secs(0);
        queue.push(&[unban(1)], now);
        for number in 0..ENTRIES_MAX * 2 {
            let value = Arc::from(number.to_le_bytes());
            assert!(!queue.push(&[Entry::Position { key: "/log".into(), value }], now));
        }
        assert!(queue.len() <= ENTRIES_MAX);
        assert_eq!(queue.iter().next(), Some((&unban(1), now)));
    }

    #[test]
    fn failures_go_before_bans_do() {
        let mut queue = Queue::default();
        let now = Timestamp::from_secs(0);
        for number in 0..ENTRIES_MAX / 2 {
            queue.push(&[unban(number)], now);
        }
        for number in 0..ENTRIES_MAX {
            queue.push(&[failure(number, "x")], now);
        }
        assert!(queue.lost_failures > 0);
        assert_eq!(queue.lost_others, 0);
        for number in 0..ENTRIES_MAX {
            queue.push(&[unban(number)], now);
        }
        assert!(queue.lost_others > 0);
        assert!(queue.len() <= ENTRIES_MAX);
    }

    #[test]
    fn long_lines_are_limited_as_well() {
        let mut queue = Queue::default();
        let line = "x".repeat(1 << 20);
        for number in 0..200 {
            queue.push(&[failure(number, &line)], Timestamp::from_secs(0));
            assert!(queue.bytes <= BYTES_MAX);
        }
        assert!(queue.lost_failures > 0);
    }
}
