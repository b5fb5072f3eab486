//! What an API server has been asked, from its own metrics: how many requests of which verb for
//! which resource. Who asked is not in them.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use serde::Serialize;

/// Verbs that change nothing.
const READS: [&str; 4] = ["GET", "LIST", "WATCH", "CONNECT"];

/// All requests since the API server started, by `VERB resource`. Those for no resource, such as
/// `/metrics` itself, are left out; a watch counts when it ends.
pub(crate) struct Requests(BTreeMap<String, u64>);

/// What the API server was asked in some time.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) total: u64,
    pub(crate) per_second: f64,
    /// What changes something, but for Leases, which are there to be written.
    pub(crate) writes: u64,
    by_kind: BTreeMap<String, u64>,
}

impl Requests {
    pub(crate) async fn read(client: &Client) -> anyhow::Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let page = client.request_text(request).await?;
        let mut all = BTreeMap::new();
        for line in page.lines() {
            let Some(rest) = line.strip_prefix("apiserver_request_total{") else { continue };
            let Some((labels, count)) = rest.rsplit_once("} ") else { continue };
            let label = |name: &str| {
                let found = labels.split("\",").find_map(|it| it.strip_prefix(name));
                found
                    .and_then(|it| it.strip_prefix("=\""))
                    .map_or("", |it| it.trim_end_matches('"'))
            };
            let (verb, resource, part) = (label("verb"), label("resource"), label("subresource"));
            if !resource.is_empty() {
                let part = if part.is_empty() { String::new() } else { format!("/{part}") };
                // Printed as a float.
                *all.entry(format!("{verb} {resource}{part}")).or_default() +=
                    count.trim().parse::<f64>()? as u64;
            }
        }
        Ok(Self(all))
    }

    /// What came between `before` and now, which is `time` later.
    pub(crate) fn since(self, before: &Self, time: Duration) -> Asked {
        let more = |(kind, count): (String, u64)| {
            let count = count - before.0.get(&kind).copied().unwrap_or_default();
            (count > 0).then_some((kind, count))
        };
        let by_kind: BTreeMap<_, _> = self.0.into_iter().filter_map(more).collect();
        let is_write = |kind: &str| {
            let (verb, resource) = kind.split_once(' ').unwrap_or((kind, ""));
            !READS.contains(&verb) && resource != "leases"
        };
        let total = by_kind.values().sum();
        Asked {
            total,
            per_second: total as f64 / time.as_secs_f64(),
            writes: by_kind.iter().filter(|(kind, _)| is_write(kind)).map(|(_, count)| count).sum(),
            by_kind,
        }
    }
}
