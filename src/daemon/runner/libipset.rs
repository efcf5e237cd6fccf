//! libipset: sets of ipset by the crate `ipset`, for builds with the feature of that name.
//!
//! It says yes, or it leaves the batch to netlink and the tools, which know more: what the crate
//! cannot say (which elements there are: its `list` panics where elements have a time), cannot do
//! (another shape of a set that is there, more elements than fit) or was refused. A batch says what
//! shall be so, so that nothing is lost by beginning it again, and whoever fails last explains it
//! best.

use std::sync::{Mutex, PoisonError};

use ipset::{
    Session,
    types::{AddOption, EnvOption, Error, HashIp, HashMethod, HashNet, NetDataType},
};

use super::exec::Done;
use crate::{
    action::sets::{Change, IPSET_TIMEOUT_MAX_S, IpsetGuard, SetBatch, SetVerb, family_of},
    daemon::netlink::halves,
    net::Cidr,
    ticket::Family,
};

/// The library keeps its list of types in the process, and guards it by nothing.
static LIBRARY: Mutex<()> = Mutex::new(());

/// Does batches for ipset by libipset.
#[derive(Debug, Default)]
pub struct Libipset {
    /// It has done something: whoever watches the firewall has to look for himself, as ipset
    /// announces nothing.
    used: bool,
    said: bool,
    notes: Vec<String>,
}

impl Libipset {
    /// One that has done nothing yet.
    pub fn new() -> Libipset {
        Libipset::default()
    }

    /// Does a batch; none if somebody else has to.
    pub fn run(&mut self, batch: &SetBatch) -> Option<Done> {
        let SetBatch::Ipset { guard, verb } = batch else { return None };
        // A name with a NUL makes the crate panic; none of ours has one.
        if guard.sets.of(guard.family).iter().any(|set| set.contains('\0')) {
            return None;
        }
        let _one = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match verb {
            SetVerb::Start => start(guard),
            SetVerb::Change(changes) => change(guard, changes),
            SetVerb::Flush => each(guard, &|set| Set::open(set).flush()),
            SetVerb::Stop => each(guard, &|set| Set::open(set).destroy()),
            SetVerb::Check(nets) => match holds(guard, nets) {
                Ok(true) => Ok(()),
                Ok(false) => return None,
                Err(error) => Err(error),
            },
            SetVerb::List | SetVerb::Exactly(_) => return None,
        };
        match done {
            Ok(()) => {
                self.used = true;
                Some(Done::default())
            }
            Err(error) => {
                if !self.said {
                    self.said = true;
                    self.notes
                        .push(format!("libipset: {}; netlink or the tool goes on", text(&error)));
                }
                None
            }
        }
    }

    /// True if something was done here.
    pub fn used(&self) -> bool {
        self.used
    }

    /// Things for the log, once.
    pub fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// What the library said, on one line.
fn text(error: &Error) -> String {
    let said = match error {
        Error::DataSet(said, _) | Error::Cmd(said, _) | Error::TypeGet(said, _) => said.clone(),
        other => other.to_string(),
    };
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    crate::action::plan::shown(&lines.join("; ")).chars().take(400).collect()
}

/// A conversation about one set. Each batch has its own: what the library said about one element
/// would be in the way of the next one's error.
enum Set {
    Single(Session<HashIp>),
    Prefix(Session<HashNet>),
}

/// A set's name, and whether it holds prefixes.
type Named<'a> = (&'a str, bool);

impl Set {
    fn open((name, prefixes): Named<'_>) -> Set {
        fn like_exist<T: ipset::types::SetType>(name: &str) -> Session<T> {
            let mut session = Session::new(name.to_owned());
            session.set_option(EnvOption::Exist);
            session
        }
        match prefixes {
            true => Set::Prefix(like_exist(name)),
            false => Set::Single(like_exist(name)),
        }
    }

