//! Says what became of a source: in its status, and by Events about what a person would want to
//! know. Does IO, and only while this process leads. A status that is right already is not
//! written.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource as _,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, ObjectMeta},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use segment_source_crds::{SegmentSource, SegmentSourceStatus, status::condition, status::reason};
use serde::Deserialize as _;
use serde_json::json;
use tracing::warn;

use crate::{
    compile::bounded,
    disputes::{Disputes, Turn},
    lease::Leadership,
    metrics::{ApiErrors, Metrics},
    name::Name,
    status::find,
};

/// Who writes, as `managedFields` and Events name it.
const MANAGER: &str = "segment-source-operator";

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    /// It says so already.
    Same,
    /// It was written.
    Written,
    /// There is a newer object than the one that this is about; it will be looked at.
    Outdated,
    /// This process does not lead.
    NotLeading,
    /// Somebody else writes it, too. It is written after so long, if it is still wrong then.
    Disputed(Duration),
}

/// Writes statuses and Events.
pub(crate) struct Report {
    client: Client,
    reporter: Reporter,
    leadership: Leadership,
    metrics: Metrics,
    disputes: Arc<Disputes>,
}

impl Report {
    pub(crate) fn new(
        client: Client,
        instance: String,
        leadership: Leadership,
        metrics: Metrics,
        disputes: Arc<Disputes>,
    ) -> Self {
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: Some(instance) };
        Self { client, reporter, leadership, metrics, disputes }
    }

    /// Without a type, because not everything that is stored has ours.
    fn api(&self, name: &Name) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<SegmentSource>(&());
        Api::namespaced_with(self.client.clone(), &name.namespace, &kind)
    }

    fn errors(&self) -> &ApiErrors {
        &self.metrics.api_errors
    }

    /// Writes the status if it is another one.
    ///
    /// # Errors
    /// When the API server does not answer, or does not let us.
    pub(crate) async fn write(
        &self,
        name: &Name,
        metadata: &ObjectMeta,
        before: Option<&SegmentSourceStatus>,
        now: &SegmentSourceStatus,
    ) -> kube::Result<Reported> {
        if before == Some(now) {
            return Ok(Reported::Same);
        }
        // A merge leaves alone what it does not name, so what is gone is named.
        let status = json!({
            "observedGeneration": now.observed_generation,
            "conditions": now.conditions,
            "ingestPath": now.ingest_path,
            "url": now.url,
        });
        let patch = Patch::Merge(json!({
            "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
            "status": status,
        }));
        let parameters =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        if !self.leadership.leads() {
            return Ok(Reported::NotLeading);
        }
        let turn = self.disputes.turn(name, metadata, before);
        if let Turn::Wait(pause) = turn {
            return Ok(Reported::Disputed(pause));
        }
        match self.api(name).patch_status(&name.name, &parameters, &patch).await {
            Ok(written) => {
                self.metrics.status_writes.inc();
                // With the times as they are stored.
                let stored = written.data.get("status");
                let stored = stored.and_then(|it| SegmentSourceStatus::deserialize(it).ok());
                if self.disputes.wrote(name, metadata, stored.as_ref(), turn) {
                    warn!(
                        source = %name,
                        "somebody else keeps changing the status of the source; is its namespace \
                         watched by a second release of the operator? Then take it out of \
                         `watchNamespaces` of one of them. Until then this one writes less and less"
                    );
                }
                self.tell(&about(name, metadata), before, now).await;
                Ok(Reported::Written)
            }
            Err(kube::Error::Api(status)) if status.code == 409 || status.is_not_found() => {
                Ok(Reported::Outdated)
            }
            Err(error) => {
                self.errors().count("segmentsources");
                Err(error)
            }
        }
    }

    /// New secret values went to the replicas.
    pub(crate) async fn rotated(&self, name: &Name, metadata: &ObjectMeta) {
        let note = "new values of its Secrets are in use".to_owned();
        let event = event(EventType::Normal, "SecretRotated", note);
        self.publish(&about(name, metadata), &event).await;
    }

    /// What the new status tells a person that the one before did not.
    async fn tell(
        &self,
        about: &ObjectReference,
        before: Option<&SegmentSourceStatus>,
        now: &SegmentSourceStatus,
    ) {
        for event in events(before, now) {
            self.publish(about, &event).await;
        }
    }

    /// Events are for people: one that cannot be written is not worth another try.
    async fn publish(&self, about: &ObjectReference, event: &Event) {
        if !self.leadership.leads() {
            return;
        }
        // One that had told something would count this as the same again, with the words of then.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(event, about).await {
            self.errors().count("events");
            warn!(reason = event.reason, "cannot write an Event: {error}");
        }
    }
}

