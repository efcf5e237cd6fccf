//! `Catch`: what one reading found for a jail, on its way to the loop.
//!
//! In a flood the thread that reads makes what the loop's thread drops, and memory that goes from
//! one thread to another costs both. So the failures of a reading travel together.

use std::{net::Ipv4Addr, sync::Arc};

use crate::{
    filter::Piece,
    scan::Failure,
    ticket::{Dossier, Id, Ticket, Traces},
    time::Timestamp,
};

/// The failures of one reading.
#[derive(Debug, Default)]
pub struct Catch {
    cases: Vec<Case>,
    dossier: Dossier,
    names: Vec<Failure>,
}

/// One failure.
#[derive(Debug)]
struct Case {
    id: Id,
    time: Timestamp,
    attempts: u32,
    /// Its number on the dossier.
    number: u32,
}

/// How much a catch holds: failures, and the size of their dossier.
pub(super) type Size = (usize, (usize, usize));

impl Catch {
    /// An empty one with room for about as much as another held.
    pub(super) fn with_room((cases, dossier): Size) -> Catch {
        Catch {
            cases: Vec::with_capacity(cases + cases / 4),
            dossier: Dossier::with_room(dossier),
            names: Vec::new(),
        }
    }

    /// How much it holds.
    pub(super) fn size(&self) -> Size {
        (self.cases.len(), self.dossier.size())
    }

