//! Failures of a transaction that are not in their table yet.
//!
//! Of those who are banned at once (`maxretry = 1`, a burst), failure and ban stand in one batch: what
//! the ban would have forgotten again is never written down. The rest is written at the end.

use std::collections::HashMap;

use crate::ticket::{Id, Ticket};

/// Failures in their order, each with the number of its jail; none where it was taken.
#[derive(Default)]
pub(super) struct Young<'a> {
    failures: Vec<Option<(i64, &'a Ticket)>>,
    /// Where those of an id are; made when the first is asked for.
    index: HashMap<(i64, Id), Vec<usize>>,
    /// So many failures are in the index.
    indexed: usize,
}

impl<'a> Young<'a> {
    /// Takes a failure; false if its id may have another spelling when it is read again, so that it
    /// has to be written at once.
    pub fn push(&mut self, jail: i64, ticket: &'a Ticket) -> bool {
        let plain = matches!(ticket.id, Id::Ip(_));
        if plain {
            self.failures.push(Some((jail, ticket)));
        }
        plain
    }

    /// Takes out the failures of an id, oldest entry first.
    pub fn take(&mut self, jail: i64, id: &Id) -> Vec<&'a Ticket> {
        if self.failures.is_empty() {
            return Vec::new();
        }
        let fresh = self.failures.get(self.indexed..).unwrap_or_default();
        for (at, failure) in (self.indexed..).zip(fresh) {
            if let Some((jail, ticket)) = failure {
                self.index.entry((*jail, ticket.id.clone())).or_default().push(at);
            }
        }
        self.indexed = self.failures.len();
        let places = self.index.remove(&(jail, id.clone())).unwrap_or_default();
        let mut taken = Vec::with_capacity(places.len());
        for place in places {
            let failure = self.failures.get_mut(place).and_then(Option::take);
            taken.extend(failure.map(|(_, ticket)| ticket));
        }
        taken
    }

    /// Forgets the failures of a jail.
    pub fn drop_jail(&mut self, jail: i64) {
        for failure in &mut self.failures {
            *failure = failure.take().filter(|(of, _)| *of != jail);
        }
    }

    /// All that are left, in their order.
    pub fn take_all(&mut self) -> Vec<(i64, &'a Ticket)> {
        let failures = std::mem::take(self).failures;
        failures.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn ticket(id: &str, second: i64) -> Ticket {
        let time = Timestamp::from_secs(second);
        Ticket { id: Id::parse(id), time, attempts: 1, evidence: Default::default() }
    }

    #[test]
    fn failures_are_taken_by_jail_and_id() {
        let tickets = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1"];
        let tickets: Vec<Ticket> =
            tickets.iter().zip(0..).map(|(id, second)| ticket(id, second)).collect();
        let others = ["bob", "2001:db8::/64"].map(|id| ticket(id, 5));
        let mut young = Young::default();
        for ticket in &tickets {
            assert!(young.push(1, ticket));
        }
        assert!(young.push(2, &tickets[0]));
        assert!(others.iter().all(|ticket| !young.push(1, ticket)));
        let seconds = |tickets: Vec<&Ticket>| -> Vec<i64> {
            tickets.iter().map(|ticket| ticket.time.secs()).collect()
        };
        assert_eq!(seconds(young.take(1, &Id::parse("192.0.2.1"))), [0, 3]);
        assert!(young.take(1, &Id::parse("192.0.2.1")).is_empty());
        assert!(young.take(1, &Id::parse("bob")).is_empty());
        assert!(young.push(1, &tickets[3]));
        assert_eq!(seconds(young.take(1, &Id::parse("192.0.2.1"))), [3]);
        young.drop_jail(2);
        let left = young.take_all();
        assert!(left.iter().all(|(jail, _)| *jail == 1));
        assert_eq!(seconds(left.into_iter().map(|(_, ticket)| ticket).collect()), [1, 2]);
        assert!(young.take_all().is_empty());
    }
}
