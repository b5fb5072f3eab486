//! One look at one source: dereference, compile, publish, record, report. Whatever a look finds is
//! computed from what there is now; it can be repeated at any time, and one source's trouble is
//! nobody else's.

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kube::{
    Resource as _,
    api::ObjectMeta,
    runtime::{
        Controller,
        controller::{Action, Config},
    },
};
use segment_source_crds::{
    Compiled, Problem, SecretRef, SegmentSource, references, status::condition,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    compile::{Rejection, bounded, check, compile, sentence},
    dereference::{Dereference, Values},
    dirty::Dirty,
    lock::lock,
    memory::{Finding, Memory},
    metrics::Metrics,
    name::Name,
    pauses::{Pauses, Slow, in_time, pause},
    report::{Report, Reported},
    revision::Record,
    status::{Facts, find, state, status},
    table::{Held, Published, Table},
    watch::{Source, Sources, Unreadable, reference},
};

/// Sources looked at at the same time.
const CONCURRENCY: u16 = 16;
/// Changes within this time are one.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// A report that was too late is tried again then, should nothing else have come of it.
const OUTDATED: Duration = Duration::from_secs(5);
/// The shortest and the longest pause after a look that failed.
const PAUSES: Pauses = (Duration::from_millis(500), Duration::from_secs(120));
/// So many failures in a row, and replicas wait no longer for a source of which nothing is known.
const PATIENCE: u32 = 6;

/// The step that reads Secrets.
const SECRETS: &str = "secrets";

/// What a look needs.
pub(crate) struct Reconcile {
    pub(crate) sources: Arc<Sources>,
    pub(crate) dereference: Arc<Dereference>,
    pub(crate) table: Arc<Table>,
    pub(crate) dirty: Arc<Dirty>,
    pub(crate) first_pass: FirstPass,
    pub(crate) memory: Arc<Memory>,
    pub(crate) record: Record,
    pub(crate) report: Report,
    pub(crate) metrics: Metrics,
    pub(crate) public_url: Option<String>,
}

/// After a start, replicas first hear of every source; what is to be written about them waits.
#[derive(Debug, Default)]
pub(crate) struct FirstPass {
    waiting: Mutex<Pass>,
}

#[derive(Debug, Default)]
struct Pass {
    done: bool,
    waiting: Vec<Name>,
}

impl FirstPass {
    /// Whether the rest of a look is to be postponed; marks all that was, when that is over.
    fn postpones(&self, name: &Name, table: &Table, dirty: &Dirty) -> bool {
        let mut pass = lock(&self.waiting);
        if pass.done {
            return false;
        }
        if table.knows_all() {
            pass.done = true;
            dirty.mark(std::mem::take(&mut pass.waiting));
            return false;
        }
        pass.waiting.push(name.clone());
        true
    }
}

/// A look that failed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// A request did.
    #[error("{step}: {error}")]
    Step { step: &'static str, error: kube::Error },
    /// An answer did not come.
    #[error("{0}")]
    Slow(#[from] Slow),
}

fn failed(step: &'static str) -> impl Fn(kube::Error) -> Failed {
    move |error| Failed::Step { step, error }
}

/// Looks at every source that is marked, until `stop`; then the looks under way are finished.
pub(crate) async fn run(reconcile: Arc<Reconcile>, dirty: Arc<Dirty>, stop: CancellationToken) {
    let store = reconcile.sources.store();
    let marked = dirty.stream().map(|name| reference(&name));
    // Everything comes by way of the marks, so that it is counted once.
    let looks = Controller::for_stream(stream::pending(), store)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .reconcile_on(marked)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            |source, reconcile| async move { reconcile.timed(&source).await },
            |source, error, reconcile| reconcile.again(&source, error),
            reconcile,
        );
    looks.for_each(|_| std::future::ready(())).await;
}

