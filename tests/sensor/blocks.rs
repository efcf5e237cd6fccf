//! portsentry's own ways to act: never called done before they are, and done again when undone.

use sentryban::{
    net::Cidr,
    sensor::{Block, Mode, Outcome, Proto, RecordFile, Settings, Shell, Step, blocks::RUNNING_MAX},
};

use crate::bench::{Bench, HOST, already, ip, syn_line};

const ROUTE: &str = "/sbin/iptables -I INPUT -s $TARGET$ -j DROP";

fn blocking() -> Settings {
    Settings {
        block_tcp: Block::All,
        kill_route: Some(ROUTE.to_owned()),
        kill_hosts_deny: Some("ALL: $TARGET$".to_owned()),
        ..Settings::default()
    }
}

fn route_only() -> Settings {
    Settings { kill_hosts_deny: None, ..blocking() }
}

fn done_route(host: &str) -> String {
    let command = ROUTE.replace("$TARGET$", host);
    format!(
        "attackalert: Host {host} has been blocked via dropped route using command: \"{command}\""
    )
}

#[test]
fn a_block_is_told_and_written_down_when_it_is_made() {
    let mut bench = Bench::new(blocking());
    bench.syn(HOST, 79);
    let effects = bench.effects();
    assert_eq!(effects.lines.len(), 1, "nothing is said of a command that runs");
    assert!(effects.records.is_empty());
    let [response] = effects.responses.as_slice() else { panic!("{effects:?}") };
    let script = ROUTE.replace("$TARGET$", HOST);
    let expected = [
        Step::Deny { path: "/etc/hosts.deny".to_owned(), line: format!("ALL: {HOST}") },
        Step::Route(Shell { script, timeout_s: 30 }),
    ];
    assert_eq!(response.steps, expected);
    bench.syn(HOST, 80);
    assert_eq!(bench.lines(), [syn_line(HOST, 80)], "nor is it run twice");
    bench.answer(response.id, &[Ok(()), Ok(())]);
    let effects = bench.effects();
    let lines: Vec<&str> = effects.lines.iter().map(|line| &*line.text).collect();
    let wrappers = format!(
        "attackalert: Host {HOST} has been blocked via wrappers with string: \"ALL: {HOST}\""
    );
    assert_eq!(lines, [wrappers, done_route(HOST)]);
    let files: Vec<RecordFile> = effects.records.iter().map(|record| record.file).collect();
    assert_eq!(files, [RecordFile::Blocked(Mode::Atcp), RecordFile::History]);
    bench.syn(HOST, 81);
    assert_eq!(bench.lines(), [syn_line(HOST, 81), already(HOST)]);
    // A host whose address only ends like a blocked one's is another host.
    bench.syn("110.77.0.1", 79);
    assert_eq!(bench.effects().responses.len(), 1);
}

#[test]
fn a_block_that_does_not_hold_is_made_anew_and_one_that_holds_is_not() {
    let mut bench = Bench::new(route_only());
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    assert!(!bench.sensor.wants_answers());
    bench.answer(id, &[Ok(())]);
    assert!(bench.sensor.wants_answers());
    bench.wait(4);
    bench.sensor.handle_answer(ip(HOST), bench.now);
    bench.syn(HOST, 79);
    assert!(bench.effects().responses.is_empty(), "an answer that was on its way");
    bench.wait(3600);
    bench.syn(HOST, 79);
    assert!(bench.effects().responses.is_empty(), "nobody was seen to answer: it holds");
    bench.sensor.handle_answer(ip(HOST), bench.now);
    assert!(!bench.sensor.wants_answers());
    bench.syn(HOST, 79);
    let effects = bench.effects();
    assert_eq!(effects.responses.len(), 1, "the set's timeout lapsed, say");
    bench.answer(effects.responses[0].id, &[Ok(())]);
    let effects = bench.effects();
    assert_eq!(effects.records.len(), 1, "the history tells of it again, the blocked file once");
    assert_eq!(effects.records[0].file, RecordFile::History);
}