    fn create(&mut self, guard: &IpsetGuard) -> Result<(), Error> {
        fn shaped<T>(session: &mut Session<T>, guard: &IpsetGuard) -> Result<(), Error>
        where
            T: ipset::types::SetType<Method = HashMethod>,
            T::DataType: ipset::types::TypeName,
        {
            let made = session.create(|builder| {
                builder
                    .with_ipv6(guard.family == Family::Inet6)?
                    .with_hash_size(guard.hashsize)?
                    .with_max_elem(guard.maxelem)?
                    // Without it no element could have a time.
                    .with_timeout(0)?
                    .build()
            });
            made.map(drop)
        }
        match self {
            Set::Single(session) => shaped(session, guard),
            Set::Prefix(session) => shaped(session, guard),
        }
    }

    fn add(&mut self, net: Cidr, timeout_s: Option<u64>) -> Result<(), Error> {
        // Beyond the limit the library would set another time and say nothing.
        let timeout_s = timeout_s.unwrap_or(0).min(IPSET_TIMEOUT_MAX_S);
        let timeout = [AddOption::Timeout(u32::try_from(timeout_s).unwrap_or(0))];
        match self {
            Set::Single(session) => session.add(net.address(), &timeout).map(drop),
            Set::Prefix(session) => session.add(data(net), &timeout).map(drop),
        }
    }

    fn delete(&mut self, net: Cidr) -> Result<(), Error> {
        match self {
            Set::Single(session) => session.del(net.address()).map(drop),
            Set::Prefix(session) => session.del(data(net)).map(drop),
        }
    }

    fn test(&mut self, net: Cidr) -> Result<bool, Error> {
        match self {
            Set::Single(session) => session.test(net.address()),
            Set::Prefix(session) => session.test(data(net)),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let flushed = match self {
            Set::Single(session) => session.flush(),
            Set::Prefix(session) => session.flush(),
        };
        unless_missing(flushed.map(drop))
    }

    fn destroy(&mut self) -> Result<(), Error> {
        let destroyed = match self {
            Set::Single(session) => session.destroy(),
            Set::Prefix(session) => session.destroy(),
        };
        unless_missing(destroyed.map(drop))
    }
}

fn data(net: Cidr) -> NetDataType {
    NetDataType::new(net.address(), net.bits())
}

fn unless_missing(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Cmd(said, _)) if said.contains("does not exist") => Ok(()),
        other => other,
    }
}

fn own(guard: &IpsetGuard) -> [Named<'_>; 2] {
    let [single, prefix] = guard.sets.of(guard.family);
    [(single, false), (prefix, true)]
}

fn each(guard: &IpsetGuard, act: &dyn Fn(Named<'_>) -> Result<(), Error>) -> Result<(), Error> {
    own(guard).into_iter().try_for_each(act)
}

fn start(guard: &IpsetGuard) -> Result<(), Error> {
    each(guard, &|set| Set::open(set).create(guard))
}

fn change(guard: &IpsetGuard, changes: &[Change]) -> Result<(), Error> {
    for set in own(guard) {
        let in_set = |change: &&Change| {
            family_of(change.net()) == guard.family && change.net().is_single() != set.1
        };
        let mut changes = changes.iter().filter(in_set).peekable();
        if changes.peek().is_none() {
            continue;
        }
        let mut open = Set::open(set);
        for change in changes {
            for net in halves(change.net()) {
                match change {
                    Change::Add { timeout_s, .. } => open.add(net, *timeout_s)?,
                    Change::Delete { .. } => open.delete(net)?,
                }
            }
        }
    }
    Ok(())
}

/// True if the sets are there and hold all of these.
fn holds(guard: &IpsetGuard, nets: &[Cidr]) -> Result<bool, Error> {
    for set in own(guard) {
        let in_set = |net: &&Cidr| family_of(**net) == guard.family && net.is_single() != set.1;
        let mut asked = nets.iter().filter(in_set).peekable();
        if asked.peek().is_none() {
            // To ask for the header alone is `list`, so this question is for netlink.
            return Ok(false);
        }
        for net in asked.flat_map(|net| halves(*net)) {
            if !Set::open(set).test(net)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
