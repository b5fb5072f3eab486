//! What is said about a source: from what was found out, and what was said before, to the status.
//! Pure, and the same again when nothing changed: then nothing is written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use segment_source_crds::{SegmentSourceStatus, status::condition, status::reason};

use crate::{compile::Rejection, name::Name, table::Progress};

/// What was found out about one source.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) name: &'a Name,
    pub(crate) generation: i64,
    pub(crate) verdict: &'a Result<(), Rejection>,
    /// What works, but is probably not what was meant.
    pub(crate) notes: &'a str,
    /// Secrets that are missing, of what replicas run; `None` when they run nothing.
    pub(crate) unresolved: Option<&'a str>,
    /// Why its Secrets cannot be read, so that nothing can be said of them.
    pub(crate) unreadable: Option<&'a str>,
    /// The generation that replicas are told to run.
    pub(crate) running: Option<i64>,
    pub(crate) progress: Progress,
    /// Where the webhooks are reached from outside.
    pub(crate) public_url: Option<&'a str>,
}

/// The status to have now.
pub(crate) fn status(
    facts: &Facts<'_>,
    before: Option<&SegmentSourceStatus>,
    now: jiff::Timestamp,
) -> SegmentSourceStatus {
    let mut said = vec![accepted(facts), resolved(facts), programmed(facts, before)];
    said.push(ready(&said));
    if let Err(rejection) = facts.verdict {
        let message = "waiting will not help: the manifest must be put right".to_owned();
        said.push(Said { kind: condition::STALLED, is: "True", reason: rejection.reason, message });
    }
    let conditions = said.into_iter().map(|it| it.condition(facts.generation, before, now));
    let path = facts
        .name
        .is_of_a_source()
        .then(|| format!("/v1/sources/{}/{}", facts.name.namespace, facts.name.name));
    let url = facts.public_url.zip(path.as_deref());
    SegmentSourceStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions.collect(),
        url: url.map(|(base, path)| format!("{}{path}", base.trim_end_matches('/'))),
        ingest_path: path,
    }
}

/// A condition that has been said before.
pub(crate) fn find<'a>(
    status: Option<&'a SegmentSourceStatus>,
    kind: &str,
) -> Option<&'a Condition> {
    status?.conditions.iter().find(|it| it.type_ == kind)
}

/// The word that metrics have for a reason of `Ready`.
pub(crate) fn state(status: &SegmentSourceStatus) -> &'static str {
    match find(Some(status), condition::READY).map(|it| it.reason.as_str()) {
        Some(reason::READY) => "ready",
        Some(reason::INVALID) => "invalid",
        Some(reason::UNREADABLE) => "unreadable",
        Some(reason::SECRET_NOT_FOUND) => "secret_not_found",
        Some(reason::SECRETS_UNREADABLE) => "secrets_unreadable",
        Some(reason::PENDING) => "pending",
        Some(reason::NO_REPLICAS) => "no_replicas",
        Some(reason::REFUSED) => "refused",
        _ => "unknown",
    }
}

/// A condition without its times.
struct Said {
    kind: &'static str,
    is: &'static str,
    reason: &'static str,
    message: String,
}

impl Said {
    /// The time of transition moves only when the condition's own status does.
    fn condition(
        self,
        generation: i64,
        before: Option<&SegmentSourceStatus>,
        now: jiff::Timestamp,
    ) -> Condition {
        let same = find(before, self.kind).filter(|it| it.status == self.is);
        Condition {
            last_transition_time: same.map_or(Time(now), |it| it.last_transition_time.clone()),
            message: self.message,
            observed_generation: Some(generation),
            reason: self.reason.to_owned(),
            status: self.is.to_owned(),
            type_: self.kind.to_owned(),
        }
    }
}

