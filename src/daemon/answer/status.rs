//! What the daemon tells about its jails as a whole.

use super::{JailView, State, id_of, known};
use crate::{
    config::{ActionKind, JailSpec, jail_spec::Backend},
    control::{
        Answer, Case, Flavor, Health, JailBans, JailCase, JailStats, JailStatus, JailTrouble,
        Refusal, ServerStatus, Source, Verdict,
    },
    ticket::Id,
};

/// `status`.
pub(super) fn server(state: &impl State) -> ServerStatus {
    let mut status = ServerStatus { notes: state.notes(), ..ServerStatus::default() };
    for jail in sorted(state) {
        let name = || jail.name.to_owned();
        match &jail.health {
            Health::Disabled(reason) => {
                status.disabled.push(JailTrouble { jail: name(), reason: reason.clone() });
                continue;
            }
            Health::Waiting(reason) => {
                status.waiting.push(JailTrouble { jail: name(), reason: reason.clone() });
            }
            Health::Idle => status.idle.push(name()),
            Health::Running => {}
        }
        status.jails.push(name());
    }
    status
}

/// `status JAIL`, or of all that count.
pub(super) fn jails(
    state: &impl State,
    name: Option<&str>,
    flavor: Flavor,
) -> Result<Answer, Refusal> {
    if flavor == Flavor::Cymru {
        let text = "the flavor 'cymru' asks a server on the net about every banned address, which \
                    this daemon does not do; write basic, short or stats";
        return Err(Refusal::Failed(text.to_owned()));
    }
    Ok(match (name, flavor) {
        (Some(name), Flavor::Stats) => Answer::Stats(vec![row(&known(state, name)?)]),
        (None, Flavor::Stats) => Answer::Stats(stats(state)),
        (Some(name), _) => Answer::Jail(Box::new(jail(state, &known(state, name)?, flavor))),
        (None, _) => {
            Answer::Jails(sorted(state).iter().map(|view| jail(state, view, flavor)).collect())
        }
    })
}

/// `stats`.
pub(super) fn stats(state: &impl State) -> Vec<JailStats> {
    sorted(state).iter().map(row).collect()
}

/// `banned`, and `banned ID…`.
pub(super) fn banned(state: &impl State, ids: &[String]) -> Result<Answer, Refusal> {
    let jails = sorted(state);
    let jails = jails.iter().filter(|jail| !matches!(jail.health, Health::Disabled(_)));
    if ids.is_empty() {
        let bans =
            jails.map(|jail| JailBans { jail: jail.name.to_owned(), ids: held(state, jail) });
        return Ok(Answer::Banned(bans.collect()));
    }
    let mut rows = Vec::with_capacity(ids.len());
    for text in ids {
        let id = id_of(text)?;
        let jails = jails.clone().filter(|jail| state.banned(jail.name, &id).is_some());
        rows.push(jails.map(|jail| jail.name.to_owned()).collect());
    }
    Ok(Answer::BannedIn(rows))
}

/// `why ID`.
pub(super) fn why(state: &impl State, id: &Id) -> Case {
    let jails = sorted(state);
    let jails = jails.iter().filter(|jail| !matches!(jail.health, Health::Disabled(_)));
    let jails =
        jails.map(|jail| {
            let (mut verdict, earlier) = state.verdict(jail.name, id);
            if let Verdict::Banned { regex, failregex, .. }
            | Verdict::Counted { regex, failregex, .. } = &mut verdict
                && failregex.is_none()
            {
                *failregex = regex.and_then(|number| expression(jail.spec?, number));
            }
            let (jail, health) = (jail.name.to_owned(), jail.health.clone());
            JailCase { jail, health, verdict, earlier }
        });
    Case { id: id.to_string(), now: state.now().secs(), jails: jails.collect() }
}

/// The ids that a jail holds.
pub(super) fn held(state: &impl State, jail: &JailView<'_>) -> Vec<String> {
    state.bans(jail.name).into_iter().map(|ban| ban.id).collect()
}

fn expression(spec: &JailSpec, number: u32) -> Option<String> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    Some(spec.filter.as_ref()?.failregex.get(at)?.value.clone())
}

fn sorted(state: &impl State) -> Vec<JailView<'_>> {
    let mut jails = state.jails();
    jails.sort_by(|one, other| one.name.cmp(other.name));
    jails
}

fn jail(state: &impl State, jail: &JailView<'_>, flavor: Flavor) -> JailStatus {
    JailStatus {
        jail: jail.name.to_owned(),
        health: jail.health.clone(),
        failed: jail.failed,
        failed_total: jail.failed_total,
        source: source(jail),
        banned: jail.banned,
        banned_total: jail.banned_total,
        ids: (flavor != Flavor::Short).then(|| held(state, jail)),
        pending: jail.pending.clone(),
    }
}

fn source(jail: &JailView<'_>) -> Source {
    let is_sensor = jail.spec.is_some_and(|spec| spec.backend.value == Backend::Sensor);
    match (is_sensor, jail.journal) {
        (true, _) => Source::Sensor,
        (_, true) => Source::Journal(jail.spec.map(matches).unwrap_or_default()),
        _ => Source::Files(jail.files.clone()),
    }
}

/// What a jail takes from the journal: `+` in a line begins another group, as a new line does.
pub(super) fn matches(spec: &JailSpec) -> Vec<Vec<String>> {
    let lines = spec.filter.iter().flat_map(|filter| &filter.journalmatch);
    let groups = lines.flat_map(|line| line.split(" + "));
    let words = |group: &str| group.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    groups.map(words).filter(|words| !words.is_empty()).collect()
}

fn row(jail: &JailView<'_>) -> JailStats {
    let backend = match (jail.spec.map(|spec| &spec.backend.value), jail.journal) {
        (Some(Backend::Sensor), _) => "sensor",
        (Some(Backend::Systemd(_)), _) | (_, true) => "systemd",
        (Some(Backend::Polling), _) => "polling",
        (Some(Backend::Notify | Backend::Auto), _) => "notify",
        (None, _) => "-",
    };
    JailStats {
        jail: jail.name.to_owned(),
        health: jail.health.clone(),
        backend: backend.to_owned(),
        failed: jail.failed,
        failed_total: jail.failed_total,
        banned: jail.banned,
        banned_total: jail.banned_total,
    }
}

/// What does an action's work, in a word.
pub(super) fn kind_name(kind: &ActionKind) -> &str {
    match kind {
        ActionKind::Native { banaction, .. } => banaction,
        ActionKind::Template { file, .. } => file,
    }
}