impl Reconcile {
    async fn timed(&self, source: &Source) -> Result<Action, Failed> {
        let begun = Instant::now();
        let name = Name::of(source.meta());
        let looked =
            in_time(self.look(&name, source)).await.unwrap_or_else(|slow| Err(slow.into()));
        self.metrics.reconciled(looked.is_ok(), begun.elapsed());
        if looked.is_ok() {
            self.memory.succeeded(&name);
        }
        if self.sources.get(&name).is_none() {
            // It went while it was looked at.
            self.sources.forget(&name);
            self.first_pass.postpones(&name, &self.table, &self.dirty);
        }
        looked
    }

    /// The whole look. IO: in `find_out` (reads), `keep` and `write` (writes, only while leading).
    async fn look(&self, name: &Name, source: &Source) -> Result<Action, Failed> {
        if self.table.is_unread(&name.namespace) {
            // Its Secrets may be there, and nobody can see them. It is marked once they are listed.
            return Ok(Action::await_change());
        }
        let metadata = source.meta();
        let read = source.read();
        let (finding, published) = match self.find_out(name, metadata, &read).await {
            Err(Failed::Step { step: SECRETS, error })
                if self.memory.failures(name) >= PATIENCE =>
            {
                self.tell_unreadable(name, source, &read, &error).await?;
                return Err(failed(SECRETS)(error));
            }
            found => found?,
        };
        if self.first_pass.postpones(name, &self.table, &self.dirty) {
            return Ok(Action::await_change());
        }
        if published.rotated {
            info!(source = %name, "new values of its Secrets are in use");
            self.report.rotated(name, metadata).await;
        }
        // That it could not be recorded is no reason to say nothing.
        let kept = match &read {
            Ok(source) if finding.verdict.is_ok() => self.record.keep(name, source).await,
            _ => Ok(()),
        };
        let before = source.status();
        let facts = Facts {
            notes: &finding.notes,
            unresolved: finding.unresolved.as_deref(),
            ..self.facts(name, finding.generation, &finding.verdict)
        };
        let now = status(&facts, before.as_ref(), jiff::Timestamp::now());
        let reported = self.report.write(name, metadata, before.as_ref(), &now).await;
        if reported.is_err() {
            // The API server takes no status beside some specs; then the metrics must tell.
            self.memory.set_state(name, state(&now));
        }
        let reported = reported.map_err(failed("status"))?;
        let said = match reported {
            Reported::Same | Reported::Written => Some(&now),
            Reported::Outdated | Reported::NotLeading | Reported::Disputed(_) => before.as_ref(),
        };
        let programmed = find(said, condition::PROGRAMMED).is_some_and(|it| {
            it.status == "True" && it.observed_generation == Some(finding.generation)
        });
        self.table.settle(name, programmed);
        let said = said.map_or("unknown", state);
        self.memory.set_state(name, said);
        debug!(source = %name, state = said, ?reported, "looked at");
        kept.map_err(failed("revision"))?;
        Ok(match reported {
            Reported::Outdated => Action::requeue(OUTDATED),
            Reported::Disputed(pause) => Action::requeue(pause),
            _ => Action::await_change(),
        })
    }

    /// A person has to know what no look gets beyond.
    async fn tell_unreadable(
        &self,
        name: &Name,
        source: &Source,
        read: &Result<SegmentSource, Unreadable>,
        error: &kube::Error,
    ) -> Result<(), Failed> {
        if self.first_pass.postpones(name, &self.table, &self.dirty) {
            return Ok(());
        }
        let metadata = source.meta();
        let (verdict, error) = (verdict(read), bounded(error.to_string()));
        let facts = Facts {
            unreadable: Some(&error),
            ..self.facts(name, metadata.generation.unwrap_or(0), &verdict)
        };
        let before = source.status();
        let now = status(&facts, before.as_ref(), jiff::Timestamp::now());
        self.memory.set_state(name, state(&now));
        let reported = self.report.write(name, metadata, before.as_ref(), &now).await;
        reported.map(drop).map_err(failed("status"))
    }