fn accepted(facts: &Facts<'_>) -> Said {
    let kind = condition::ACCEPTED;
    match facts.verdict {
        Ok(()) => {
            let message = match facts.notes {
                "" => "the manifest is right".to_owned(),
                notes => format!("the manifest is right; but look at {notes}"),
            };
            Said { kind, is: "True", reason: reason::ACCEPTED, message }
        }
        Err(Rejection { reason, message }) => {
            Said { kind, is: "False", reason, message: message.clone() }
        }
    }
}

fn resolved(facts: &Facts<'_>) -> Said {
    let kind = condition::RESOLVED_REFS;
    if let Some(error) = facts.unreadable {
        let message = format!(
            "its Secrets cannot be read, what is in service stays: {error}; let the operator get \
             Secrets in this namespace"
        );
        return Said { kind, is: "Unknown", reason: reason::SECRETS_UNREADABLE, message };
    }
    let (is, reason, message) = match (facts.unresolved, facts.verdict) {
        (Some(""), _) => ("True", reason::RESOLVED, "every Secret it names is there".to_owned()),
        (Some(missing), _) => ("False", reason::SECRET_NOT_FOUND, missing.to_owned()),
        (None, verdict) => {
            let reason = verdict.as_ref().err().map_or(reason::INVALID, |it| it.reason);
            ("Unknown", reason, "is looked at once the manifest is right".to_owned())
        }
    };
    Said { kind, is, reason, message }
}

fn programmed(facts: &Facts<'_>, before: Option<&SegmentSourceStatus>) -> Said {
    let kind = condition::PROGRAMMED;
    let no = |reason, message| Said { kind, is: "False", reason, message };
    let generation = facts.generation;
    if facts.verdict.is_err() {
        return no(
            reason::PENDING,
            match facts.running {
                Some(running) => format!("generation {running} stays in service until then"),
                None => "nothing is in service until the manifest is right".to_owned(),
            },
        );
    }
    // Replicas come and go; what all have had once is not taken back for that.
    let sticks = find(before, kind)
        .is_some_and(|it| it.status == "True" && it.observed_generation == Some(generation));
    match &facts.progress {
        Progress::Refused { replica, reason } => {
            no(reason::REFUSED, format!("replica {replica} cannot run it: {reason}"))
        }
        Progress::Programmed => yes(kind),
        Progress::Pending | Progress::NoReplicas if sticks => yes(kind),
        Progress::Pending => no(
            reason::PENDING,
            format!("generation {generation} is not in service on every connected replica yet"),
        ),
        Progress::NoReplicas => no(
            reason::NO_REPLICAS,
            "no replica is connected to the operator; look at the pods of edge and ingest".into(),
        ),
    }
}

fn yes(kind: &'static str) -> Said {
    let message = "every connected replica has taken it into service".to_owned();
    Said { kind, is: "True", reason: reason::PROGRAMMED, message }
}