#[test]
fn a_failure_is_told_with_its_reason_and_tried_again() {
    let mut bench = Bench::new(route_only());
    bench.syn(HOST, 79);
    let mut id = bench.effects().responses[0].id;
    for wait in [1, 2, 4, 8, 16, 32] {
        bench.answer(id, &[Err("exit code 127: sh: 1: nonesuch: not found")]);
        let effects = bench.effects();
        let lines: Vec<&str> = effects.lines.iter().map(|line| &*line.text).collect();
        assert_eq!(
            lines,
            [
                format!(
                    "adminalert: ERROR: There was an error trying to block host (system fail) {HOST}"
                ),
                format!(
                    "adminalert: KILL_ROUTE failed for host {HOST}: exit code 127: sh: 1: nonesuch: not \
                 found; tried again in {wait} s"
                ),
                format!("attackalert: ERROR: Could not block host {HOST}/{HOST}!!"),
            ]
        );
        assert!(effects.records.is_empty(), "it is not written down as blocked");
        assert_eq!(bench.sensor.poll_timeout(), Some(bench.now.plus_secs(wait)));
        bench.syn(HOST, 80);
        let effects = bench.effects();
        assert!(effects.responses.is_empty() && effects.lines.len() == 1, "not before its time");
        bench.wait(wait);
        id = bench.effects().responses[0].id;
    }
    bench.answer(id, &[Err("no")]);
    assert!(bench.lines()[1].ends_with("; tried again at its next probe"));
    bench.wait(600);
    assert!(bench.effects().responses.is_empty(), "by itself no more");
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Ok(())]);
    assert_eq!(bench.lines(), [done_route(HOST)]);
}

#[test]
fn of_several_steps_only_those_that_failed_are_tried_again() {
    let mut bench = Bench::new(blocking());
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Ok(()), Err("exit code 1")]);
    let lines = bench.lines();
    assert!(
        lines[0].contains("blocked via wrappers")
            && lines.last().unwrap().contains("Could not block")
    );
    bench.wait(1);
    let response = bench.effects().responses.remove(0);
    assert!(matches!(response.steps.as_slice(), [Step::Route(_)]));
    bench.answer(response.id, &[Ok(())]);
    assert_eq!(bench.lines(), [done_route(HOST)]);
}

#[test]
fn what_failed_and_what_was_done_is_told_in_the_order_of_the_steps() {
    let mut bench = Bench::new(blocking());
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Err("read-only file system"), Ok(())]);
    let lines = bench.lines();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let [deny, security, reason, route, end] = lines.as_slice() else { panic!("{lines:#?}") };
    assert_eq!(*deny, "adminalert: cannot open hosts.deny file: /etc/hosts.deny for blocking.");
    assert!(security.starts_with("securityalert: ") && reason.contains("read-only file system"));
    assert_eq!(*route, done_route(HOST));
    assert!(end.contains("Could not block"), "{end}");
    // An option that lacks its target has its place, too.
    let blind = Settings { kill_hosts_deny: Some("ALL: everybody".into()), ..blocking() };
    let mut bench = Bench::new(blind);
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Ok(())]);
    let no_target = "adminalert: No target variable specified in KILL_HOSTS_DENY option. Skipping.";
    assert_eq!(bench.lines()[..2], [no_target.to_owned(), done_route(HOST)]);
}

#[test]
fn a_command_that_never_answers_counts_as_failed() {
    let mut bench = Bench::new(route_only());
    bench.syn(HOST, 79);
    bench.effects();
    bench.wait(61);
    assert!(bench.lines()[1].contains("nothing was heard of it"));
}

#[test]
fn a_quoted_comment_of_nft_is_named_as_the_reason() {
    let line = "/usr/sbin/nft insert rule inet filter input position 0 ip saddr $TARGET$ counter drop comment 'portsentry block'";
    let mut bench = Bench::new(Settings { kill_route: Some(line.to_owned()), ..route_only() });
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Err("exit code 1: Error: syntax error")]);
    let reason = &bench.lines()[1];
    assert!(reason.contains("the shell takes the quotes of the comment away"), "{reason}");
}

#[test]
fn an_option_without_a_target_is_left_out_and_nobody_is_called_blocked() {
    let mut bench =
        Bench::new(Settings { kill_route: Some("/sbin/reboot".into()), ..route_only() });
    bench.syn(HOST, 79);
    let effects = bench.effects();
    assert!(effects.responses.is_empty() && effects.records.is_empty());
    let lines: Vec<&str> = effects.lines.iter().skip(1).map(|line| &*line.text).collect();
    assert_eq!(
        lines,
        [
            "adminalert: No target variable specified in KILL_ROUTE option. Skipping.".to_owned(),
            format!("attackalert: ERROR: Could not block host {HOST}/{HOST}!!"),
        ]
    );
}

#[test]
fn the_failure_line_has_the_form_of_its_mode() {
    for (mode, expected) in [
        (Mode::Tcp, "attackalert: ERROR: Could not block host 10.77.0.1 !!"),
        (Mode::Stcp, "attackalert: ERROR: Could not block host 10.77.0.1/10.77.0.1 !!"),
        (Mode::Atcp, "attackalert: ERROR: Could not block host 10.77.0.1/10.77.0.1!!"),
    ] {
        let mut bench = Bench::new(Settings { tcp: Some(mode), ..route_only() });
        match mode {
            Mode::Tcp => bench.connect(Proto::Tcp, HOST, 79),
            _ => bench.syn(HOST, 79),
        }
        let id = bench.effects().responses[0].id;
        bench.answer(id, &[Err("x")]);
        assert_eq!(bench.lines().last().unwrap(), expected);
    }
}

