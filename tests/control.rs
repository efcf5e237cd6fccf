//! The control socket and what travels over it, hostile clients included.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/paper.rs"]
mod paper;

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::mpsc::channel,
    time::Duration,
};

use common::Dir;
use paper::{Paper, PaperJail, PaperServer};
use proptest::prelude::*;
use sentryban::control::{
    Answer, Change, Refusal, Reply, Request,
    commands::{Arg, COMMANDS, Task, candidates, parse},
    socket::{CLIENTS_MAX, Connection, Door, ListenError, OpenError, REQUEST_MAX, listen},
};

const SOON: Duration = Duration::from_secs(20);

fn connect(socket: &Path) -> Connection {
    Connection::open(socket, SOON).unwrap()
}

fn is_pong(reply: &Reply) -> bool {
    *reply == Reply::Ok(Answer::Text("pong".to_owned()))
}

// ---- the protocol ------------------------------------------------------------------------------

/// Words that some command could be.
fn words() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        Just("sshd".to_owned()),
        Just("192.0.2.1".to_owned()),
        Just("7".to_owned()),
        Just("on".to_owned()),
        "[-a-z0-9 \"\\\\\u{0}-\u{1f}é\u{202e}]{0,12}",
    ];
    (0..COMMANDS.len(), prop::collection::vec(value, 12), 0..4_usize, any::<bool>()).prop_map(
        |(at, values, more, switched)| {
            let command = &COMMANDS[at];
            let mut values = values.into_iter();
            let mut words: Vec<String> = command
                .words
                .iter()
                .map(|word| match word.chars().all(|c| c.is_ascii_uppercase()) {
                    true => values.next().unwrap(),
                    false => (*word).to_owned(),
                })
                .collect();
            words.extend(command.switches.iter().filter(|_| switched).map(|s| (*s).to_owned()));
            for arg in command.args {
                let count = match arg {
                    Arg::One(_) => 1,
                    Arg::Maybe(_) => more.min(1),
                    Arg::Many(_) => more.max(1),
                    Arg::Any(_) => more,
                };
                words.extend(values.by_ref().take(count));
            }
            words
        },
    )
}

proptest! {
    #[test]
    fn a_request_travels_in_one_line_and_comes_out_as_it_went_in(words in words()) {
        if let Ok(Task::Ask { request, .. }) = parse(&words) {
            let line = request.line();
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(line.last(), Some(&b'\n'));
            prop_assert_eq!(Request::read(&line[..line.len() - 1]), Ok(request));
        }
    }

    #[test]
    fn any_words_are_a_command_or_a_misuse(words in prop::collection::vec(".{0,8}", 0..6)) {
        if let Err(misuse) = parse(&words) {
            prop_assert!(!misuse.text.is_empty());
        }
        let _ = candidates(&words, Vec::new);
    }

    #[test]
    fn garbage_is_refused_and_nothing_more(line in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(refusal) = Request::read(&line) {
            prop_assert!(matches!(refusal, Refusal::Invalid(_)), "{}", refusal);
        }
        let _ = Reply::read(&line);
    }

    #[test]
    fn what_a_line_is_cut_to_is_refused(words in words(), cut in any::<prop::sample::Index>()) {
        if let Ok(Task::Ask { request, .. }) = parse(&words) {
            let line = request.line();
            let cut = cut.index(line.len() - 1);
            prop_assert!(Request::read(&line[..cut]).is_err());
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let line = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        assert!(matches!(Request::read(line.as_bytes()), Err(Refusal::Invalid(_))));
        assert!(Reply::read(line.as_bytes()).is_err());
    }
}

#[test]
fn a_reply_that_is_too_long_says_so() {
    let reply = Reply::Ok(Answer::List(vec!["x".repeat(100); 100]));
    let line = reply.line(1000);
    assert!(line.len() < 1000);
    let text = String::from_utf8(line).unwrap();
    assert!(text.contains("ask for less"), "{text}");
}

// ---- the socket --------------------------------------------------------------------------------

#[test]
fn the_socket_is_made_for_its_owner_alone_and_goes_with_the_server() {
    let dir = Dir::new("control");
    let socket = dir.path().join("run/deep/s.sock");
    let mut server = PaperServer::start(&socket, Paper::default());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o755);
    assert!(is_pong(&connect(&socket).ask(&Request::Ping, SOON).unwrap()));
    server.close();
    assert!(!socket.exists());
    let error = Connection::open(&socket, SOON).unwrap_err();
    assert!(matches!(error, OpenError::Missing(_)), "{error}");
}

fn try_listen(socket: &Path) -> Result<PaperServer, ListenError> {
    PaperServer::open(Door { path: socket.to_owned(), group: None }, Paper::default())
}

