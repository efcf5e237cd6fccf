//! Whatever the kernel might say: read as nf_tables, ipset, routes, sockets and refusals.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sentryban::daemon::netlink::{
    Surroundings,
    codec::{Messages, answer},
    ipset,
    nft::{self, Home},
    sockets, watch,
};

fuzz_target!(|bytes: &[u8]| {
    let mut around = Surroundings::default();
    for message in Messages::of(bytes) {
        let _ = (answer(&message), watch::loss(&message), nft::listed(&message));
        let _ = (ipset::state(&message), sockets::open(&message));
        around.take(&message);
        for item in ipset::items(&message) {
            let _ = item.net.to_string();
        }
        for home in Home::ALL {
            // What an interval set holds must come out as prefixes, whatever it is.
            let miles: Vec<nft::Mile> = nft::miles(&message).collect();
            for item in nft::spans(miles, home.shape()) {
                assert!(item.span.first <= item.span.last);
                assert!(item.span.prefixes(home.v6()).len() <= 256);
            }
        }
    }
});
