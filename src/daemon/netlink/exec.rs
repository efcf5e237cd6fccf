//! Kernel: does the batches of plans by netlink, for the runner of a jail.

pub use super::losses::Losses;
use super::{Fault, Netlink, Own, Part, Sockets, nft::Home};
use crate::{
    action::sets::{Change, NftGuard, SetBatch, SetVerb},
    daemon::runner::exec::{Done, Failed, Why},
    net::Cidr,
};

/// So many elements of one batch are worth ceasing to listen for.
const LOUD: usize = 500;

/// Of a long list one element in so many is asked for afterwards: about one of each transaction.
const WITNESS_EVERY: usize = 2000;

/// An element that lapses within so many seconds is no witness.
const WITNESS_S: u64 = 120;

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
        let losses = self.losses.as_ref().filter(|_| is_loud(batch));
        let deaf = losses.map(|losses| losses.deafen(&self.own));
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

    /// What follows a batch that another socket of ours ([`super::express`]) has carried out.
    pub fn was_run(&mut self, batch: &SetBatch) {
        self.cut(batch);
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
