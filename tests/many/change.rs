//! One change at a time, and how long it takes until every replica serves by it: it answers 202 to a
//! request signed with the new secret, which it refused before. The time runs from the moment in
//! which a watch of this process sees the change.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::{TryStreamExt as _, future::try_join_all};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use segment_source_tests::{
    http::Connection,
    sign::{fresh_id, sign, track},
    sources::Sources,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    fleet::Fleet,
    population::{KEYS, name, secrets, value, verification},
    report::Latency,
};

/// The longest that one change may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between an answer of a replica and the next question; so exact are times.
const PAUSE: Duration = Duration::from_millis(2);
/// Between changes, so that none is slowed down by what is written about the one before.
const APART: Duration = Duration::from_millis(200);

/// What is changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    /// A source names the other key of its Secret.
    Spec,
    /// The Secret gets a new value.
    Secret,
}

/// Makes so many changes, each to another one of `count` sources.
pub(crate) async fn measure(
    sources: &Sources<'_>,
    fleet: &Fleet,
    change: Change,
    count: usize,
    times: usize,
) -> anyhow::Result<Latency> {
    let mut all = Vec::new();
    for time in 0..times {
        let n = time * (count / times);
        let served = match change {
            Change::Spec => {
                let name = name(n);
                let patch = json!({"spec": {"verification": verification(&name, KEYS[1])}});
                one(sources.all(), fleet, &name, patch, &value(&name, KEYS[1], 0)).await
            }
            Change::Secret => {
                // Not one whose spec was changed.
                let name = name(n + 1);
                let value = value(&name, KEYS[0], 1);
                let patch = json!({"stringData": {KEYS[0]: value}});
                one(secrets(sources), fleet, &name, patch, &value).await
            }
        };
        all.push(served.with_context(|| format!("{change:?} of source {n}"))?);
        sleep(APART).await;
    }
    Ok(Latency::of(all))
}

/// Makes one change, and says how long it took until every replica takes what is signed with
/// `secret`.
async fn one<K: Clone + DeserializeOwned + Debug>(
    api: Api<K>,
    fleet: &Fleet,
    name: &str,
    patch: Value,
    secret: &str,
) -> anyhow::Result<Duration> {
    let only = format!("metadata.name={name}");
    // The object's own version may be too old to watch from.
    let now = api.list_metadata(&ListParams::default().fields(&only)).await?.metadata;
    let version = now.resource_version.unwrap_or_default();
    let only = WatchParams::default().fields(&only);
    let mut events = Box::pin(api.watch_metadata(&only.disable_bookmarks(), &version).await?);
    let body = track(&fresh_id(), "ann", "Changed").to_string();
    let signature = sign(secret.as_bytes(), body.as_bytes());
    let mut replicas = Vec::new();
    for replica in &fleet.replicas {
        let request = replica.webhook(name).header("X-Signature", &signature).body(body.as_str());
        let mut connection = Connection::open(replica.http).await?;
        let taken = connection.call(&request).await?.status == 202;
        anyhow::ensure!(!taken, "it is served before the change");
        replicas.push((connection, request));
    }

    let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
    let changed = async { anyhow::Ok(api.patch(name, &parameters, &patch).await?) };
    let seen = async {
        match events.try_next().await?.context("the watch ended")? {
            WatchEvent::Modified(_) => anyhow::Ok(Instant::now()),
            other => anyhow::bail!("instead of the change the watch says {other:?}"),
        }
    };
    let served = replicas.iter_mut().map(|(connection, request)| async {
        while connection.call(request).await?.status != 202 {
            sleep(PAUSE).await;
        }
        anyhow::Ok(Instant::now())
    });
    let all = async { tokio::try_join!(try_join_all(served), seen, changed) };
    let (served, seen, _) =
        timeout(PATIENCE, all).await.context("it is not everywhere in time")??;
    let last = served.into_iter().max().context("there are no replicas")?;
    Ok(last.saturating_duration_since(seen))
}
