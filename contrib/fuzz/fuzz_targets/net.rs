//! Ids of failures: any text has one spelling, and spelling it again changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sentryban::net::normal_id;

fuzz_target!(|text: &str| {
    let id = normal_id(text);
    assert_eq!(normal_id(&id), id, "{text:?} is spelled twice");
});