    /// What is known of a source before its Secrets are looked at.
    fn facts<'a>(
        &'a self,
        name: &'a Name,
        generation: i64,
        verdict: &'a Result<(), Rejection>,
    ) -> Facts<'a> {
        Facts {
            name,
            generation,
            verdict,
            notes: "",
            unresolved: None,
            unreadable: None,
            running: self.table.running(name),
            progress: self.table.progress(name, generation),
            public_url: self.public_url.as_deref(),
        }
    }

    /// Dereference, compile, publish. Reads Secrets, and what was accepted last, as far as they are
    /// not known yet.
    async fn find_out(
        &self,
        name: &Name,
        metadata: &ObjectMeta,
        source: &Result<SegmentSource, Unreadable>,
    ) -> Result<(Arc<Finding>, Published), Failed> {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        let generation = metadata.generation.unwrap_or(0);
        let known = self.memory.finding(name, uid, generation);
        if let Some(known) = &known {
            let values = self.dereference.values(name, &known.references).await;
            if values.map_err(failed(SECRETS))?.versions() == known.versions {
                return Ok((known.clone(), Published::default()));
            }
        }
        let verdict = verdict(source);
        let last = match (&verdict, source) {
            (Ok(()), Ok(source)) => Some(Ok(source)),
            _ => {
                let last = self.record.last(name, uid).await.map_err(failed("revision"))?;
                last.map(Err)
            }
        };
        let manifest: Option<&SegmentSource> = match &last {
            Some(Ok(current)) => Some(current),
            Some(Err(accepted)) => Some(accepted),
            None => None,
        };
        let references = manifest.map(|it| references(&it.spec)).unwrap_or_default();
        let values = self.dereference.values(name, &references).await.map_err(failed(SECRETS))?;
        let compiled = manifest.and_then(|manifest| compile(manifest, &values).ok());
        let notes = compiled.as_ref().map(|it| sentence(&it.warnings)).unwrap_or_default();
        let unresolved = compiled.as_ref().map(|it| missing(it, &references, &values));
        let held = match (compiled, &verdict) {
            (Some(compiled), _) => Held::Loaded(Box::new(compiled.source)),
            (None, Err(rejection)) => Held::NotLoaded(rejection.message.as_str().into()),
            (None, Ok(())) => Held::NotLoaded("cannot be compiled".into()),
        };
        let mut published = self.table.publish(name, uid, &held);
        // Values that come or go are told as such.
        let whole = |unresolved: Option<&String>| unresolved.is_some_and(String::is_empty);
        published.rotated &= whole(known.as_ref().and_then(|it| it.unresolved.as_ref()))
            && whole(unresolved.as_ref());
        let finding = Arc::new(Finding {
            uid: uid.to_owned(),
            generation,
            references,
            versions: values.versions(),
            verdict,
            notes,
            unresolved,
        });
        self.memory.remember(name, finding.clone());
        Ok((finding, published))
    }

    /// After a failure: when to look again.
    fn again(&self, source: &Source, error: &Failed) -> Action {
        let name = Name::of(source.meta());
        let failures = self.memory.failed(&name);
        warn!(source = %name, failures, "cannot finish looking at the source, trying again: {error}");
        if failures >= PATIENCE && !self.table.is_known(&name) {
            let reason = format!("the operator cannot read what it needs ({error})");
            let uid = source.meta().uid.as_deref().unwrap_or_default();
            self.table.publish(&name, uid, &Held::NotLoaded(bounded(reason).into()));
            self.first_pass.postpones(&name, &self.table, &self.dirty);
        }
        Action::requeue(pause(PAUSES, failures))
    }
}

/// Whether the manifest is right.
fn verdict(source: &Result<SegmentSource, Unreadable>) -> Result<(), Rejection> {
    match source {
        Ok(source) => check(source),
        Err(error) => Err(Rejection::unreadable(error)),
    }
}

/// What replicas would need and cannot have, in words for a person; empty for nothing.
fn missing(compiled: &Compiled, references: &[SecretRef], values: &Values) -> String {
    let gone = references.iter().filter(|it| values.is_gone(&it.name, &it.key));
    let gone = gone.map(|SecretRef { name, key }| {
        let message = format!(
            "key `{key}` of Secret `{name}` is gone; its last value stays in use until the operator \
             starts again"
        );
        Problem::new("", message)
    });
    let problems: Vec<Problem> = compiled.unresolved.iter().cloned().chain(gone).collect();
    sentence(&problems)
}