fn ready(said: &[Said]) -> Said {
    let kind = condition::READY;
    match said.iter().find(|it| it.is != "True") {
        None => Said {
            kind,
            is: "True",
            reason: reason::READY,
            message: "in service on every replica".to_owned(),
        },
        Some(first) => {
            Said { kind, is: "False", reason: first.reason, message: first.message.clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use segment_source_crds::{SegmentSourceStatus, status::reason};

    use super::{Facts, status};
    use crate::{compile::Rejection, name::Name, table::Progress};

    struct Source {
        name: Name,
        status: Option<SegmentSourceStatus>,
        clock: i64,
    }

    const OK: Result<(), Rejection> = Ok(());

    fn refused() -> Progress {
        Progress::Refused { replica: "pod-0".into(), reason: "too new".into() }
    }

    impl Source {
        fn new() -> Self {
            Self { name: Name::new("prod", "web"), status: None, clock: 0 }
        }

        /// A second later. Every condition as `type=status/reason@seconds`.
        fn now(
            &mut self,
            generation: i64,
            verdict: &Result<(), Rejection>,
            unresolved: Option<&str>,
            progress: Progress,
        ) -> String {
            self.clock += 1;
            let facts = Facts {
                name: &self.name,
                generation,
                verdict,
                notes: "",
                unresolved,
                unreadable: None,
                running: Some(1),
                progress,
                public_url: Some("https://events.example.com/"),
            };
            let time = jiff::Timestamp::from_second(self.clock).unwrap();
            let status = status(&facts, self.status.as_ref(), time);
            let conditions = status.conditions.iter().map(|it| {
                let at = it.last_transition_time.0.as_second();
                format!("{}={}/{}@{at}", it.type_, it.status, it.reason)
            });
            let conditions = conditions.collect::<Vec<_>>().join(" ");
            assert_eq!(status.observed_generation, Some(generation));
            assert_eq!(status.ingest_path.as_deref(), Some("/v1/sources/prod/web"));
            let url = "https://events.example.com/v1/sources/prod/web";
            assert_eq!(status.url.as_deref(), Some(url));
            self.status = Some(status);
            conditions
        }
    }

    #[test]
    fn a_life_of_a_source() {
        let mut web = Source::new();
        let no_replicas = web.now(1, &OK, Some(""), Progress::NoReplicas);
        assert_eq!(
            no_replicas,
            "Accepted=True/Accepted@1 ResolvedRefs=True/Resolved@1 \
             Programmed=False/NoReplicas@1 Ready=False/NoReplicas@1"
        );
        let pending = web.now(1, &OK, Some("a"), Progress::Pending);
        assert_eq!(
            pending,
            "Accepted=True/Accepted@1 ResolvedRefs=False/SecretNotFound@2 \
             Programmed=False/Pending@1 Ready=False/SecretNotFound@1"
        );
        let programmed = web.now(1, &OK, Some(""), Progress::Programmed);
        assert_eq!(
            programmed,
            "Accepted=True/Accepted@1 ResolvedRefs=True/Resolved@3 \
             Programmed=True/Programmed@3 Ready=True/Ready@3"
        );
        // Sticky for the generation, whatever comes and goes.
        let status = web.status.clone();
        for progress in [Progress::NoReplicas, Progress::Pending, Progress::Programmed] {
            assert_eq!(web.now(1, &OK, Some(""), progress), programmed);
        }
        assert_eq!(web.status, status);
        // A bad edit.
        let rejection = Rejection { reason: reason::INVALID, message: "spec.x: no".into() };
        assert_eq!(
            web.now(2, &Err(rejection), Some(""), Progress::Pending),
            "Accepted=False/Invalid@7 ResolvedRefs=True/Resolved@3 Programmed=False/Pending@7 \
             Ready=False/Invalid@7 Stalled=True/Invalid@7"
        );
        assert_eq!(
            web.now(3, &OK, Some(""), Progress::Pending),
            "Accepted=True/Accepted@8 ResolvedRefs=True/Resolved@3 Programmed=False/Pending@7 \
             Ready=False/Pending@7"
        );
        assert_eq!(
            web.now(3, &OK, Some(""), refused()),
            "Accepted=True/Accepted@8 ResolvedRefs=True/Resolved@3 Programmed=False/Refused@7 \
             Ready=False/Refused@7"
        );
    }

    #[test]
    fn a_refusal_takes_back_that_it_is_programmed() {
        let mut web = Source::new();
        web.now(1, &OK, Some(""), Progress::Programmed);
        assert!(web.now(1, &OK, Some(""), refused()).ends_with("Ready=False/Refused@2"));
        assert!(web.now(1, &OK, Some(""), Progress::NoReplicas).contains("Programmed=False"));
    }

    #[test]
    fn what_was_never_right_has_secrets_nobody_looked_at() {
        let mut web = Source::new();
        let rejection = Rejection { reason: reason::INVALID, message: "spec.x: no".into() };
        assert_eq!(
            web.now(1, &Err(rejection), None, Progress::Pending),
            "Accepted=False/Invalid@1 ResolvedRefs=Unknown/Invalid@1 Programmed=False/Pending@1 \
             Ready=False/Invalid@1 Stalled=True/Invalid@1"
        );
    }
}