#[test]
fn protected_hosts_are_told_of_and_left_alone() {
    let mut bench = Bench::new(route_only());
    bench.sensor.set_protected(&[Cidr::new(ip("10.77.0.254"), 32)]);
    bench.syn("10.77.0.254", 79);
    let effects = bench.effects();
    assert!(effects.responses.is_empty() && effects.records.is_empty());
    assert_eq!(effects.detections.len(), 1);
    assert_eq!(&*effects.lines[0].text, syn_line("10.77.0.254", 79));
    assert!(effects.lines[1].text.contains("is protected"));
    bench.syn("10.77.0.254", 80);
    assert_eq!(bench.lines(), [syn_line("10.77.0.254", 80)], "told once");
    let probe = bench.probe_of(Proto::Tcp, "fe80::1", "fd77::2", 79);
    bench.send(probe);
    assert!(bench.effects().responses.is_empty(), "link-local addresses as well");
}

#[test]
fn a_line_taken_out_of_the_blocked_file_arms_again() {
    let mut bench = Bench::new(Settings::default());
    bench.syn(HOST, 79);
    bench.syn(HOST, 80);
    assert_eq!(bench.lines()[3], already(HOST));
    bench.sensor.set_blocked(Mode::Atcp, &[]);
    bench.syn(HOST, 81);
    assert!(bench.lines()[1].contains("Ignoring TCP response"));
    // The same with a real block.
    let mut bench = Bench::new(route_only());
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Ok(())]);
    bench.sensor.set_blocked(Mode::Atcp, &[ip(HOST)]);
    bench.syn(HOST, 80);
    assert!(bench.effects().responses.is_empty());
    bench.sensor.set_blocked(Mode::Atcp, &[]);
    bench.syn(HOST, 80);
    assert_eq!(bench.effects().responses.len(), 1);
}

#[test]
fn a_host_of_both_protocols_is_blocked_once() {
    let mut bench = Bench::new(Settings { block_udp: Block::All, ..route_only() });
    bench.syn(HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Ok(())]);
    bench.effects();
    bench.udp(HOST, 7);
    let effects = bench.effects();
    assert!(effects.responses.is_empty());
    assert_eq!(&*effects.lines[1].text, already(HOST));
}

#[test]
fn who_connects_again_was_answered() {
    let mut bench = Bench::new(Settings { tcp: Some(Mode::Tcp), ..route_only() });
    bench.connect(Proto::Tcp, HOST, 79);
    let id = bench.effects().responses[0].id;
    bench.answer(id, &[Ok(())]);
    bench.effects();
    bench.connect(Proto::Tcp, HOST, 80);
    assert_eq!(bench.lines()[1], format!("attackalert: Host: {HOST} is already blocked. Ignoring"));
    bench.wait(6);
    bench.connect(Proto::Tcp, HOST, 80);
    assert_eq!(bench.effects().responses.len(), 1);
}

/// They run one after the other, and each may take its time.
#[test]
fn who_waits_for_the_commands_of_others_has_not_failed() {
    let mut bench = Bench::new(route_only());
    for number in 0..10 {
        bench.syn(&format!("192.0.2.{number}"), 79);
    }
    let running = bench.effects().responses;
    assert_eq!(running.len(), 10);
    for response in running {
        bench.wait(25);
        bench.answer(response.id, &[Ok(())]);
    }
    let effects = bench.effects();
    assert!(effects.responses.is_empty(), "{:?}", effects.responses);
    assert_eq!(
        effects.lines.iter().filter(|line| line.text.contains("has been blocked")).count(),
        10
    );
    assert_eq!(effects.lines.len(), 10, "{:#?}", effects.lines);
}

#[test]
fn commands_run_by_few_at_a_time() {
    let mut bench = Bench::new(route_only());
    for number in 0..100 {
        bench.syn(&format!("192.0.2.{number}"), 79);
    }
    let mut running = bench.effects().responses;
    assert_eq!(running.len(), RUNNING_MAX);
    let mut served = 0;
    while let Some(response) = running.pop() {
        served += 1;
        let outcome = Outcome { id: response.id, steps: vec![Ok(())] };
        bench.sensor.handle_outcome(&outcome, bench.now, &mut bench.effects);
        running.extend(bench.effects().responses);
        assert!(running.len() <= RUNNING_MAX);
    }
    assert_eq!(served, 100);
}
