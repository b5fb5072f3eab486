//! The SegmentSources that are measured with, each with a Secret of its own, and how they are made.

use anyhow::Context as _;
use futures_util::{TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DynamicObject, ListParams, PostParams},
};
use segment_source_tests::{
    manifest::{identify_mapping, source, welcome_mapping},
    sources::Sources,
};
use serde_json::{Value, json};

/// Objects that are made at the same time.
const CONCURRENCY: usize = 32;

/// The keys of every Secret; a source names the first.
pub(crate) const KEYS: [&str; 2] = ["first", "second"];

/// Name of source number `n`, and of its Secret.
pub(crate) fn name(n: usize) -> String {
    format!("source-{n:05}")
}

/// The value of a key in some revision of its Secret; made up.
pub(crate) fn value(name: &str, key: &str, revision: u32) -> String {
    format!("not-a-real-secret-of-{name}-{key}-{revision}")
}

/// What a source says about the Secret.
pub(crate) fn verification(name: &str, key: &str) -> Value {
    json!({"secretRefs": [{"name": name, "key": key}]})
}

pub(crate) fn secrets(sources: &Sources<'_>) -> Api<Secret> {
    Api::namespaced(sources.client.clone(), &sources.namespace)
}

/// Makes so many, with two mappings each, one of them with a condition, and their Secrets.
pub(crate) async fn create(sources: &Sources<'_>, count: usize) -> anyhow::Result<()> {
    let (all, secrets) = (&sources.all(), &secrets(sources));
    let made = stream::iter((0..count).map(Ok));
    let made = made.try_for_each_concurrent(CONCURRENCY, |n| async move {
        let name = name(n);
        let values = KEYS.map(|key| (key.to_owned(), value(&name, key, 0)));
        let mut secret = Secret { string_data: Some(values.into()), ..Secret::default() };
        secret.metadata.name = Some(name.clone());
        secrets.create(&PostParams::default(), &secret).await?;

        let mut welcome = welcome_mapping();
        welcome["when"] = json!("body.properties.plan == \"pro\"");
        let mut manifest = source(
            &name,
            json!({
                "verification": verification(&name, KEYS[0]),
                "mappings": [identify_mapping(), welcome],
            }),
        );
        manifest["metadata"]["namespace"] = json!(sources.namespace);
        let source: DynamicObject = serde_json::from_value(manifest)?;
        all.create(&PostParams::default(), &source).await?;
        anyhow::Ok(())
    });
    made.await.context("cannot make the sources")
}

/// Fails unless there are so many, and all of them say of their newest generation that it is ready.
pub(crate) async fn all_ready(sources: &Sources<'_>, count: usize) -> anyhow::Result<()> {
    let list = sources.all().list(&ListParams::default()).await?;
    let is_ready = |it: &&DynamicObject| {
        let conditions = it.data.pointer("/status/conditions").and_then(Value::as_array);
        let generation = json!(it.metadata.generation);
        conditions.into_iter().flatten().any(|it| {
            it["type"] == "Ready"
                && it["status"] == "True"
                && it["observedGeneration"] == generation
        })
    };
    let ready = list.items.iter().filter(is_ready).count();
    anyhow::ensure!(ready == count, "{ready} of {count} sources say that they are ready");
    Ok(())
}
