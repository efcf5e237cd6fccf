//! Kernel: does the batches of plans by netlink, for the runner of a jail.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Fault, Lost, Netlink, Own, Part, Sockets, Watch, nft::Home, watch::Ear};
use crate::{
    action::sets::{Change, NftGuard, SetBatch, SetVerb},
    daemon::runner::exec::{Done, Failed, Why},
    net::Cidr,
};

/// After a socket failed the watch is opened anew after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// So many elements of one batch are worth ceasing to listen for.
const LOUD: usize = 500;

/// Of a long list one element in so many is asked for afterwards: about one of each transaction.
const WITNESS_EVERY: usize = 2000;

/// Sets that are not ours may stand in our table; so many are told apart.
const SETS_MAX: usize = 4096;

/// An element that lapses within so many seconds is no witness.
const WITNESS_S: u64 = 120;

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

    /// Nothing is listened to until what this gives back is dropped; what happened meanwhile counts
    /// as a loss then, whatever it was, so that everybody looks.
    pub fn deafen(&self) -> Deaf<'_> {
        let mut listening = self.listening();
        listening.deaf += 1;
        if listening.deaf == 1 {
            listening.listen(false);
        }
        Deaf(self)
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
    fn taken(&self, sets: &[String]) -> u64 {
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
    fn count(&self) -> Option<u64> {
        (!self.listening().broken).then(|| self.0.count.load(Ordering::Relaxed))
    }
}

impl Listening {
    fn listen(&mut self, on: bool) {
        // Where it goes on listening although it should not, things are slower and nothing else.
        let done = self.ear.as_ref().map(|ear| ear.listen(on));
        self.broken = on && matches!(done, Some(Err(_)));
    }
}

/// The time in which nobody listens.
#[derive(Debug)]
pub struct Deaf<'a>(&'a Losses);

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        let mut listening = self.0.listening();
        listening.deaf = listening.deaf.saturating_sub(1);
        if listening.deaf == 0 {
            listening.listen(true);
            self.0.more();
        }
    }
}

/// A conversation that is opened when it is needed, and given up where it cannot be had.
#[derive(Debug)]
enum Way {
    Untried,
    Open(Box<Netlink>),
    Closed,
}

/// Does what netlink can do of a jail's plans.
#[derive(Debug)]
pub struct Kernel {
    own: Own,
    nft: Way,
    ipset: Way,
    /// Connections of whoever is banned are cut; not if that is not wanted or cannot be had.
    cuts: bool,
    /// Cuts them; opened when it is needed.
    sockets: Option<Sockets>,
    /// Why they were not cut when it was last tried, which was said.
    uncut: Option<String>,
    losses: Option<Losses>,
    seen: u64,
    /// Our sets, and how often elements of them were taken out when that was asked last.
    sets: Vec<String>,
    taken: u64,
    /// Something else than nf_tables was told, which announces nothing.
    blind: bool,
    notes: Vec<String>,
}

impl Kernel {
    /// For one jail. `losses` is the watch over our table; `cuts` says that connections which are
    /// there already end with a ban.
    pub fn new(own: &Own, losses: Option<Losses>, cuts: bool) -> Kernel {
        let seen = losses.as_ref().and_then(Losses::count).unwrap_or(0);
        Kernel {
            own: own.clone(),
            nft: Way::Untried,
            ipset: Way::Untried,
            cuts,
            sockets: None,
            uncut: None,
            losses,
            seen,
            sets: Vec::new(),
            taken: 0,
            blind: false,
            notes: Vec::new(),
        }
    }

