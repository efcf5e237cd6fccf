//! `--read`: what a file of packets leads to, and what of it is not read.

use std::{path::Path, process::Command};

/// A file of tcpdump's with one SYN to port 79 behind each of these link headers, all of one type.
fn file(path: &Path, link: u32, heads: &[&[u8]]) {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, link] {
        out.extend(u32::to_be_bytes(word));
    }
    let mut packet = vec![0x45, 0, 0, 40, 0, 9, 0, 0, 64, 6, 0, 0, 198, 51, 100, 9, 192, 0, 2, 7];
    packet.extend([0x9c, 0x40, 0, 79, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]);
    for head in heads {
        let frame = [head, packet.as_slice()].concat();
        for word in [1_795_167_912, 0, frame.len() as u32, frame.len() as u32] {
            out.extend(u32::to_be_bytes(word));
        }
        out.extend(frame);
    }
    std::fs::write(path, out).unwrap();
}

#[test]
fn a_capture_is_replayed_and_a_link_that_is_not_read_is_told() {
    let dir = std::env::temp_dir().join(format!("sentryban-replay-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let conf = dir.join("portsentry.conf");
    std::fs::write(&conf, "TCP_PORTS=\"79\"\nUDP_PORTS=\"7\"\n").unwrap();
    let ethernet: &[u8] = &[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0];
    let scan =
        "attackalert: TCP SYN/Normal scan from host: 198.51.100.9/198.51.100.9 to TCP port: 79";
    let rows: [(u32, &[u8], Option<&str>); 5] = [
        (1, ethernet, None),
        (101, &[], None),
        (108, &[0, 0, 0, 2], None),
        (113, &[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0], None),
        (105, &[8, 2, 0, 0], Some("2 packets have link type 105, which is not read here")),
    ];
    for (link, head, trouble) in rows {
        let path = dir.join("scan.pcap");
        file(&path, link, &[head, head]);
        let out = Command::new(env!("CARGO_BIN_EXE_sentryban-sensor"))
            .args(["-stcp", "-c"])
            .arg(&conf)
            .arg("--read")
            .arg(&path)
            .output()
            .unwrap();
        let (said, complained) =
            (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        match trouble {
            None => {
                assert_eq!(out.status.code(), Some(0), "{link}: {complained}");
                assert!(said.contains(scan), "{link}: {said}");
            }
            Some(trouble) => {
                assert_eq!(out.status.code(), Some(66), "{link}: {complained}");
                assert!(complained.contains(trouble) && !said.contains(scan), "{complained}{said}");
            }
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