#[test]
fn a_dead_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let error = Connection::open(&socket, SOON).unwrap_err();
    assert!(matches!(error, OpenError::Silent(_)), "{error}");
    let server = try_listen(&socket).unwrap();
    assert!(is_pong(&connect(&socket).ask(&Request::Ping, SOON).unwrap()));
    assert!(matches!(try_listen(&socket), Err(ListenError::InUse(_))));
    // Even one that has lost its socket file keeps its place.
    fs::remove_file(&socket).unwrap();
    assert!(matches!(try_listen(&socket), Err(ListenError::InUse(_))));
    drop(server);
    // A server of another make, without our lock.
    let other = UnixListener::bind(&socket).unwrap();
    assert!(matches!(try_listen(&socket), Err(ListenError::InUse(_))));
    drop(other);
    assert!(try_listen(&socket).is_ok());
}

#[test]
fn what_is_no_socket_stays() {
    let dir = Dir::new("control");
    let file = dir.file("file", "precious");
    assert!(matches!(try_listen(&file), Err(ListenError::Unsafe(..))));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(matches!(try_listen(&link), Err(ListenError::Unsafe(..))));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    // A link where the lock would be made.
    let socket = dir.path().join("s.sock");
    std::os::unix::fs::symlink(&file, dir.path().join("s.sock.lock")).unwrap();
    assert!(try_listen(&socket).is_err());
    assert!(!socket.exists());
    // A folder in which everybody may replace files.
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let error = try_listen(&open.join("s.sock")).err().unwrap();
    assert!(error.to_string().contains("chmod o-w"), "{error}");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(try_listen(&open.join("s.sock")).is_ok());
    let missing = dir.path().join("file/s.sock");
    assert!(try_listen(&missing).is_err());
}

#[test]
fn a_server_that_ends_leaves_another_ones_socket_alone() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let mut server = PaperServer::start(&socket, Paper::default());
    fs::remove_file(&socket).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    server.close();
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    drop(other);
}

/// Sends bytes and gives what comes back until the server closes.
fn sent(socket: &Path, bytes: &[u8], then_close: bool) -> Vec<Reply> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // A server that has enough may close before it has read all.
    let _ = stream.write_all(bytes);
    if then_close {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Reply::read(line).unwrap())
        .collect()
}

#[test]
fn hostile_clients_are_refused_and_the_others_served() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let _server = PaperServer::start(&socket, Paper::default());
    let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut half = UnixStream::connect(&socket).unwrap();
    half.write_all(b"\"pi").unwrap();
    for garbage in [&b"\n"[..], b"hello\n", b"{\"ping\n", b"\xff\xfe\0\n", b"\"restart-now\"\n"] {
        let replies = sent(&socket, garbage, false);
        assert!(matches!(replies.as_slice(), [Reply::Error(Refusal::Invalid(_))]), "{replies:?}");
    }
    assert_eq!(sent(&socket, b"\"ping\"", true), [], "half a line is no request");
    assert_eq!(sent(&socket, b"", true), []);
    let long = vec![b'x'; REQUEST_MAX + 100_000];
    match sent(&socket, &long, false).as_slice() {
        // What was sent is thrown away with the connection, and the refusal may go with it.
        [] => {}
        [Reply::Error(Refusal::Invalid(text))] => assert!(text.contains("bytes"), "{text}"),
        other => panic!("{other:?}"),
    }
    let two = sent(&socket, b"\"ping\"\n\"ping\"\n", true);
    assert!(two.len() == 2 && two.iter().all(is_pong), "{two:?}");
    half.write_all(b"ng\"\n").unwrap();
    let mut answer = [0; 5];
    half.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"{\"ok\"");
    drop(silent);
}

#[test]
fn more_clients_than_there_is_room_for_are_told_so() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let _server = PaperServer::start(&socket, Paper::default());
    let mut served: Vec<Connection> = (0..CLIENTS_MAX).map(|_| connect(&socket)).collect();
    for client in &mut served {
        assert!(is_pong(&client.ask(&Request::Ping, SOON).unwrap()));
    }
    let refused = connect(&socket).ask(&Request::Ping, SOON).unwrap();
    assert!(matches!(&refused, Reply::Error(Refusal::Failed(text)) if text.contains("too many")));
    drop(served);
    // Their threads end on their own time.
    let served = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        connect(&socket).ask(&Request::Ping, SOON).is_ok_and(|reply| is_pong(&reply))
    });
    assert!(served);
}

#[test]
fn many_clients_at_once_get_their_own_answers() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let _server = PaperServer::start(&socket, Paper::default());
    std::thread::scope(|scope| {
        for number in 0..16 {
            let socket = &socket;
            scope.spawn(move || {
                let mut server = connect(socket);
                for turn in 0..50 {
                    let words = vec![format!("{number}-{turn}"), "x".repeat(turn * 400)];
                    let reply = server.ask(&Request::Echo(words.clone()), SOON).unwrap();
                    assert_eq!(reply, Reply::Ok(Answer::List(words)));
                }
            });
        }
    });
}

