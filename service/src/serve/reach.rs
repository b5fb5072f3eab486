//! Whether the ingest of an edge can be reached and is ready, as its health service says.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tracing::{debug, info};

use segment_source_runtime::health::Latch;

/// Pause before asking an ingest again that could not be reached.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps the latch as the ingest's health is, until `stop`.
pub(crate) async fn follow(channel: Channel, latch: Latch, stop: CancellationToken) {
    let mut reached = false;
    let mut tell = |now: bool| {
        latch.set(now);
        if now != reached {
            info!(reachable = now, "ingest");
        }
        reached = now;
    };
    let follow = async {
        loop {
            if let Err(status) = watch(&channel, &mut tell).await {
                debug!("ingest cannot be reached: {}", status.message());
            }
            tell(false);
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

/// One watch, until it breaks or the ingest ends it.
async fn watch(channel: &Channel, tell: &mut impl FnMut(bool)) -> Result<(), tonic::Status> {
    let mut client = HealthClient::new(channel.clone());
    let mut statuses =
        client.watch(HealthCheckRequest { service: String::new() }).await?.into_inner();
    while let Some(response) = statuses.message().await? {
        tell(response.status() == ServingStatus::Serving);
    }
    Ok(())
}
