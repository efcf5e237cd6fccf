//! Who of the administrators is logged in from where: an address that must not be banned, since
//! the ban would shut out whoever could lift it.
//!
//! Two books are kept of that on Linux: utmp, and the sessions of systemd-logind, which newer systems have
//! instead. A BSD is asked by its who(1). An administrator is uid 0, or a member of `sudo`, `wheel` or
//! `admin`.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{
    jail::Session,
    net::{parse_address, plain},
};

/// Groups whose members may do everything.
const ADMIN_GROUPS: &[&str] = &["sudo", "wheel", "admin"];
/// utmp is read in the layout that Linux gives to it. Each BSD has another, and reading one for the
/// other would find logins that are none: there, utmp is left alone.
const READS_UTMP: bool = cfg!(target_os = "linux");
/// utmp, under its old name and its new one.
const UTMP: &[&str] = &["run/utmp", "var/run/utmp"];
/// A file a session.
const LOGIND: &str = "run/systemd/sessions";
/// No machine has as many logins, and no book is read beyond this.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Who may do everything, as it was last read: a look is taken before bans, and must be short.
#[derive(Debug)]
pub struct Admins {
    /// `/`, but in tests.
    root: PathBuf,
    /// Names and numbers.
    known: HashSet<String>,
    /// What their files looked like then.
    read: Option<[Stamp; 2]>,
}

/// Time of the last change, its nanoseconds, size, and number of a file; none if it is not there.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Admins {
    /// Nobody yet; files are looked for below `root`.
    pub fn new(root: &Path) -> Admins {
        Admins { root: root.to_owned(), known: HashSet::new(), read: None }
    }

    /// Their logins now.
    pub fn sessions(&mut self) -> BTreeSet<Session> {
        let mut found = BTreeSet::new();
        for path in UTMP.iter().filter(|_| READS_UTMP) {
            if let Some(bytes) = read(&self.root.join(path)) {
                found.extend(utmp(&bytes, self.known()));
            }
        }
        for entry in fs::read_dir(self.root.join(LOGIND)).into_iter().flatten().flatten() {
            // NAME.ref is a pipe, and would hang whoever reads it.
            if entry.file_type().is_ok_and(|kind| kind.is_file())
                && let Some(bytes) = read(&entry.path())
            {
                found.extend(logind(&String::from_utf8_lossy(&bytes), self.known()));
            }
        }
        #[cfg(not(target_os = "linux"))]
        if self.root == Path::new("/")
            && let Some(text) = super::ground::ask(&["who"])
        {
            found.extend(who(&text, self.known()));
        }
        found
    }

    /// Their names and numbers, as the files say now.
    fn known(&mut self) -> &HashSet<String> {
        let stamp = ["etc/passwd", "etc/group"].map(|path| {
            let meta = fs::metadata(self.root.join(path)).ok()?;
            Some((meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino()))
        });
        if self.read != Some(stamp) {
            self.known = admins(&self.root);
            self.read = Some(stamp);
        }
        &self.known
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let size = fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
    if size > FILE_BYTES_MAX {
        return None;
    }
    fs::read(path).ok()
}

