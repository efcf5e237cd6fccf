//! Kernel: does the batches of plans by netlink, for the runner of a jail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Fault, Netlink, Own, Part, Sockets, Watch};
use crate::{
    action::sets::{Change, SetBatch, SetVerb},
    daemon::runner::exec::{Done, Failed, Why},
    net::Cidr,
};

/// After a socket failed the watch is opened anew after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts what others did to our table, for everybody who wants to know.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<AtomicU64>);

impl Losses {
    /// Begins to listen, on a thread of its own.
    ///
    /// # Errors
    /// The kernel does not let us, or there is no thread.
    pub fn watch(own: &Own) -> Result<Losses, Fault> {
        let mut watch = Watch::open(own)?;
        let losses = Losses::default();
        let (counter, own) = (Arc::downgrade(&losses.0), own.clone());
        let work = move || {
            loop {
                let heard = watch.wait(None);
                let Some(counter) = counter.upgrade() else { return };
                match heard {
                    Ok(lost) if lost.is_empty() => {}
                    Ok(_) => {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => {
                        counter.fetch_add(1, Ordering::Relaxed);
                        drop(counter);
                        thread::sleep(PAUSE);
                        if let Ok(another) = Watch::open(&own) {
                            watch = another;
                        }
                    }
                }
            }
        };
        thread::Builder::new().name("firewall".to_owned()).spawn(work).map_err(Fault::Socket)?;
        Ok(losses)
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
    /// Cuts connections of whoever is banned; none if that is not wanted or cannot be had.
    sockets: Option<Sockets>,
    losses: Option<Losses>,
    seen: u64,
    /// Something else than nf_tables was told, which announces nothing.
    blind: bool,
    notes: Vec<String>,
}

impl Kernel {
    /// For one jail. `losses` is the watch over our table; `cuts` says that connections which are
    /// there already end with a ban.
    pub fn new(own: &Own, losses: Option<Losses>, cuts: bool) -> Kernel {
        let seen = losses.as_ref().map_or(0, Losses::count);
        Kernel {
            own: own.clone(),
            nft: Way::Untried,
            ipset: Way::Untried,
            sockets: cuts.then(|| Sockets::open().ok()).flatten(),
            losses,
            seen,
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
                Err(fault) => {
                    self.notes.push(format!("{fault}; bans go by the tool {tool}"));
                    Way::Closed
                }
            };
        }
        let Way::Open(netlink) = way else {
            self.blind = true;
            return None;
        };
        let applied = match netlink.apply(batch) {
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
        let (Some(sockets), SetBatch::Nft { guard, verb: SetVerb::Change(changes) }) =
            (&mut self.sockets, batch)
        else {
            return;
        };
        let out = |change: &Change| match change {
            Change::Add { net, .. } => Some(*net),
            Change::Delete { .. } => None,
        };
        let nets: Vec<Cidr> = changes.iter().filter_map(out).collect();
        if nets.is_empty() {
            return;
        }
        if let Err(fault) = sockets.cut(&nets, &guard.ports.ranges) {
            self.notes.push(format!("open connections cannot be cut: {fault}"));
            self.sockets = None;
        }
    }

    /// True once after each time that somebody changed our table; none where nobody tells.
    pub fn disturbed(&mut self) -> Option<bool> {
        let losses = self.losses.as_ref().filter(|_| !self.blind)?;
        let count = losses.count();
        let disturbed = count != self.seen;
        self.seen = count;
        Some(disturbed)
    }

    /// Things for the log, once.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

fn failed(fault: &Fault) -> Failed {
    let why = match fault {
        Fault::Refused { .. } | Fault::Missing(_) => Why::Refused,
        Fault::Unavailable { .. } => Why::Missing,
        Fault::Socket(_) | Fault::NoAnswer => Why::System,
    };
    Failed { text: fault.to_string(), why }
}