    /// Does a batch; none where the tools have to.
    pub fn run(&mut self, batch: &SetBatch) -> Option<Result<Done, Failed>> {
        let (part, way, tool) = match batch {
            SetBatch::Nft { .. } => (Part::Nft, &mut self.nft, "nft"),
            SetBatch::Ipset { .. } => {
                self.blind = true;
                (Part::Ipset, &mut self.ipset, "ipset")
            }
            SetBatch::Iptables { .. } => {
                self.blind = true;
                return None;
            }
        };
        if matches!(way, Way::Untried) {
            *way = match Netlink::open(part, &self.own) {
                Ok(netlink) => Way::Open(Box::new(netlink)),
                Err(fault) if fault.is_unavailable() => {
                    self.notes.push(format!("{fault}; bans go by the tool {tool}"));
                    Way::Closed
                }
                // The next order tries again.
                Err(fault) => return Some(Err(failed(&fault))),
            };
        }
        let Way::Open(netlink) = way else {
            self.blind = true;
            return None;
        };
        if let SetBatch::Nft { guard, .. } = batch
            && !self.sets.contains(&guard.sets.addr4)
        {
            self.sets.extend(Home::ALL.iter().map(|home| home.name(&guard.sets)));
            self.taken = self.losses.as_ref().map_or(0, |losses| losses.taken(&self.sets));
        }
        let deaf = self.losses.as_ref().filter(|_| is_loud(batch)).map(Losses::deafen);
        let applied = netlink.apply(batch);
        drop(deaf);
        // Only now, when all that comes is heard again: who emptied the sets meanwhile took some of
        // these with him.
        let applied = match (applied, witnesses(batch)) {
            (Ok(applied), Some(check)) if applied.failed.is_empty() => {
                netlink.apply(&check).map(|_| applied)
            }
            (applied, _) => applied,
        };
        let applied = match applied {
            Ok(applied) => applied,
            Err(fault) if fault.is_unavailable() => {
                self.notes.push(format!("{fault}; bans go by the tool {tool}"));
                *way = Way::Closed;
                self.blind = true;
                return None;
            }
            Err(fault) => return Some(Err(failed(&fault))),
        };
        self.notes.extend(applied.notes);
        self.cut(batch);
        if let Some((net, why)) = applied.failed.first() {
            // The runner finds out whose it is; the others are in already, and are put in again.
            return Some(Err(Failed { text: format!("{net}: {why}"), why: Why::Refused }));
        }
        let stdout = applied.listed.iter().map(|element| format!("{}\n", element.net)).collect();
        Some(Ok(Done { stdout }))
    }

    /// Ends the connections that are open with those who were just shut out.
    fn cut(&mut self, batch: &SetBatch) {
        let SetBatch::Nft { guard, verb: SetVerb::Change(changes) } = batch else { return };
        let out = |change: &Change| match change {
            Change::Add { net, .. } => Some(*net),
            Change::Delete { .. } => None,
        };
        let nets: Vec<Cidr> = changes.iter().filter_map(out).collect();
        if nets.is_empty() || !self.cuts {
            return;
        }
        let opened = match self.sockets.take() {
            Some(sockets) => Ok(sockets),
            None => Sockets::open(),
        };
        let cut = opened.and_then(|sockets| {
            self.sockets.insert(sockets).cut(&nets, &guard.ports.ranges).map(drop)
        });
        let uncut =
            cut.as_ref().err().map(|fault| format!("open connections cannot be cut: {fault}"));
        if uncut.is_some() && uncut != self.uncut {
            self.notes.extend(uncut.clone());
        }
        self.uncut = uncut;
        // What failed for once does not end it.
        self.cuts = !cut.is_err_and(|fault| fault.is_unavailable());
    }

    /// True once after each time that somebody changed our table; none where nobody tells.
    pub fn disturbed(&mut self) -> Option<bool> {
        let losses = self.losses.as_ref().filter(|_| !self.blind)?;
        let count = losses.count()?;
        let disturbed = count != self.seen;
        self.seen = count;
        Some(disturbed)
    }

    /// True once after each time that somebody took elements out of our sets, as far as we are told.
    pub fn bereft(&mut self) -> bool {
        let taken = self.losses.as_ref().map_or(0, |losses| losses.taken(&self.sets));
        std::mem::replace(&mut self.taken, taken) != taken
    }

    /// Things for the log, once.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// True if the kernel would have so much to tell of it that it is better not listened to.
fn is_loud(batch: &SetBatch) -> bool {
    match batch {
        SetBatch::Nft { verb: SetVerb::Change(changes), .. } => changes.len() >= LOUD,
        SetBatch::Nft { verb: SetVerb::Exactly(roll), .. } => roll.len() >= LOUD,
        // How much that takes away only the kernel knows.
        SetBatch::Nft { verb: SetVerb::Flush, .. } => true,
        _ => false,
    }
}

/// Asks for some of what goes in several transactions, between which anything may happen.
fn witnesses(batch: &SetBatch) -> Option<SetBatch> {
    let SetBatch::Nft { guard, verb: SetVerb::Exactly(roll) } = batch else { return None };
    let stays = |timeout_s: Option<u64>| timeout_s.is_none_or(|s| s > WITNESS_S);
    let singles = roll.iter().filter(|(net, timeout_s)| net.is_single() && stays(*timeout_s));
    let some: Vec<Cidr> = singles.step_by(WITNESS_EVERY).map(|(net, _)| net).collect();
    let guard: NftGuard = guard.clone();
    (!some.is_empty()).then_some(SetBatch::Nft { guard, verb: SetVerb::Check(some) })
}

fn failed(fault: &Fault) -> Failed {
    let why = match fault {
        Fault::Refused { .. } | Fault::Missing(_) => Why::Refused,
        Fault::Unavailable { .. } => Why::Missing,
        Fault::Socket(_) | Fault::NoAnswer => Why::System,
    };
    Failed { text: fault.to_string(), why }
}