/// Names and numbers of all administrators.
fn admins(root: &Path) -> HashSet<String> {
    let text = |name: &str| {
        let bytes = read(&root.join("etc").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (passwd, group) = (text("passwd"), text("group"));
    let mut admins: HashSet<String> = ["root", "0"].map(str::to_owned).into();
    let mut admin_gids = HashSet::new();
    for line in group.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, gid, members] = fields[..]
            && ADMIN_GROUPS.contains(&name)
        {
            admin_gids.insert(gid);
            admins.extend(members.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [name, _, uid, gid, ..] = fields[..]
            && (uid == "0" || admin_gids.contains(gid) || admins.contains(name))
        {
            admins.extend([name.to_owned(), uid.to_owned()]);
        }
    }
    admins
}

/// Bytes of one record of Linux's utmp on 64-bit and most other machines.
const UTMP_RECORD_BYTES: usize = 384;
/// `USER_PROCESS`.
const UTMP_LOGIN: [u8; 2] = 7_i16.to_ne_bytes();

fn utmp(bytes: &[u8], admins: &HashSet<String>) -> Vec<Session> {
    let mut found = Vec::new();
    for record in bytes.chunks_exact(UTMP_RECORD_BYTES) {
        let text = |from: usize, length: usize| {
            let field = record.get(from..from + length).unwrap_or_default();
            let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
            String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
        };
        let user = text(44, 32);
        if record.get(..2) != Some(&UTMP_LOGIN) || !admins.contains(&user) {
            continue;
        }
        let address: Option<[u8; 16]> =
            record.get(348..364).and_then(|bytes| bytes.try_into().ok());
        let address = match address {
            Some([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) if [a, b, c, d] != [0; 4] => {
                Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
            }
            Some(all) if all != [0; 16] => Some(plain(IpAddr::V6(Ipv6Addr::from(all)))),
            // Not every login writes it as a number.
            _ => address_of_host(&text(76, 256)),
        };
        found.extend(address.map(|address| Session { address, user: user.into() }));
    }
    found
}

fn logind(text: &str, admins: &HashSet<String>) -> Option<Session> {
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let mut names = [field("USER"), field("UID")].into_iter().flatten();
    let user = names.clone().next()?.into();
    if !names.any(|who| admins.contains(who)) || field("STATE") == Some("closing") {
        return None;
    }
    Some(Session { address: address_of_host(field("REMOTE_HOST")?)?, user })
}

/// `ann              pts/0        Nov 21 10:00 (192.0.2.9)`
#[cfg(any(test, not(target_os = "linux")))]
fn who(text: &str, admins: &HashSet<String>) -> Vec<Session> {
    let row = |line: &str| {
        let user = line.split_whitespace().next().filter(|user| admins.contains(*user))?;
        let host = line.trim_end().strip_suffix(')')?.rsplit_once('(')?.1;
        Some(Session { address: address_of_host(host)?, user: user.into() })
    };
    text.lines().filter_map(row).collect()
}

/// `2001:db8::1%eth0`, or an address as it stands; names are nobody's word to trust.
fn address_of_host(host: &str) -> Option<IpAddr> {
    parse_address(host.split('%').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &str, kind: i16, host: &str, address: [u8; 16]) -> Vec<u8> {
        let mut record = vec![0; UTMP_RECORD_BYTES];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record[76..76 + host.len()].copy_from_slice(host.as_bytes());
        record[348..364].copy_from_slice(&address);
        record
    }

    #[test]
    fn administrators_are_found_in_what_who_prints() {
        let text = "\
root             ttyv0        Nov 21 09:00
ann              pts/0        Nov 21 10:00 (192.0.2.9)
ann              pts/1        Nov 21 10:00 (2001:db8::7)
ann              pts/2        Nov 21 10:00 (tmux(4711).%0)
ann              pts/3        Nov 21 10:00 (gate.example.org)
bob              pts/4        Nov 21 10:00 (192.0.2.10)
root             pts/5        Nov 21 10:00 (fe80::1%em0)
";
        let admins = ["root", "ann"].map(str::to_owned).into();
        let found: Vec<String> =
            who(text, &admins).iter().map(|one| format!("{} {}", one.user, one.address)).collect();
        assert_eq!(found, ["ann 192.0.2.9", "ann 2001:db8::7", "root fe80::1"]);
    }

    #[test]
    fn administrators_are_found_in_both_books() {
        let root = std::env::temp_dir().join(format!("sentryban-sessions-{}", std::process::id()));
        for dir in ["etc", "run/systemd/sessions"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:\nbob:x:1001:1001::/:\ncid:x:1002:27::/:\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "sudo:x:27:ann\nusers:x:100:bob\n").unwrap();
        let mut four = [0; 16];
        four[..4].copy_from_slice(&[192, 0, 2, 1]);
        let six: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let book = [
            record("root", 7, "192.0.2.1", four),
            record("ann", 7, "2001:db8::7", six.octets()),
            record("bob", 7, "192.0.2.9", [0; 16]),
            record("cid", 7, "192.0.2.3", [0; 16]),
            record("root", 8, "192.0.2.8", [0; 16]),
        ];
        fs::write(root.join("run/utmp"), book.concat()).unwrap();
        let sessions = root.join("run/systemd/sessions");
        fs::write(sessions.join("1"), "UID=1000\nUSER=ann\nREMOTE=1\nREMOTE_HOST=192.0.2.20\n")
            .unwrap();
        fs::write(sessions.join("2"), "UID=1001\nUSER=bob\nREMOTE_HOST=192.0.2.21\n").unwrap();
        fs::write(sessions.join("3"), "UID=0\nSTATE=closing\nREMOTE_HOST=192.0.2.22\n").unwrap();
        let mut admins = Admins::new(&root);
        let mut found = || -> Vec<String> {
            let found = admins.sessions();
            found.iter().map(|one| format!("{} {}", one.user, one.address)).collect()
        };
        let mut expected =
            vec!["root 192.0.2.1", "cid 192.0.2.3", "ann 192.0.2.20", "ann 2001:db8::7"];
        // A book in another layout is not read at all.
        expected.retain(|one| READS_UTMP || one.ends_with(".20"));
        assert_eq!(found(), expected);
        // Whoever becomes one is one from then on.
        fs::write(root.join("etc/group"), "sudo:x:27:ann,bob\nusers:x:100:bob\n").unwrap();
        assert!(found().contains(&"bob 192.0.2.21".to_owned()));
        fs::remove_dir_all(&root).unwrap();
    }
}
