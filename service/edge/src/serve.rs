//! Connections: accepting, bounding and draining them. What happens to a request is in `receive`.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, routing::any};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

use crate::{
    Peers, Settings, Sources,
    body::Bodies,
    line::Line,
    link::Bounds,
    metrics::Metrics,
    pool::Pool,
    posted::Receipts,
    receive::{self, Shared},
    submit::Submitter,
};

/// How much of a head is read before it must be complete: a head of this size passes, one of twice
/// the size never does. It bounds the headers kept with each event.
const HEAD_BYTES: usize = 32 << 10;
/// How long to leave the listener alone when no connection can be accepted (no file descriptors).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After the last request: time to write its answer, and to refuse what still comes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The HTTP side of the program.
#[derive(Debug)]
pub struct Edge {
    settings: Settings,
    sources: watch::Receiver<Arc<Sources>>,
    peers: watch::Receiver<Peers>,
    bodies: Arc<Bodies>,
    metrics: Metrics,
}

impl Edge {
    /// An edge that serves `sources` and submits to whichever of `peers` answers.
    #[must_use]
    pub fn new(
        settings: Settings,
        sources: watch::Receiver<Arc<Sources>>,
        peers: watch::Receiver<Peers>,
        registry: &mut Registry,
    ) -> Self {
        let bodies = Arc::new(Bodies::new(&settings));
        let metrics = Metrics::new(registry, &bodies);
        Self { settings, sources, peers, bodies, metrics }
    }

    /// Serves until `shutdown` is cancelled. Then it stops accepting, answers new requests on open
    /// connections with 503, lets requests under way finish for `settings.drain`, answers the rest
    /// with 503 and returns.
    ///
    /// # Errors
    /// When the system has no random numbers, or a part of the edge ended by itself.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> io::Result<()> {
        let line = Arc::<Line>::default();
        let bounds = Bounds {
            batches_in_flight: self.settings.batches_in_flight.max(1),
            patience: self.settings.deadline,
        };
        let pool = Pool::new(self.peers, Arc::clone(&line), bounds, self.metrics.clone());
        let (closing, ending) = (CancellationToken::new(), CancellationToken::new());
        let under_way = TaskTracker::new();
        let shared = Arc::new(Shared {
            sources: self.sources,
            bodies: self.bodies,
            receipts: Receipts::new().map_err(io::Error::other)?,
            submitter: Submitter::new(line),
            deadline: self.settings.deadline,
            metrics: self.metrics,
            under_way: under_way.clone(),
            draining: shutdown.clone(),
            closing: closing.clone(),
        });
        let router = Router::new()
            .route(receive::ROUTE, any(receive::receive))
            .fallback(receive::elsewhere)
            .with_state(shared);
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.settings.head_timeout)
            .max_buf_size(HEAD_BYTES);

        let slots = Arc::new(Semaphore::new(self.settings.connections));
        // Dropping these ends what they own.
        let mut connections = JoinSet::new();
        let mut pool = AbortOnDropHandle::new(tokio::spawn(pool.run()));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                ended = &mut pool => {
                    return Err(io::Error::other(format!("a link to ingest ended: {ended:?}")));
                }
                Some(_ended) = connections.join_next() => {}
                (stream, slot) = accept(&listener, &slots) => {
                    let connection = Connection { stream, slot, ending: ending.clone() };
                    connections.spawn(connection.serve(http.clone(), router.clone()));
                }
            }
        }
        drop(listener);
        under_way.close();
        if timeout(self.settings.drain, under_way.wait()).await.is_err() {
            tracing::warn!(requests = under_way.len(), "requests cut off at shutdown");
            closing.cancel();
        }
        // Idle connections end now; until here what came on them was answered.
        ending.cancel();
        let all_ended = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(LAST_WORDS, all_ended).await;
        Ok(())
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // Never closed, so there always is a permit in the end.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    slot: Option<OwnedSemaphorePermit>,
    ending: CancellationToken,
}

impl Connection {
    async fn serve(self, http: http1::Builder, router: Router) {
        let Self { stream, slot: _slot, ending } = self;
        // Answers are one small packet: waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let service = TowerToHyperService::new(router);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
