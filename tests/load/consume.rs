//! Reads and acks actions over a stream of the Queue service: those that the load before has made,
//! or those that a load makes meanwhile.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use segment_source_proto::queue::v1::{
    AddCredits, ConsumeRequest, Start, consume_request::Request, consume_response::Response,
    settlement_result::Status,
};
use segment_source_tests::{
    read::{ack, queue_name},
    server::Server,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::run::Measured;

const CREDITS: u32 = 1000;
/// A queue that gives nothing for so long is empty.
const EMPTY: Duration = Duration::from_millis(500);

/// Consumes the default queue of a source until so many were acked (then it is not asked whether
/// the queue is empty), or the queue is empty, or time is up. Latency is that of the ack.
pub(crate) async fn run(
    server: &Server,
    source: &str,
    seconds: u64,
    wanted: Option<&AtomicU64>,
) -> anyhow::Result<Measured> {
    let (requests, stream) = mpsc::channel(2 * CREDITS as usize + 2);
    let send =
        async |request: Request| requests.send(ConsumeRequest { request: Some(request) }).await;
    let start = Start {
        queue: Some(queue_name(source)),
        credits: CREDITS,
        lease: None,
        consumer: "benchmark".into(),
        expand_recipients: false,
    };
    send(Request::Start(start)).await?;
    let mut queue = server.queue().await;
    let mut responses = queue.consume(ReceiverStream::new(stream)).await?.into_inner();
    let mut measured = Measured::new()?;
    let mut sent = std::collections::HashMap::new();
    let mut used = 0;
    let (begin, mut last) = (Instant::now(), Instant::now());
    let all = |count| wanted.is_some_and(|wanted| count >= wanted.load(Ordering::Relaxed));
    while begin.elapsed() < Duration::from_secs(seconds) && !all(measured.count) {
        let message = match timeout(EMPTY, responses.message()).await {
            Ok(message) => message,
            Err(_) if wanted.is_some() => continue,
            Err(_) => break,
        };
        let Some(message) = message? else { anyhow::bail!("the stream ended") };
        match message.response {
            Some(Response::Delivery(delivery)) => {
                sent.insert(delivery.token.clone(), Instant::now());
                send(Request::Settlement(ack(&delivery))).await?;
                used += 1;
                if used == CREDITS / 4 {
                    send(Request::AddCredits(AddCredits { credits: used })).await?;
                    used = 0;
                }
            }
            Some(Response::Settled(result)) => {
                last = Instant::now();
                if let Some(since) = sent.remove(&result.token) {
                    measured.record(since, result.status() == Status::Settled, 1);
                }
            }
            None => {}
        }
    }
    measured.elapsed = last - begin;
    Ok(measured)
}
