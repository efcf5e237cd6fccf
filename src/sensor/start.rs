//! The lines of the start, mode by mode, as portsentry's processes write them one after the other.

use super::{
    lines,
    packet::Proto,
    settings::{Form, Mode, Settings},
    watch::Watch,
};

pub(super) fn lines(settings: &Settings, watch: &Watch, unbound: &[(Proto, u16)]) -> Vec<String> {
    if settings.form == Form::Two {
        return vec![lines::active(Form::Two)];
    }
    let modes = [settings.tcp, settings.udp].into_iter().flatten();
    modes.flat_map(|mode| of_mode(settings, watch, unbound, mode)).collect()
}

fn of_mode(
    settings: &Settings,
    watch: &Watch,
    unbound: &[(Proto, u16)],
    mode: Mode,
) -> Vec<String> {
    let proto = mode.proto();
    let used = watch.used(proto);
    let mut lines = vec![lines::starting()];
    if mode.is_advanced() {
        let end = settings.advanced(proto);
        let excluded = settings.excluded(proto);
        lines.push(format!("adminalert: Advanced mode will monitor first {end} ports"));
        lines.extend(excluded.iter().map(|port| {
            // The blank at the end is portsentry's.
            format!("adminalert: Advanced mode will manually exclude port: {port} ")
        }));
        if excluded.is_empty() {
            lines.push("adminalert: Advanced mode will manually exclude no ports".to_owned());
        }
        let busy = used.iter().filter(|port| u32::from(*port) < end);
        lines.extend(busy.chain(excluded.iter().copied()).map(|port| {
            format!(
                "adminalert: Advanced Stealth scan detection mode activated. Ignored {proto} port: \
                 {port}"
            )
        }));
    }
    let how = if mode.binds() { "listen" } else { "stealth listen" };
    for port in settings.ports(proto).iter().filter(|_| !mode.is_advanced()) {
        lines.push(format!("adminalert: Going into {how} mode on {proto} port: {port}"));
        if mode.binds() && unbound.contains(&(proto, *port)) {
            lines.push(format!(
                "adminalert: ERROR: could not bind {proto} socket: {port}. Attempting to continue"
            ));
        } else if !mode.binds() && used.contains(*port) {
            lines.push(format!(
                "adminalert: ERROR: Socket {port} is in use and will not be monitored. Attempting \
                 to continue"
            ));
        }
    }
    lines.push(lines::active(Form::One));
    lines
}
