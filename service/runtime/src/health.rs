//! What an orchestrator asks: is the process alive, is it ready, and its metrics.
//!
//! Readiness is a set of latches, each held by something that is not ready yet; being alive is only
//! that this listener answers.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// What is missing until the process can do its work.
#[derive(Clone, Debug)]
pub struct Readiness {
    missing: watch::Sender<BTreeSet<&'static str>>,
}

/// Something the process needs; not there until [`Latch::set`] says so.
#[derive(Debug)]
pub struct Latch {
    name: &'static str,
    missing: watch::Sender<BTreeSet<&'static str>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { missing: watch::Sender::new(BTreeSet::new()) }
    }
}

impl Readiness {
    /// Adds something the process is not ready without.
    #[must_use]
    pub fn latch(&self, name: &'static str) -> Latch {
        self.missing.send_modify(|missing| {
            missing.insert(name);
        });
        Latch { name, missing: self.missing.clone() }
    }

    /// Follows what is missing; empty means ready.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<BTreeSet<&'static str>> {
        self.missing.subscribe()
    }
}

impl Latch {
    /// Says whether it is there.
    pub fn set(&self, there: bool) {
        self.missing.send_if_modified(|missing| {
            if there { missing.remove(self.name) } else { missing.insert(self.name) }
        });
    }
}

/// What the pages show.
#[derive(Clone, Debug)]
pub struct Pages {
    readiness: watch::Receiver<BTreeSet<&'static str>>,
    /// Empty while the process starts.
    registry: Arc<OnceLock<Registry>>,
}

impl Pages {
    /// Pages over the state of this process.
    #[must_use]
    pub fn new(readiness: &Readiness, registry: Arc<OnceLock<Registry>>) -> Self {
        Self { readiness: readiness.watch(), registry }
    }

    /// Serves `/live`, `/ready` and `/metrics` until `stop`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let router = Router::new()
            .route("/live", get(|| async { Json(json!({"live": true})) }))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    let missing = pages.readiness.borrow().clone();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": missing.is_empty(), "missing": missing})))
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    let mut text = String::new();
    let written = pages.registry.get().is_some_and(|registry| encode(&mut text, registry).is_ok());
    let status = if written { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (status, [(header::CONTENT_TYPE, kind)], text)
}

#[cfg(test)]
mod tests {
    use super::Readiness;

    #[test]
    fn ready_is_when_every_latch_is_set() {
        let readiness = Readiness::default();
        let watch = readiness.watch();
        let missing = || watch.borrow().iter().copied().collect::<Vec<_>>();
        assert!(missing().is_empty());
        let (store, ingest) = (readiness.latch("store"), readiness.latch("ingest"));
        assert_eq!(missing(), ["ingest", "store"]);
        store.set(true);
        ingest.set(true);
        assert!(missing().is_empty());
        ingest.set(false);
        assert_eq!(missing(), ["ingest"]);
    }
}
