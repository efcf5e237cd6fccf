//! Importing: databases that fail2ban itself wrote, and files of portsentry as they lie on disks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use common::{Dir, answer, fail2ban_root, has_python, missing, python};
use rusqlite::Connection;
use sentryban::{
    store::import::{ImportError, Imported, ImportedBan, Kind, UNREAD_MAX, import},
    ticket::{BanTime, Id},
    time::Timestamp,
};

const NOW: i64 = 1_700_000_000;

fn read(path: &Path) -> Result<Imported, ImportError> {
    import(path, Timestamp::from_secs(NOW))
}

/// The bans by jail and id; of several the newest.
fn by_id(imported: &Imported) -> BTreeMap<(String, String), &ImportedBan> {
    let key = |ban: &ImportedBan| (ban.jail.clone().unwrap_or_default(), ban.id.to_string());
    imported.bans.iter().map(|ban| (key(ban), ban)).collect()
}

fn names(dir: &Dir) -> Vec<String> {
    let files = fs::read_dir(dir.path()).unwrap().flatten();
    let mut names: Vec<String> =
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Has fail2ban's own modules write a database: bans, one of them lifted again.
const WRITER: &str = r#"
import sys
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.jail import Jail
from fail2ban.server.ticket import BanTicket

path, now = sys.argv[1], int(sys.argv[2])
db = Fail2BanDb(path)
jails = {}
for name in ("sshd", "recidive"):
    jails[name] = Jail(name, backend="polling")
    jails[name].database = db
    db.addJail(jails[name])

def ban(jail, ip, at, time, count, matches, **data):
    ticket = BanTicket(ip, at, matches)
    ticket.setBanTime(time)
    ticket.setBanCount(count)
    ticket.setAttempt(7)
    for name, value in data.items():
        ticket.setData(name, value)
    db.addBan(jails[jail], ticket)

ban("sshd", "192.0.2.1", now - 100, 600, 1, ["Nov 20 line one", ("Nov 20 ", "10:00:00", " host two \u00e4")], user="root")
ban("sshd", "192.0.2.2", now - 5000, 600, 1, ["lapsed"])
ban("sshd", "2001:db8::1", now - 90000, 2592000, 3, ["month"])
ban("recidive", "192.0.2.1", now - 90000, -1, 1, ["for good"])
ban("sshd", "192.0.2.4", now - 9000, 600, 1, ["first"])
ban("sshd", "192.0.2.4", now - 200, 1200, 2, ["second"])
ban("sshd", "192.0.2.5", now - 100, 600, 1, ["lifted"])
ban("sshd", "bob", now - 100, 600, 1, ["an id that is no address"])
db.delBan(jails["sshd"], "192.0.2.5")
print("written")
sys.stdout.flush()
if len(sys.argv) > 3:
    sys.stdin.readline()
db.close()
"#;

#[test]
fn a_database_that_fail2ban_wrote_is_read_whole() {
    let (Some(root), true) = (fail2ban_root(), has_python()) else { return missing("fail2ban") };
    let dir = Dir::new("import");
    let path = dir.path().join("anything");
    let mut command = python(&root);
    command.args(["-c", WRITER]).arg(&path).arg(NOW.to_string());
    assert!(answer(command, "").contains("written"));
    let before = (fs::read(&path).unwrap(), names(&dir));

    let imported = read(&path).unwrap();
    assert_eq!(imported.kind, Kind::Fail2ban(4));
    assert_eq!((imported.unread_count, &imported.unread[..]), (0, &[][..]));
    assert_eq!((fs::read(&path).unwrap(), names(&dir)), before, "the file is only read");

    let bans = by_id(&imported);
    let of = |jail: &str, id: &str| bans[&(jail.to_owned(), id.to_owned())];
    let rows = [
        ("sshd", "192.0.2.1", -100, Some(600), 1, true),
        ("sshd", "192.0.2.2", -5000, Some(600), 1, false),
        ("sshd", "2001:db8::1", -90000, Some(2_592_000), 3, true),
        ("recidive", "192.0.2.1", -90000, None, 1, true),
        ("sshd", "192.0.2.4", -200, Some(1200), 2, true),
        ("sshd", "bob", -100, Some(600), 1, true),
    ];
    for (jail, id, from, seconds, count, current) in rows {
        let ban = of(jail, id);
        let time = seconds.map_or(BanTime::Permanent, BanTime::Seconds);
        assert_eq!(ban.from, Some(Timestamp::from_secs(NOW + from)), "{jail} {id}");
        assert_eq!((ban.time, ban.count), (Some(time), count), "{jail} {id}");
        assert_eq!(ban.current, current, "{jail} {id}");
        assert_eq!(ban.failures, 7);
    }
    assert!(!bans.contains_key(&("sshd".to_owned(), "192.0.2.5".to_owned())));
    assert_eq!(imported.bans.len(), 7, "with the first ban of 192.0.2.4");
    let evidence = &of("sshd", "192.0.2.1").evidence;
    assert_eq!(evidence.lines, ["Nov 20 line one".into(), "Nov 20 10:00:00 host two ä".into()]);
    assert!(evidence.fields.contains(&("user".into(), "root".into())), "{:?}", evidence.fields);
    assert_eq!(of("sshd", "bob").id, Id::Text("bob".into()));
}

#[test]
fn a_database_at_work_is_read_and_left_alone() {
    let (Some(root), true) = (fail2ban_root(), has_python()) else { return missing("fail2ban") };
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
    };
    let dir = Dir::new("import");
    let path = dir.path().join("db");
    let mut command = python(&root);
    command.args(["-c", WRITER]).arg(&path).arg(NOW.to_string()).arg("wait");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "written");
    let before = (fs::read(&path).unwrap(), names(&dir));
    let imported = read(&path).unwrap();
    assert_eq!((imported.bans.len(), imported.unread_count), (7, 0));
    assert_eq!((fs::read(&path).unwrap(), names(&dir)), before);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "and it goes on");
}