    /// Adds a failure, which happened at `time`; one that has no id counts for nobody.
    pub fn push(&mut self, mut failure: Failure, time: Timestamp) {
        if failure.lookup {
            failure.time = Some(time);
            self.names.push(failure);
            return;
        }
        let Some(id) = &failure.id else { return };
        let number = note(&mut self.dossier, &failure);
        let attempts = failure.attempts.max(1);
        self.cases.push(Case { id: id_of(id), time, attempts, number });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cases.len() + self.names.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whose they are and when they happened, as far as that takes no look-up.
    pub fn iter(&self) -> impl Iterator<Item = (&Id, Timestamp)> {
        self.cases.iter().map(|case| (&case.id, case.time))
    }

    /// Leaves out whose lines all have this word among the first two behind their dates.
    pub fn drop_lines_of(&mut self, word: &str) {
        let own = |text: &str| text.split_whitespace().take(2).any(|one| one == word);
        if memchr::memmem::find(self.dossier.text().as_bytes(), word.as_bytes()).is_some() {
            let dossier = &self.dossier;
            self.cases.retain(|case| {
                let mut lines = dossier.behind_dates(case.number).peekable();
                lines.peek().is_none() || !lines.all(own)
            });
        }
        self.names.retain(|failure| {
            failure.lines.is_empty() || !failure.lines.iter().all(|line| own(line.after()))
        });
    }

    /// The failures as jails count them, and those of names, which are to be looked up before.
    pub fn into_tickets(self) -> (Vec<Ticket>, Vec<Failure>) {
        let dossier = Arc::new(self.dossier);
        let tickets = self.cases.into_iter().map(|Case { id, time, attempts, number }| Ticket {
            id,
            time,
            attempts,
            evidence: Traces::of(&dossier, number),
        });
        (tickets.collect(), self.names)
    }
}

/// A failure whose name was looked up, as jails count it: one of each of these.
pub fn tickets_of(failure: &Failure, ids: Vec<Id>, now: Timestamp) -> Vec<Ticket> {
    let mut dossier = Dossier::default();
    let number = note(&mut dossier, failure);
    let evidence = Traces::of(&Arc::new(dossier), number);
    let (time, attempts) = (failure.time.unwrap_or(now), failure.attempts.max(1));
    let ticket = |id| Ticket { id, time, attempts, evidence: evidence.clone() };
    ids.into_iter().map(ticket).collect()
}

/// Puts down what is known of a failure.
fn note(dossier: &mut Dossier, failure: &Failure) -> u32 {
    let number = dossier.begin(u32::try_from(failure.regex + 1).ok());
    let mut last = None;
    for line in &failure.lines {
        last = Some((line.whole(), dossier.add_line(line.whole(), line.date_end())));
    }
    for (name, field) in failure.fields.shared() {
        let Some(value) = field.piece() else { continue };
        // Most values are pieces of the line that was read last.
        let place = last.and_then(|(line, at)| Some((value.place_in(line)?, at)));
        match place {
            Some((range, at)) => dossier.add_field_at(name, at + range.start..at + range.end),
            None => dossier.add_field(name, value),
        }
    }
    number
}

/// What nearly all ids are is tried first.
fn id_of(text: &Piece) -> Id {
    text.parse::<Ipv4Addr>().map_or_else(|_| Id::parse(text), |address| Id::Ip(address.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{filter::Field, record::CutLine, ticket::Evidence};

    fn failure(id: &str, lines: &[&str]) -> Failure {
        let lines: Vec<CutLine> = lines.iter().map(|line| CutLine::new("", "1 ", line)).collect();
        let mut failure = Failure { id: Some(id.into()), regex: 2, lines, ..Failure::default() };
        if let Some(line) = failure.lines.last() {
            failure.fields.set(&"ip4".into(), Field::Text(Piece::new(line.whole(), 2..4)));
        }
        failure.fields.set(&"user".into(), Field::Text("ann".into()));
        failure.fields.set(&"ids".into(), Field::Tuple(vec![None]));
        failure
    }

    #[test]
    fn what_is_known_of_a_failure_comes_through_as_it_was() {
        let at = Timestamp::from_secs(1000);
        let mut catch = Catch::default();
        catch.push(failure("192.0.2.1", &["one", "two"]), at);
        catch.push(Failure { attempts: 3, ..failure("2001:DB8::1", &[]) }, at);
        catch.push(Failure { id: None, ..failure("", &["nobody"]) }, at);
        catch.push(Failure { lookup: true, ..failure("host.example", &["named"]) }, at);
        assert_eq!(catch.len(), 3);
        let (tickets, names) = catch.into_tickets();
        assert_eq!((names.len(), names[0].time), (1, Some(at)));
        let evidence = |lines: &[&str], fields: &[(&str, &str)]| Evidence {
            lines: lines.iter().map(|line| Arc::from(*line)).collect(),
            fields: fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            regex: Some(3),
        };
        let both = [("ip4", "tw"), ("user", "ann")];
        let expected = [
            ("192.0.2.1", 1, evidence(&["1 one", "1 two"], &both)),
            ("2001:db8::1", 3, evidence(&[], &[("user", "ann")])),
        ];
        for (ticket, (id, attempts, evidence)) in tickets.iter().zip(expected) {
            assert_eq!((ticket.id.to_string().as_str(), ticket.attempts), (id, attempts));
            assert_eq!(*ticket.evidence.evidence(), evidence);
        }
        let found = tickets_of(&names[0], vec![Id::parse("192.0.2.7")], at);
        let expected = evidence(&["1 named"], &[("ip4", "na"), ("user", "ann")]);
        assert_eq!(*found[0].evidence.evidence(), expected);
    }

    #[test]
    fn our_own_lines_are_left_out() {
        let at = Timestamp::from_secs(1000);
        let mut catch = Catch::default();
        for lines in [
            &["host portsentry[7]: attackalert"][..],
            &["portsentry[7]: attackalert"],
            &["host sshd: portsentry[7]: attackalert"],
            &["host portsentry[7]: one", "host sshd[1]: other"],
            &[],
        ] {
            catch.push(failure("192.0.2.1", lines), at);
            catch.push(Failure { lookup: true, ..failure("host.example", lines) }, at);
        }
        catch.drop_lines_of("portsentry[7]:");
        let (tickets, names) = catch.into_tickets();
        let left: Vec<usize> = tickets.iter().map(|one| one.evidence.lines().len()).collect();
        assert_eq!(left, [1, 2, 0]);
        assert_eq!(names.len(), 3);
    }
}
