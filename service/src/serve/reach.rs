//! Whether one ingest can be reached and is ready, as its health service says.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::stream::{Stream, unfold};
use segment_source_runtime::net::innermost;
use tokio::time::sleep;
use tonic::{Status, Streaming, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

/// Pauses before asking an ingest again that could not be reached. The first is short: where only a
/// connection was lost, the next one is there at once.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is known of an ingest. The texts go on after "the ingest at ADDRESS".
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Ready,
    NotReady(String),
}

/// What the health of an ingest is, each time it is heard of, for ever.
pub(crate) fn health(channel: Channel) -> impl Stream<Item = Health> + Send {
    let asking = Asking {
        client: HealthClient::new(channel),
        watch: None,
        pauses: pauses(),
        pause: Duration::ZERO,
    };
    unfold(asking, |mut asking| async move { Some((asking.next().await, asking)) })
}

struct Asking {
    client: HealthClient<Channel>,
    /// While it can be reached.
    watch: Option<Streaming<HealthCheckResponse>>,
    pauses: ExponentialBackoff,
    /// Before it is asked again.
    pause: Duration,
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Asking {
    async fn next(&mut self) -> Health {
        let heard = self.hear().await;
        match heard {
            Ok(ServingStatus::Serving) => {
                self.pauses = pauses();
                Health::Ready
            }
            Ok(_) => Health::NotReady("is not ready".to_owned()),
            Err(why) => {
                self.watch = None;
                self.pause = self.pauses.next().unwrap_or(LONGEST_PAUSE);
                Health::NotReady(why)
            }
        }
    }

    /// The next word of a watch, which is opened where there is none.
    async fn hear(&mut self) -> Result<ServingStatus, String> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            None => {
                sleep(self.pause).await;
                let request = HealthCheckRequest { service: String::new() };
                let opened = self.client.watch(request).await;
                let opened =
                    opened.map_err(|status| format!("could not be reached: {}", words(&status)))?;
                self.watch.insert(opened.into_inner())
            }
        };
        match watch.message().await {
            Ok(Some(response)) => Ok(response.status()),
            Ok(None) => Err("is shutting down".to_owned()),
            Err(status) => Err(format!("cannot be reached any more: {}", words(&status))),
        }
    }
}

/// Why a call failed. A status itself prints the whole chain as its types.
fn words(status: &Status) -> String {
    match (std::error::Error::source(status), status.message()) {
        (Some(cause), _) => innermost(cause),
        (None, "") => status.code().to_string(),
        (None, message) => message.to_owned(),
    }
}
