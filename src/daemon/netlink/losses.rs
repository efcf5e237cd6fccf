//! Losses: what others did to our table, counted for all jails; and who listens to that, and when.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Fault, Lost, Netlink, Own, Part, Watch, watch::Ear};

/// After a socket failed the watch is opened anew after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Sets that are not ours may stand in our table; so many are told apart.
const SETS_MAX: usize = 4096;

/// So often it is tried to find none of our own threads at a commit …
const MOMENT_TRIES: usize = 50;

/// … and so long is waited in between: a large one takes some milliseconds.
const MOMENT_PAUSE: Duration = Duration::from_micros(500);

/// Counts what others did to our table, for everybody who wants to know.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    count: AtomicU64,
    taken: Mutex<Taken>,
    listening: Mutex<Listening>,
}

/// How often somebody took elements out of sets.
#[derive(Debug, Default)]
struct Taken {
    of: HashMap<String, u64>,
    /// Out of which, nobody knows: all may be meant.
    of_any: u64,
}

#[derive(Debug, Default)]
struct Listening {
    ear: Option<Ear>,
    /// So many want silence.
    deaf: usize,
    /// It could not be made to listen again.
    broken: bool,
    /// Where nf_tables stood when it ceased to listen.
    before: Option<Moment>,
    asker: Option<Box<Netlink>>,
}

/// Where nf_tables stands: the kernel counts what anybody commits, and we count what we do.
#[derive(Clone, Copy, Debug)]
struct Moment {
    generation: u32,
    ours: u32,
}

impl Losses {
    /// Begins to listen, on a thread of its own.
    ///
    /// # Errors
    /// The kernel does not let us, or there is no thread.
    pub fn watch(own: &Own) -> Result<Losses, Fault> {
        let mut watch = Watch::open(own)?;
        let losses = Losses::default();
        losses.listening().ear = Some(watch.ear());
        let (heard, own) = (Arc::downgrade(&losses.0), own.clone());
        let work = move || {
            loop {
                let lost = watch.wait(None);
                let Some(losses) = heard.upgrade().map(Losses) else { return };
                match lost {
                    Ok(lost) if lost.is_empty() => {}
                    Ok(lost) => {
                        losses.note_taken(&lost);
                        losses.more();
                    }
                    Err(_) => {
                        losses.more();
                        thread::sleep(PAUSE);
                        if let Ok(another) = Watch::open(&own) {
                            watch = another;
                            losses.replace(watch.ear());
                        }
                    }
                }
            }
        };
        thread::Builder::new().name("firewall".to_owned()).spawn(work).map_err(Fault::Socket)?;
        Ok(losses)
    }

    /// Nothing is listened to until what this gives back is dropped. Then everybody looks; and if
    /// somebody else changed anything meanwhile, elements of any set may have been taken out.
    pub fn deafen(&self, own: &Own) -> Deaf<'_> {
        let mut listening = self.listening();
        listening.deaf += 1;
        if listening.deaf == 1 {
            // Before it ceases to listen: of what is in between it hears as well.
            listening.before = listening.moment(own);
            listening.listen(false);
        }
        Deaf { losses: self, own: own.clone() }
    }

    fn note_taken(&self, lost: &[Lost]) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for one in lost {
            match one {
                Lost::Elements(set) if taken.of.len() < SETS_MAX || taken.of.contains_key(set) => {
                    *taken.of.entry(set.clone()).or_default() += 1;
                }
                Lost::Elements(_) | Lost::Unknown => taken.of_any += 1,
                // What else is lost is seen by whoever looks.
                _ => {}
            }
        }
    }

    /// How often elements of these sets were taken out.
    pub(super) fn taken(&self, sets: &[String]) -> u64 {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        sets.iter().filter_map(|set| taken.of.get(set)).sum::<u64>() + taken.of_any
    }

    fn more(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
    }

    fn replace(&self, ear: Ear) {
        let mut listening = self.listening();
        listening.ear = Some(ear);
        listening.broken = false;
        if listening.deaf > 0 {
            listening.listen(false);
        }
    }

    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.0.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None if nobody tells.
    pub(super) fn count(&self) -> Option<u64> {
        (!self.listening().broken).then(|| self.0.count.load(Ordering::Relaxed))
    }
}

impl Listening {
    /// None where it cannot be told, or while one of our own threads is about to commit.
    fn moment(&mut self, own: &Own) -> Option<Moment> {
        if self.asker.is_none() {
            self.asker = Netlink::open(Part::Nft, own).ok().map(Box::new);
        }
        for _ in 0..MOMENT_TRIES {
            let ended = own.commits().ended();
            let asked = self.asker.as_mut()?.nft_generation();
            let Ok(generation) = asked else {
                self.asker = None;
                return None;
            };
            // Nobody has begun since, so that nobody was at it when the kernel was asked.
            if own.commits().begun() == ended {
                return Some(Moment { generation, ours: own.commits().made() });
            }
            thread::sleep(MOMENT_PAUSE);
        }
        None
    }

    fn listen(&mut self, on: bool) {
        // Where it goes on listening although it should not, things are slower and nothing else.
        let done = self.ear.as_ref().map(|ear| ear.listen(on));
        self.broken = on && matches!(done, Some(Err(_)));
    }
}

/// The time in which nobody listens.
#[derive(Debug)]
pub struct Deaf<'a> {
    losses: &'a Losses,
    own: Own,
}

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        let mut listening = self.losses.listening();
        listening.deaf = listening.deaf.saturating_sub(1);
        if listening.deaf > 0 {
            return;
        }
        listening.listen(true);
        let after = listening.moment(&self.own);
        let alone = match (listening.before.take(), after) {
            (Some(before), Some(after)) => {
                after.generation.wrapping_sub(before.generation)
                    == after.ours.wrapping_sub(before.ours)
            }
            _ => false,
        };
        if !alone {
            self.losses.note_taken(&[Lost::Unknown]);
        }
        self.losses.more();
    }
}
