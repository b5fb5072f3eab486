//! One request, step by step. The order of the steps is the order in which the table of answers is
//! promised: method, encoding, size, configuration, suspension, signature, rate.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use hyper::body::Body as _;
use segment_source_core::{
    signature::{ReceivedRequest, SignatureHeader, VerifiedRequest},
    source::SourceId,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    LiveSource, Reply, Sources,
    body::{Bodies, Claim, HeldBody},
    headers,
    live::NotVerified,
    metrics::Metrics,
    posted::{Posted, Receipts},
    submit::{Submitter, Tally},
};

/// Where sources are.
pub(crate) const ROUTE: &str = "/v1/sources/{namespace}/{name}";
const PREFIX: &str = "/v1/sources/";

/// Verifying more than this many bytes takes milliseconds and would hold up other requests, so it
/// is done on a thread of its own.
const VERIFIED_ASIDE: usize = 256 << 10;

/// What every request needs.
pub(crate) struct Shared {
    pub(crate) sources: watch::Receiver<Arc<Sources>>,
    pub(crate) bodies: Arc<Bodies>,
    pub(crate) receipts: Receipts,
    pub(crate) submitter: Submitter,
    pub(crate) deadline: std::time::Duration,
    pub(crate) metrics: Metrics,
    /// Requests under way hold a token of it.
    pub(crate) under_way: TaskTracker,
    /// New requests are refused.
    pub(crate) draining: CancellationToken,
    /// Those under way are, too: their time to finish is over.
    pub(crate) closing: CancellationToken,
}

/// Answers a request at a source's path.
pub(crate) async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, true).await
}

/// Answers a request at any other path. Never with a redirect: Segment would follow it with a GET
/// without body.
pub(crate) async fn elsewhere(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    answer(&shared, request, false).await
}

async fn answer(shared: &Shared, request: Request, path_known: bool) -> Response {
    let _under_way = (shared.under_way.token(), shared.metrics.under_way());
    let (head, mut body) = request.into_parts();
    let reply = if shared.draining.is_cancelled() {
        Reply::Draining
    } else if path_known {
        tokio::select! {
            biased;
            steps = steps(shared, &head, &mut body) => steps.unwrap_or_else(|reply| reply),
            () = shared.closing.cancelled() => Reply::Draining,
        }
    } else {
        Reply::PathUnknown
    };
    // A sender that asks before it sends has not sent anything yet.
    if !reply.closes() && !body.is_end_stream() && !head.headers.contains_key(header::EXPECT) {
        tokio::select! {
            () = shared.bodies.discard(&mut body) => {}
            () = shared.closing.cancelled() => {}
        }
    }
    shared.metrics.answered(reply);
    let mut response = reply.into_response();
    if shared.draining.is_cancelled() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn steps(shared: &Shared, head: &Parts, body: &mut Body) -> Result<Reply, Reply> {
    let arrived = tokio::time::Instant::now();
    check_head(shared, head, body)?;
    let HeldBody { bytes, claim } = shared.bodies.read(body).await?;
    shared.metrics.received(bytes.len());
    let id = source_id(head.uri.path())?;
    let source = shared.sources.borrow().find(&id)?;
    source.is_open()?;
    let request = received(&source, &head.headers, bytes);
    let (request, claim) = verify(shared, &id, &source, request, claim).await?;
    source.admit(request.len(), Instant::now())?;
    if request.is_empty() {
        return Ok(Reply::Accepted { accepted: 0, duplicate: 0 });
    }
    let posted = Posted {
        headers: headers::kept(&head.headers, source.required_header()),
        receipts: shared.receipts.reserve(request.len()),
        source: id,
        request,
        _claim: claim,
    };
    let started = tokio::time::Instant::now();
    // A body that took its time still gets a chance.
    let deadline = (arrived + shared.deadline).max(started + shared.deadline / 4);
    let Tally { accepted, duplicate } = shared.submitter.submit(posted, deadline).await?;
    shared.metrics.submitted(started.elapsed().as_secs_f64());
    Ok(Reply::Accepted { accepted, duplicate })
}

fn check_head(shared: &Shared, head: &Parts, body: &Body) -> Result<(), Reply> {
    if !matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        return Err(Reply::MethodNotAllowed);
    }
    if !headers::is_identity(&head.headers) {
        return Err(Reply::ContentEncoding);
    }
    if shared.bodies.is_too_large(body) {
        return Err(Reply::BodyTooLarge);
    }
    Ok(())
}

/// What is no valid name can be no source, now or later.
fn source_id(path: &str) -> Result<SourceId, Reply> {
    path.strip_prefix(PREFIX).and_then(|path| path.parse().ok()).ok_or(Reply::SourceUnknown)
}

fn received(source: &LiveSource, headers: &HeaderMap, body: Bytes) -> ReceivedRequest {
    let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let request = ReceivedRequest::new(body, SignatureHeader::read(values(headers::SIGNATURE)));
    match source.required_header() {
        Some(name) => request.with_token(values(name)),
        None => request,
    }
}

async fn verify(
    shared: &Shared,
    id: &SourceId,
    source: &Arc<LiveSource>,
    request: ReceivedRequest,
    claim: Claim,
) -> Result<(VerifiedRequest, Claim), Reply> {
    let (verified, claim) = if request.body_len() <= VERIFIED_ASIDE {
        (source.verify(request, Instant::now()), claim)
    } else {
        let source = Arc::clone(source);
        // The claim goes along: the bytes are in memory even when the sender has left.
        tokio::task::spawn_blocking(move || (source.verify(request, Instant::now()), claim))
            .await
            // Only when the runtime ends.
            .map_err(|_cancelled| Reply::Draining)?
    };
    let refused = |NotVerified { reply, refusal, hint }| {
        shared.metrics.refused(refusal, hint);
        // At most one a second and source.
        if let Some(hint) = hint {
            tracing::warn!(source = %id, "refused: {}", hint.meaning());
        }
        reply
    };
    verified.map(|request| (request, claim)).map_err(refused)
}