fn about(name: &Name, metadata: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(SegmentSource::api_version(&()).into_owned()),
        kind: Some(SegmentSource::kind(&()).into_owned()),
        namespace: Some(name.namespace.clone()),
        name: Some(name.name.clone()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn event(type_: EventType, reason: &str, note: String) -> Event {
    let (reason, note) = (reason.to_owned(), Some(bounded(note)));
    Event { type_, reason, note, action: "Configure".to_owned(), secondary: None }
}

/// What changed between two statuses, as far as a person would want to know.
fn events(before: Option<&SegmentSourceStatus>, now: &SegmentSourceStatus) -> Vec<Event> {
    let mut events = Vec::new();
    let now = Some(now);
    let was = |kind| find(before, kind).map(|it| (it.status.as_str(), it.reason.as_str()));
    if let Some(is) = find(now, condition::ACCEPTED) {
        let generation = is.observed_generation;
        let observed = find(before, condition::ACCEPTED).and_then(|it| it.observed_generation);
        if observed != generation || was(condition::ACCEPTED).is_none_or(|it| it.0 != is.status) {
            let number = generation.unwrap_or(0);
            events.push(match is.status.as_str() {
                "True" => event(
                    EventType::Normal,
                    reason::ACCEPTED,
                    format!("generation {number} is right and goes to the replicas"),
                ),
                _ => event(
                    EventType::Warning,
                    &is.reason,
                    format!("generation {number} is kept out: {}", is.message),
                ),
            });
        }
    }
    if let Some(is) = find(now, condition::RESOLVED_REFS) {
        match (was(condition::RESOLVED_REFS).map(|it| it.0), is.status.as_str()) {
            (Some("False"), "True") => {
                events.push(event(EventType::Normal, "SecretFound", is.message.clone()));
            }
            (was, "False") if was != Some("False") => {
                events.push(event(EventType::Warning, &is.reason, is.message.clone()));
            }
            _ => {}
        }
    }
    if let Some(is) = find(now, condition::PROGRAMMED).filter(|it| it.reason == reason::REFUSED)
        && was(condition::PROGRAMMED).is_none_or(|it| it.1 != reason::REFUSED)
    {
        events.push(event(EventType::Warning, reason::REFUSED, is.message.clone()));
    }
    events
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use segment_source_crds::SegmentSourceStatus;

    use super::events;

    /// `type=status/reason@generation`, each.
    fn status(text: &str) -> SegmentSourceStatus {
        let condition = |text: &str| {
            let (type_, rest) = text.split_once('=').unwrap();
            let (status, rest) = rest.split_once('/').unwrap();
            let (reason, generation) = rest.split_once('@').unwrap();
            Condition {
                last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
                message: "why".to_owned(),
                observed_generation: generation.parse().ok(),
                reason: reason.to_owned(),
                status: status.to_owned(),
                type_: type_.to_owned(),
            }
        };
        let conditions = text.split_whitespace().map(condition).collect();
        SegmentSourceStatus { conditions, ..SegmentSourceStatus::default() }
    }

    fn check(before: &str, now: &str, expected: &[&str]) {
        let before = (!before.is_empty()).then(|| status(before));
        let told = events(before.as_ref(), &status(now));
        let told: Vec<String> = told
            .into_iter()
            .map(|it| format!("{:?} {}: {}", it.type_, it.reason, it.note.unwrap_or_default()))
            .collect();
        assert_eq!(told, expected, "{now}");
    }

    #[test]
    fn events_tell_what_changed_for_a_person() {
        let accepted = "Normal Accepted: generation 1 is right and goes to the replicas";
        let good = "Accepted=True/Accepted@1 ResolvedRefs=True/Resolved@1";
        check("", good, &[accepted]);
        check(good, good, &[]);
        let bad = "Accepted=False/Invalid@2 ResolvedRefs=True/Resolved@2";
        check(good, bad, &["Warning Invalid: generation 2 is kept out: why"]);
        check(bad, bad, &[]);
        let missing = "Accepted=True/Accepted@1 ResolvedRefs=False/SecretNotFound@1";
        check("", missing, &[accepted, "Warning SecretNotFound: why"]);
        check(good, missing, &["Warning SecretNotFound: why"]);
        check(missing, good, &["Normal SecretFound: why"]);
        let refused = format!("{good} Programmed=False/Refused@1");
        check(good, &refused, &["Warning Refused: why"]);
        check(&refused, &refused, &[]);
        check(&refused, &format!("{good} Programmed=True/Programmed@1"), &[]);
    }
}
