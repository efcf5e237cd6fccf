//! The faults of portsentry 1.2 and 2.x, and of those who use them, with the test that shows that
//! each is not ours.
//!
//! One stays on purpose: with `BLOCK_*` at 0 a host is written down as `Blocked`, since filters read
//! those files.

use std::{fs, path::Path};

/// What went wrong with portsentry, and where a test shows that it does not here: the file below
/// the repository, and the test's name.
const FAULTS: &[(&str, &str, &str)] = &[
    // ---- 1.2: files ----
    (
        "no own address is ever put into the ignore file",
        "tests/sensor_faults.rs",
        "traffic_of_the_host_to_itself_is_silent",
    ),
    (
        "a list of ports ends after 64 without a word",
        "tests/sensor/conf.rs",
        "a_long_list_is_watched_whole_and_told_of",
    ),
    (
        "1-20 is read as 1, abc as 0, 70000 as 4464",
        "tests/sensor/conf.rs",
        "whatever_is_wrong_is_said_with_its_line",
    ),
    (
        "an unknown key is passed over in silence",
        "tests/sensor/conf.rs",
        "whatever_is_wrong_is_said_with_its_line",
    ),
    (
        "a key given twice is passed over in silence",
        "tests/sensor/conf.rs",
        "whatever_is_wrong_is_said_with_its_line",
    ),
    (
        "a blank before an ignored address makes the line void",
        "src/config/sensor/ignore.rs",
        "lines_are_read_as_people_write_them",
    ),
    (
        "0.0.0.0/0 in the ignore file matches nobody",
        "src/config/sensor/ignore.rs",
        "lines_are_read_as_people_write_them",
    ),
    (
        "a missing ignore file is told of with every packet",
        "tests/sensor/rules.rs",
        "ignored_hosts_are_silent_at_once_and_again_when_they_are_taken_out",
    ),
    (
        "hosts.deny gets the same line at each start",
        "tests/sensor_faults.rs",
        "a_restart_doubles_nothing_keeps_the_history_and_arms_again",
    ),
    // ---- 1.2: what is watched ----
    (
        "a port that is busy shifts the numbers of those behind it",
        "tests/sensor_faults.rs",
        "a_busy_port_shifts_no_number",
    ),
    (
        "what lingers in TIME_WAIT keeps a restarted sensor from its ports",
        "tests/sensor_nmap.rs",
        "connections_to_bound_ports",
    ),
    (
        "a port that is busy at the start leaves rubbish in the list",
        "tests/sensor_faults.rs",
        "a_busy_port_has_no_other_one_watched_in_its_place",
    ),
    (
        "watched ports are bound and listened to for a moment",
        "tests/sensor_faults.rs",
        "the_stealth_modes_could_not_bind_if_they_wanted",
    ),
    (
        "with nothing busy and nothing excluded all ports are watched",
        "tests/sensor/rules.rs",
        "every_port_below_a_number_is_watched_and_none_above",
    ),
    (
        "more than 64 busy and excluded ports overflow the stack",
        "tests/sensor_faults.rs",
        "hundreds_of_ports_may_be_excluded_or_in_use",
    ),
    (
        "a service on IPv6 alone does not count as busy",
        "tests/sensor_faults.rs",
        "a_service_hides_its_port_in_its_own_family",
    ),
    (
        "a service on loopback hides its port from the outside",
        "tests/sensor_lab.rs",
        "services_come_and_go",
    ),
    ("TIME_WAIT hides a port for a minute", "tests/sensor_lab.rs", "services_come_and_go"),
    (
        "a late answer is a scan",
        "tests/sensor_lab.rs",
        "an_answer_that_comes_late_is_none_to_be_reported",
    ),
    (
        "whoever uses a service while it restarts is a scanner",
        "tests/sensor/rules.rs",
        "a_service_that_restarts_is_no_trap",
    ),
    ("a translated port is a trap", "tests/sensor_lab.rs", "a_translated_port_is_in_use"),
    (
        "a port that the firewall drops is never reported",
        "tests/sensor_faults.rs",
        "a_port_that_the_firewall_drops_is_watched",
    ),
    ("IPv6 is not seen", "tests/sensor_nmap.rs", "every_scan_of_the_listed_ports"),
    (
        "traffic of the host to itself is a scan",
        "tests/sensor_faults.rs",
        "traffic_of_the_host_to_itself_is_silent",
    ),
    // ---- 1.2: when, and what then ----
    (
        "hits of other hosts push a host out of the count",
        "src/sensor/trigger.rs",
        "other_hosts_push_nobody_out",
    ),
    (
        "a trigger above 50 gives three warnings with every packet and reports all",
        "src/sensor/trigger.rs",
        "hits_count_as_portsentry_counts_them",
    ),
    (
        "an address is taken for another that ends like it",
        "tests/sensor_faults.rs",
        "an_address_that_looks_like_another_is_another",
    ),
    (
        "a command that failed has blocked",
        "tests/sensor_lab.rs",
        "commands_block_and_what_fails_is_said_to_fail",
    ),
    (
        "a block that was undone elsewhere is never renewed",
        "tests/sensor_recipes.rs",
        "a_set_that_forgets_is_filled_again",
    ),
    (
        "each protocol blocks the same host by itself",
        "tests/sensor/blocks.rs",
        "a_host_of_both_protocols_is_blocked_once",
    ),
    (
        "a name server that is dead holds up detection for ten seconds a host",
        "tests/sensor/rules.rs",
        "names_are_written_when_they_come_and_hold_up_nothing_else",
    ),
    (
        "a flood writes two lines a packet for ever",
        "tests/sensor/flood.rs",
        "the_number_of_lines_a_second_is_bounded",
    ),
    (
        "the blocked file is read with every packet",
        "tests/sensor_lab.rs",
        "a_flood_hides_nobody_fills_no_log_and_is_told_of_to_the_last_packet",
    ),
    (
        "packets are lost without a word",
        "tests/sensor/rules.rs",
        "a_broken_header_length_is_told_and_drops_are_summed_up",
    ),
    ("SIGHUP is ignored", "tests/sensor_lab.rs", "files_are_read_again_and_written"),
    // ---- 2.x ----
    (
        "its filter counts ignored and not triggered lines",
        "tests/sensor/rules.rs",
        "two_point_x_tells_of_what_does_not_count",
    ),
    (
        "the history is emptied at each start",
        "tests/sensor_faults.rs",
        "a_restart_doubles_nothing_keeps_the_history_and_arms_again",
    ),
    (
        "10.77.0.20 beside 10.77.0.2 is not watched",
        "tests/sensor_faults.rs",
        "every_address_of_the_host_is_watched",
    ),
    (
        "eth10 is taken for eth1",
        "tests/sensor_faults.rs",
        "an_interface_is_known_by_its_whole_name",
    ),
    ("fragments are not seen", "tests/sensor_nmap.rs", "every_scan_of_the_listed_ports"),
    (
        "fragments and short extension headers of IPv6 are thrown away",
        "tests/sensor/frames.rs",
        "fragments_behind_extension_headers_are_read",
    ),
    (
        "link-local addresses are not watched",
        "tests/sensor_faults.rs",
        "every_address_of_the_host_is_watched",
    ),
    (
        "host bits in the ignore file match nobody",
        "src/config/sensor/ignore.rs",
        "lines_are_read_as_people_write_them",
    ),
    (
        "one bad line of the ignore file keeps it from starting",
        "src/config/sensor/ignore.rs",
        "lines_are_read_as_people_write_them",
    ),
    (
        "a last line without its end loses a character",
        "tests/sensor_faults.rs",
        "a_last_line_needs_no_end",
    ),
    (
        "the blocked file is kept over a restart and keeps hosts from being blocked",
        "tests/sensor_faults.rs",
        "a_restart_doubles_nothing_keeps_the_history_and_arms_again",
    ),
    (
        "bad ports are told of, and it starts with half a list",
        "tests/sensor/conf.rs",
        "whatever_is_wrong_is_said_with_its_line",
    ),
    (
        "a key may be cut short: B is BLOCK_TCP",
        "tests/sensor_faults.rs",
        "a_key_is_read_by_its_whole_name",
    ),
    (
        "the commands of the example do not exist",
        "tests/sensor_faults.rs",
        "the_commands_of_our_own_example_work",
    ),
    ("RESOLVE_HOST never resolves", "tests/beside_portsentry.rs", "names_are_written_the_same"),
    (
        "whoever is out already fills the log",
        "tests/sensor/rules.rs",
        "who_is_banned_by_a_jail_gets_no_line_and_is_told_once_a_second",
    ),
    (
        "the trigger never forgets",
        "src/sensor/trigger.rs",
        "different_ports_within_a_window_are_a_scan",
    ),
    (
        "the line comes after the command",
        "tests/sensor/blocks.rs",
        "a_block_is_told_and_written_down_when_it_is_made",
    ),
    // ---- what users suffered from ----
    ("blocks never lapse", "tests/sensor_jail.rs", "a_scanner_is_cut_off_and_again_after_an_unban"),
    (
        "the quotes of nft's comment are lost, and the block with them",
        "tests/sensor_recipes.rs",
        "the_command_with_a_quoted_comment_is_said_to_fail_and_why",
    ),
    (
        "a first line ALL : ALL : allow makes hosts.deny void",
        "tests/sensor_faults.rs",
        "a_hosts_deny_that_nobody_asks_is_told_of",
    ),
    (
        "the filter fits none of the stealth modes",
        "tests/samples.rs",
        "every_filter_reads_its_samples",
    ),
    (
        "decoys get the gateway blocked",
        "tests/sensor_live.rs",
        "decoys_of_gateway_resolver_and_ourselves_are_never_acted_upon",
    ),
    (
        "SCAN_DETECTION_MODE does nothing, in silence",
        "tests/sensor_recipes.rs",
        "keys_that_do_not_exist_are_told_with_file_and_line",
    ),
];

#[test]
fn each_fault_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (fault, file, test) in FAULTS {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        assert!(text.contains(&format!("fn {test}()")), "{fault}: {file} has no test {test}");
    }
}
