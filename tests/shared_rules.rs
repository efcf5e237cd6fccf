//! Two jails that shut out by routes: an address has one route, and both want it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{
    Dir,
    lab::{Lab, Server, wait_for},
};

#[test]
fn a_route_stays_until_the_last_jail_lets_go_of_it() {
    let Some(lab) = Lab::new() else { return };
    let dir = Dir::new("routes");
    let jail = |name: &str| format!("[{name}]\nenabled = true\nfilter =\naction = route\n");
    dir.file(
        "etc/jail.local",
        format!(
            "[DEFAULT]\nbantime = 1h\n[portsentry]\nenabled = false\n[sshd]\nenabled = false\n{}{}",
            jail("one"),
            jail("other")
        ),
    );
    let has_route = || lab.run("ip route show type blackhole").contains("198.51.100.9");
    let mut server = Server::start(Some(&lab), &dir);
    for restarted in [false, true] {
        for jail in ["one", "other"] {
            server.client(&["set", jail, "banip", "198.51.100.9"]);
        }
        if restarted {
            // Whoever starts next has to find out who wants what.
            server.kill();
            server = Server::start(Some(&lab), &dir);
            let status = server.client(&["status", "other"]);
            assert!(status.contains("198.51.100.9"), "{status}");
            server.wait_log("[other] Restore Ban 198.51.100.9");
        }
        wait_for("the route", has_route);
        server.client(&["set", "one", "unbanip", "198.51.100.9"]);
        assert!(has_route(), "restarted: {restarted}\n{}", server.log());
        server.client(&["reload", "--restart", "one"]);
        assert!(has_route(), "restarted: {restarted}\n{}", server.log());
        server.client(&["set", "other", "unbanip", "198.51.100.9"]);
        wait_for("it goes", || !has_route());
    }
}
