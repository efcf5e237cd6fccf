//! The control socket's lines: what reads as a request or a reply is written out and read again as
//! itself, on one line; words that people type become one, too, and an answer can be shown.
//!
//! Every line of the input is tried as each of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sentryban::{
    cli::client::show,
    config::shell,
    control::{
        Reply, Request,
        commands::{Show, Task, candidates, parse},
    },
};

const REPLY_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let mut asked = Request::Status;
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(request) = Request::read(line) {
            travels(&request);
            asked = request;
        }
        if let Ok(reply) = Reply::read(line) {
            let written = reply.line(REPLY_MAX);
            assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1);
            let again = Reply::read(body(&written));
            // A fraction that is no number has no place in JSON, and none is read.
            assert_eq!(again.ok().as_ref(), Some(&reply), "{line:?}");
            if let Reply::Ok(answer) = &reply {
                for show in [Show::Plain, Show::WithTime] {
                    let _ = show::answer(&asked, &show, answer);
                }
                let _ = answer.value();
            }
        }
        let Ok(text) = str::from_utf8(line) else { continue };
        let Some(words) = shell::words(text) else { continue };
        let _ = candidates(&words, || vec!["sshd".to_owned()]);
        match parse(&words) {
            Ok(Task::Ask { request, .. }) => travels(&request),
            Ok(_) => {}
            Err(misuse) => assert!(!misuse.text.is_empty()),
        }
    }
});

fn travels(request: &Request) {
    let written = request.line();
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(Request::read(body(&written)).as_ref(), Ok(request));
}

fn body(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}
