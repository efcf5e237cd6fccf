//! Fault: why netlink did not do what it was asked.

use std::{fmt, io};

use rustix::io::Errno;

use super::codec::Answer;

/// Which part of the kernel is spoken to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// nf_tables.
    Nft,
    /// ipset.
    Ipset,
    /// Addresses and routes.
    Route,
    /// Sockets of this host.
    Sockets,
    /// Connections that the kernel tracks.
    Conntrack,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Nft => "nf_tables",
            Part::Ipset => "ipset",
            Part::Route => "rtnetlink",
            Part::Sockets => "sock_diag",
            Part::Conntrack => "conntrack",
        })
    }
}

/// Why something was not done.
#[derive(Debug)]
pub enum Fault {
    /// This kernel or this namespace does not let us: the tools are worth a try, this is not.
    Unavailable {
        /// What is not there.
        part: Part,
        /// What the kernel said.
        why: String,
    },
    /// The kernel refused; nothing of that transaction is in force.
    Refused {
        /// What was asked, to be read behind "cannot".
        what: String,
        /// What the kernel answered.
        answer: Answer,
    },
    /// What should be there is not.
    Missing(String),
    /// The socket failed.
    Socket(io::Error),
    /// The kernel's answer did not come, or made no sense.
    NoAnswer,
}

impl Fault {
    /// The kernel's error number, if it gave one; beyond 4096 ipset's own.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Fault::Refused { answer, .. } => Some(answer.errno),
            Fault::Socket(error) => error.raw_os_error(),
            Fault::Unavailable { .. } | Fault::Missing(_) | Fault::NoAnswer => None,
        }
    }

    /// Why a part could not be reached: for good, or because something is short for now.
    pub(super) fn of_opening(part: Part, errno: Errno) -> Fault {
        match is_passing(errno.raw_os_error()) {
            true => errno.into(),
            false => Fault::Unavailable { part, why: errno.to_string() },
        }
    }

    /// True if the next try may do it.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Fault::NoAnswer) || self.errno().is_some_and(is_passing)
    }

    /// True if another way (the tools) should be taken from now on.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Fault::Unavailable { .. })
    }
}

/// Memory or descriptors are short, or somebody else was in the way.
fn is_passing(errno: i32) -> bool {
    const PASSING: [i32; 8] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EINTR,
        libc::EAGAIN,
        libc::EBUSY,
        libc::ERESTART,
    ];
    PASSING.contains(&errno)
}

/// The words of an error number: ipset's own ones, else the system's.
pub(super) fn words(errno: i32) -> String {
    let own = match errno {
        4097 => "the protocol of ipset does not fit this kernel",
        4098 => "the kernel does not know this type of set",
        4099 => "there are as many sets as the kernel allows",
        4100 => "the set is in use",
        4101 => "a set of that name exists",
        4102 => "the sets are of different types",
        4103 => "it is there already",
        4104 => "the prefix length is invalid",
        4106 => "it is of the wrong address family",
        4107 => "the set takes no timeouts",
        4108 => "the set is in use by a rule",
        4109 | 4110 => "the address is of the wrong family",
        4352 | libc::ENFILE => "the set is full",
        4353 => "the element is not in the set",
        _ => return io::Error::from_raw_os_error(errno).to_string(),
    };
    own.to_owned()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unavailable { part, why } => {
                write!(f, "{part} cannot be reached by netlink: {why}")
            }
            Fault::Refused { what, answer } => {
                write!(f, "cannot {what}: {}", words(answer.errno))?;
                match &answer.text {
                    Some(text) => write!(f, " ({text})"),
                    None => Ok(()),
                }
            }
            Fault::Missing(what) => write!(f, "{what} is missing"),
            Fault::Socket(error) => write!(f, "netlink socket: {error}"),
            Fault::NoAnswer => f.write_str("the kernel did not answer over netlink"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Fault {
        Fault::Socket(errno.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_for_now_closes_no_way() {
        let opening = |errno| Fault::of_opening(Part::Nft, errno);
        for errno in [Errno::MFILE, Errno::NOMEM, Errno::NOBUFS] {
            assert!(opening(errno).is_passing() && !opening(errno).is_unavailable(), "{errno}");
        }
        for errno in [Errno::PERM, Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT] {
            assert!(opening(errno).is_unavailable() && !opening(errno).is_passing(), "{errno}");
        }
        assert!(Fault::NoAnswer.is_passing());
    }
}
