//! Names to addresses and back, on a thread of its own, because name servers may take their time.
//!
//! Asked are names that a filter found where `usedns` wants them, names in `ignoreip`, and the
//! name of a banned address where an action has the tag `<ip-host>`. Answers are remembered for a
//! while, bad ones for a shorter one, and a queue that is full refuses: an attacker who makes up
//! names shall wait, not the guard.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use crate::{net::plain, time::Stopwatch};

/// So many questions wait at most.
const QUEUE_MAX: usize = 1024;
/// So many answers are remembered.
const ANSWERS_MAX: usize = 4096;
/// For so long, in seconds: a little less than the time after which the names of `ignoreip` are
/// asked for again, which is five minutes.
const KEPT_S: f64 = 290.0;
/// And failures for so long; for them it is one minute.
const KEPT_BAD_S: f64 = 50.0;

/// What is to be found out.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Question {
    /// The addresses of a name.
    Addresses(String),
    /// The name of an address.
    Name(IpAddr),
}

/// What was found out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Addresses of a name; none if it has none.
    Addresses(Vec<IpAddr>),
    /// Name of an address.
    Name(Option<String>),
}

/// The way to the resolver's thread.
#[derive(Debug)]
pub struct Resolver<T> {
    asked: SyncSender<(Question, T)>,
}

impl<T: Send + 'static> Resolver<T> {
    /// Starts the thread. Each answer goes to `outlet` with the mark that the question had; it
    /// answers false when nobody listens any more.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn spawn(
        outlet: impl Fn(Question, Answer, T) -> bool + Send + 'static,
    ) -> io::Result<Resolver<T>> {
        let (asked, questions) = sync_channel(QUEUE_MAX);
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            let clock = Stopwatch::start();
            work(&questions, &outlet, &ask, &|| clock.seconds());
        })?;
        Ok(Resolver { asked })
    }

    /// Asks. False if too much waits already.
    pub fn ask(&self, question: Question, mark: T) -> bool {
        !matches!(
            self.asked.try_send((question, mark)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
        )
    }
}

fn work<T>(
    questions: &Receiver<(Question, T)>,
    outlet: &impl Fn(Question, Answer, T) -> bool,
    ask: &dyn Fn(&Question) -> Answer,
    clock: &dyn Fn() -> f64,
) {
    let mut known: HashMap<Question, (f64, Answer)> = HashMap::new();
    while let Ok((question, mark)) = questions.recv() {
        let now = clock();
        let remembered = known.get(&question).filter(|(until, _)| *until > now);
        let answer = match remembered {
            Some((_, answer)) => answer.clone(),
            None => {
                let answer = ask(&question);
                let kept = if answer.is_good() { KEPT_S } else { KEPT_BAD_S };
                if known.len() >= ANSWERS_MAX {
                    known.retain(|_, (until, _)| *until > now);
                }
                if known.len() >= ANSWERS_MAX {
                    known.clear();
                }
                known.insert(question.clone(), (now + kept, answer.clone()));
                answer
            }
        };
        if !outlet(question, answer, mark) {
            return;
        }
    }
}

impl Answer {
    fn is_good(&self) -> bool {
        match self {
            Answer::Addresses(addresses) => !addresses.is_empty(),
            Answer::Name(name) => name.is_some(),
        }
    }
}

fn ask(question: &Question) -> Answer {
    match question {
        Question::Addresses(name) => {
            let mut found: Vec<IpAddr> = (name.as_str(), 0)
                .to_socket_addrs()
                .map(|all| all.map(|one| plain(one.ip())).collect())
                .unwrap_or_default();
            found.sort();
            found.dedup();
            Answer::Addresses(found)
        }
        Question::Name(address) => {
            let name = dns_lookup::lookup_addr(address).ok();
            // Without a name the library answers with the address itself.
            Answer::Name(name.filter(|name| name.parse::<IpAddr>().is_err()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn answers_are_remembered_for_five_minutes_and_bad_ones_for_one() {
        // The mark is the time at which it is asked.
        let (ask_it, questions) = sync_channel(8);
        for mark in [0, 1, 280, 300, 301] {
            ask_it.send((Question::Addresses("gate.example".to_owned()), mark)).unwrap();
        }
        for mark in [301, 340, 361] {
            ask_it.send((Question::Addresses("typo.example".to_owned()), mark)).unwrap();
        }
        drop(ask_it);
        let asked = RefCell::new(Vec::new());
        let marks = RefCell::new(Vec::new());
        let now = || f64::from([0, 1, 280, 300, 301, 301, 340, 361][marks.borrow().len()]);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let hear = |_, _, mark| {
            marks.borrow_mut().push(mark);
            true
        };
        let ask = |question: &Question| {
            asked.borrow_mut().push(now());
            let known = *question == Question::Addresses("gate.example".to_owned());
            Answer::Addresses(if known { vec![address] } else { Vec::new() })
        };
        work(&questions, &hear, &ask, &now);
        assert_eq!(asked.into_inner(), [0.0, 300.0, 301.0, 361.0]);
        assert_eq!(marks.into_inner(), [0, 1, 280, 300, 301, 301, 340, 361]);
    }
}