#[test]
fn a_reply_may_come_late_or_not_at_all() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let (inbox, asked) = channel();
    let door = Door { path: socket.clone(), group: None };
    let listener = listen(door, move |asked| inbox.send(asked).is_ok()).unwrap();
    let client = std::thread::spawn({
        let socket = socket.clone();
        move || [(); 2].map(|()| connect(&socket).ask(&Request::Ping, SOON).unwrap())
    });
    let first = asked.recv().unwrap();
    assert!(first.peer.may_order && first.peer.pid.is_some());
    first.reply_to.send(Reply::Ok(Answer::Text("pong".to_owned())));
    drop(asked.recv().unwrap().reply_to);
    let [late, never] = client.join().unwrap();
    assert!(is_pong(&late));
    assert!(matches!(&never, Reply::Error(Refusal::Failed(text)) if text.contains("no answer")));
    drop(asked);
    let gone = connect(&socket).ask(&Request::Ping, SOON).unwrap();
    assert!(matches!(&gone, Reply::Error(Refusal::Failed(text)) if text.contains("about to end")));
    drop(listener);
}

#[test]
fn a_client_that_goes_before_its_answer_harms_nobody() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let mut paper = Paper::default();
    let mut jail = PaperJail::bare("sshd");
    jail.bans = (0..20_000)
        .map(|number: u32| sentryban::control::BanRow {
            id: std::net::Ipv4Addr::from(0xc000_0200 + number).to_string(),
            from: 0,
            bantime: -1,
            count: 1,
        })
        .collect();
    paper.jails.push(jail);
    let _server = PaperServer::start(&socket, paper);
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(&Request::Banned(Vec::new()).line()).unwrap();
    }
    let reply = connect(&socket).ask(&Request::Banned(Vec::new()), SOON).unwrap();
    match reply {
        Reply::Ok(Answer::Banned(jails)) => assert_eq!(jails[0].ids.len(), 20_000),
        other => panic!("{other:?}"),
    }
}

// ---- who may do what ---------------------------------------------------------------------------

/// Neither root nor anybody in particular.
const NOBODY: u32 = 65_534;

/// The client in a folder that everybody may enter.
fn public_client(dir: &Dir) -> PathBuf {
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let client = dir.path().join("sentryban-client");
    fs::copy(env!("CARGO_BIN_EXE_sentryban-client"), &client).unwrap();
    client
}

fn as_nobody(client: &Path, group: u32, words: &[&str]) -> Output {
    Command::new(client).args(words).uid(NOBODY).gid(group).output().unwrap()
}

#[test]
fn members_of_the_group_may_ask_but_not_order_and_others_nothing() {
    let dir = Dir::new("control");
    if fs::metadata(dir.path()).unwrap().uid() != 0 {
        return common::skip("this test needs root");
    }
    let group = 54_321;
    let client = public_client(&dir);
    let socket = dir.path().join("s.sock");
    let mut paper = Paper::default();
    paper.jails.push(PaperJail::bare("sshd"));
    let door = Door { path: socket.clone(), group: Some(group) };
    let server = PaperServer::open(door, paper).unwrap();
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o7777, 0o660);
    let path = socket.to_str().unwrap();
    let member = |words: &[&str]| as_nobody(&client, group, &[&["-s", path], words].concat());
    let ping = member(&["ping"]);
    assert_eq!(String::from_utf8_lossy(&ping.stdout), "Server replied: pong\n");
    assert_eq!(member(&["status", "sshd"]).status.code(), Some(0));
    let orders: [&[&str]; 5] = [
        &["set", "sshd", "banip", "192.0.2.1"],
        &["unban", "--all"],
        &["stop"],
        &["reload"],
        &["set", "loglevel", "DEBUG"],
    ];
    for order in orders {
        let told = member(order);
        assert_eq!(told.status.code(), Some(255), "{order:?}");
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(text.contains("may ask, but not order"), "{text}");
    }
    assert_eq!(server.state().orders, [""; 0]);
    let stranger = as_nobody(&client, NOBODY, &["-s", path, "ping"]);
    assert_eq!(stranger.status.code(), Some(255));
    let text = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(text.contains("be root"), "{text}");
}

#[test]
fn the_answer_to_an_order_is_the_setting_as_it_is_then() {
    let dir = Dir::new("control");
    let socket = dir.path().join("s.sock");
    let mut paper = Paper::default();
    paper.jails.push(PaperJail::bare("sshd"));
    let server = PaperServer::start(&socket, paper);
    let mut client = connect(&socket);
    let mut set = |change| {
        let request = Request::SetJail { jail: "sshd".to_owned(), change };
        client.ask(&request, SOON).unwrap()
    };
    let reply = set(Change::BanTime("1w".to_owned()));
    assert_eq!(reply, Reply::Ok(Answer::Number(604_800)));
    let reply = set(Change::BanTime("soon".to_owned()));
    assert!(matches!(&reply, Reply::Error(Refusal::Failed(text)) if text.contains("unknown unit")));
    assert_eq!(server.state().orders.len(), 1, "what is wrong never becomes an order");
}