fn database(dir: &Dir, sql: &str) -> std::path::PathBuf {
    let path = dir.path().join("db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    path
}

#[test]
fn older_versions_are_read_as_far_as_they_go() {
    let dir = Dir::new("import");
    let head = "CREATE TABLE fail2banDb(version INTEGER); \
                CREATE TABLE jails(name TEXT NOT NULL UNIQUE, enabled INTEGER);";
    // 1 and 2: neither lengths nor counts.
    let path = database(
        &dir,
        &format!(
            "{head} INSERT INTO fail2banDb VALUES (1); \
             CREATE TABLE bans(jail TEXT NOT NULL, ip TEXT, timeofban INTEGER, data JSON); \
             INSERT INTO bans VALUES ('ssh', '192.0.2.1', 1000, '{{\"matches\": [\"a\"], \"failures\": 3}}'), \
             ('ssh', '192.0.2.1', 2000, NULL), ('ssh', NULL, 2000, NULL);"
        ),
    );
    let imported = read(&path).unwrap();
    assert_eq!(imported.kind, Kind::Fail2ban(1));
    assert_eq!(imported.unread, [(3, "bans: no id, no jail or no time".to_owned())]);
    let [first, last] = &imported.bans[..] else { panic!("{imported:?}") };
    assert_eq!((first.current, first.time, first.failures), (false, None, 3));
    assert_eq!(first.evidence.lines, ["a".into()]);
    assert_eq!((last.current, last.time, last.failures), (true, None, 1));
    fs::remove_file(&path).unwrap();

    // 3: both, but still no table of current bans. Times may be fractions, data may be rubbish.
    let path = database(
        &dir,
        &format!(
            "{head} INSERT INTO fail2banDb VALUES (3); \
             CREATE TABLE bans(jail TEXT, ip TEXT, timeofban INTEGER, bantime INTEGER, \
             bancount INTEGER, data JSON); \
             INSERT INTO bans VALUES ('ssh', '192.0.2.1', 1699999990.7, 60, 4, 'rubbish'), \
             ('ssh', '192.0.2.2', 1699999990, -2, 1, x'7b226d617463686573223a5b5b2261222c2262225d5d7d'), \
             ('ssh', '', 1, 1, 1, NULL), ('ssh', '192.0.2.3', -5, 1, 1, NULL);"
        ),
    );
    let imported = read(&path).unwrap();
    assert_eq!((imported.kind, imported.unread_count), (Kind::Fail2ban(3), 2));
    let bans = by_id(&imported);
    let one = bans[&("ssh".to_owned(), "192.0.2.1".to_owned())];
    assert_eq!((one.current, one.time, one.count), (true, Some(BanTime::Seconds(60)), 4));
    let two = bans[&("ssh".to_owned(), "192.0.2.2".to_owned())];
    assert_eq!((two.current, two.time), (true, None));
    assert_eq!(two.evidence.lines, ["ab".into()]);
}

#[test]
fn a_history_of_portsentry_1_is_read() {
    let dir = Dir::new("import");
    let path = dir.file(
        "whatever",
        "1795167912 - 11/20/2026 09:45:12 Host: 10.77.0.1/10.77.0.1 Port: 2001 TCP Blocked\n\
         \n\
         1795167914 - 11/20/2026 09:45:14 Host: scan.example/192.0.2.9 Port: 7 UDP Blocked\r\n\
         half a line\n\
         1795167915 - 11/20/2026 09:45:15 Host: 10.77.0.1/10.77.0.1 Port: 2001 TCP Blocked",
    );
    let imported = read(&path).unwrap();
    assert_eq!(imported.kind, Kind::Portsentry1);
    assert_eq!(imported.unread, [(4, "no line of portsentry".to_owned())]);
    let [scan, host] = &imported.bans[..] else { panic!("{imported:?}") };
    assert_eq!(scan.id, Id::parse("192.0.2.9"));
    assert_eq!((host.id.clone(), host.failures), (Id::parse("10.77.0.1"), 2));
    assert_eq!(host.from, Some(Timestamp::from_secs(1_795_167_915)));
    assert_eq!((&host.jail, host.time, host.current), (&None, None, true));
}

#[test]
fn a_history_and_a_blocked_file_of_portsentry_2_are_read() {
    let dir = Dir::new("import");
    let line = |address: &str, blocked: &str| {
        format!(
            "2026-11-20T09:32:56.038+0000 Scan from: [{address}] (x) protocol: [TCP] port: [7] \
             type: [TCP SYN/Normal scan] IP opts: [not set] ignored: [false] triggered: [true] \
             noblock: [false] blocked: [{blocked}]\n"
        )
    };
    let text =
        line("192.0.2.1", "false") + &line("192.0.2.1", "true") + &line("2001:db8::1", "true");
    let imported = read(&dir.file("history", text)).unwrap();
    assert_eq!((imported.kind, imported.unread_count), (Kind::Portsentry2, 0));
    let ids: Vec<String> = imported.bans.iter().map(|ban| ban.id.to_string()).collect();
    assert_eq!(ids, ["192.0.2.1", "2001:db8::1"]);

    let mut bytes = Vec::new();
    for _ in 0..2 {
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend([10, 77, 0, 1]);
    }
    bytes.extend(10_u16.to_ne_bytes());
    bytes.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    let imported = read(&dir.file("blocked", &bytes)).unwrap();
    assert_eq!(imported.kind, Kind::Portsentry2Blocked);
    let ids: Vec<String> = imported.bans.iter().map(|ban| ban.id.to_string()).collect();
    assert_eq!(ids, ["10.77.0.1", "2001:db8::7"]);
    assert!(read(&dir.file("cut", &bytes[..bytes.len() - 1])).is_err());
}

#[test]
fn an_emptied_blocked_file_holds_nobody() {
    let dir = Dir::new("import");
    let imported = read(&dir.file("portsentry.blocked.atcp", "")).unwrap();
    assert!(imported.bans.is_empty());
}

#[test]
fn everything_else_is_refused_with_a_reason() {
    let dir = Dir::new("import");
    let own = dir.path().join("own");
    let location = sentryban::store::Location::File(own.clone());
    sentryban::store::Store::open(&location, Default::default(), Timestamp::from_secs(0)).unwrap();
    let other = dir.path().join("other");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE x(y)").unwrap();
    let log = "Nov 20 09:45:12 vm portsentry[1]: attackalert: Connect from host: a/192.0.2.1 to TCP \
               port: 7\n";
    let rows = [
        (own, "sentryban's own database"),
        (other, "another program"),
        (dir.file("empty", ""), "is empty"),
        (dir.file("log", log), "let a jail read it"),
        (dir.file("text", "hello\nworld\n"), "no line of it"),
        (dir.file("gz", b"\x1f\x8b\x08\0"), "compressed"),
        (dir.file("binary", b"\x7fELF\0\0\0"), "binary file"),
        (dir.path().to_owned(), "no regular file"),
    ];
    for (path, expected) in rows {
        let error = read(&path).unwrap_err();
        assert!(matches!(error, ImportError::Unknown { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("fail2ban.sqlite3"), "{text}");
    }
    let error = read(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(matches!(error, ImportError::Unreadable { .. }), "{error:?}");
    let torn = dir.file("torn", b"SQLite format 3\0 and nothing more");
    assert!(matches!(read(&torn), Err(ImportError::Unreadable { .. })));
}

#[test]
fn a_file_of_rubbish_lines_is_counted_and_not_kept() {
    let dir = Dir::new("import");
    let mut text = "7 - 1/1/2026 0:0:0 Host: a/192.0.2.1 Port: 7 TCP Blocked\n".to_owned();
    text += &"rubbish\n".repeat(5000);
    text += &"x".repeat(1 << 20);
    text += "\n7 - 1/1/2026 0:0:0 Host: a/192.0.2.2 Port: 7 TCP Blocked\n";
    let imported = read(&dir.file("history", text)).unwrap();
    assert_eq!(imported.bans.len(), 2);
    assert_eq!((imported.unread_count, imported.unread.len()), (5001, UNREAD_MAX));
}
