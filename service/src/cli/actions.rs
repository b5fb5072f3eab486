//! `actions`: reads actions from a queue destination, as a consumer would.

use std::{process::ExitCode, time::Duration};

use anyhow::anyhow;
use bytes::Bytes;
use clap::{Args as ClapArgs, Subcommand};
use prost_types::Duration as WireDuration;
use segment_source_proto::queue::v1::{
    Ack, Delivery, PullRequest, QueueName, Retry, SettleRequest, Settlement,
    queue_client::QueueClient, settlement, settlement_result::Status,
};
use serde::Serialize;

use super::{
    client::{AtSource, Connection, explain},
    directory::EntityView,
    print,
    view::{self, Json},
};
use segment_source_runtime::net::parse_duration;

use crate::args::Output;

/// What to do with actions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Takes actions and prints them. With --ack they are done for good; without, they are put
    /// back (which counts as an attempt), and at most one of each user is shown.
    Pull(Pull),
}

/// Flags of `actions pull`.
#[derive(Debug, ClapArgs)]
pub struct Pull {
    #[command(flatten)]
    at: AtSource,
    /// Name of the queue destination.
    #[arg(long, value_name = "NAME", default_value = "default")]
    destination: String,
    /// How many at the most.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max: u32,
    /// Settles them as done.
    #[arg(long)]
    ack: bool,
    /// Shows what the directory of the source knows of the recipients.
    #[arg(long)]
    expand: bool,
    /// How long to wait when nothing is ready, at most 60s.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    wait: Duration,
}

/// An action as it is printed.
#[derive(Debug, Serialize)]
struct Pulled {
    action_id: String,
    event_id: String,
    event_type: String,
    mapping: String,
    action_type: String,
    attempt: u32,
    idempotency_key: String,
    accepted: String,
    settled: &'static str,
    payload: Json,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recipients: Vec<EntityView>,
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, or does not know the queue.
pub async fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    let Command::Pull(args) = command;
    let source = args.at.source().await?;
    let mut queue = args.at.server.queue().await?;
    let name = QueueName {
        namespace: source.namespace().to_owned(),
        name: source.name().to_owned(),
        destination: args.destination.clone(),
    };
    let mut wait = args.wait;
    let mut shown = 0;
    while shown < args.max {
        let request = PullRequest {
            queue: Some(name.clone()),
            max_actions: args.max - shown,
            lease: None,
            wait: Some(wire(wait)),
            expand_recipients: args.expand,
            consumer: "segment-source actions pull".to_owned(),
        };
        let deliveries = queue.pull(request).await.map_err(explain)?.into_inner().deliveries;
        if deliveries.is_empty() {
            break;
        }
        shown += u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        let tokens = deliveries.iter().map(|delivery| delivery.token.clone()).collect();
        // Printed first: what a reader has not seen must not be gone.
        let settled = if args.ack { "acked" } else { "put back" };
        for delivery in deliveries {
            show(delivery, settled, output)?;
        }
        settle(&mut queue, tokens, args.ack).await?;
        // A lane gives its next action only when the one before is settled for good.
        if !args.ack {
            break;
        }
        wait = Duration::ZERO;
    }
    if shown == 0 && output == Output::Text {
        print::line(&format!("nothing is ready in queue `{}` of {source}", args.destination))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn wire(duration: Duration) -> WireDuration {
    WireDuration::try_from(duration).unwrap_or_default()
}

fn show(delivery: Delivery, settled: &'static str, output: Output) -> anyhow::Result<()> {
    let pulled = Pulled {
        accepted: view::time(delivery.accepted.as_ref()),
        payload: Json::new(&delivery.payload_json),
        action_id: delivery.action_id,
        event_id: delivery.event_id,
        event_type: delivery.event_type,
        mapping: delivery.mapping,
        action_type: delivery.action_type,
        attempt: delivery.attempt,
        idempotency_key: delivery.idempotency_key,
        settled,
        recipients: delivery.recipients.into_iter().map(EntityView::new).collect(),
    };
    match output {
        Output::Json => print::json(&pulled)?,
        Output::Text => {
            let attempt = pulled.attempt.to_string();
            let rows = [
                ("action", &pulled.action_id),
                ("type", &pulled.action_type),
                ("mapping", &pulled.mapping),
                ("event", &pulled.event_id),
                ("event type", &pulled.event_type),
                ("accepted", &pulled.accepted),
                ("attempt", &attempt),
                ("idempotency key", &pulled.idempotency_key),
            ];
            let rows = rows.map(|(name, value)| vec![name.to_owned(), value.clone()]);
            print::line(&print::table(&[], rows))?;
            print::line(&format!("payload          {}", print::one_line(pulled.payload.text())))?;
            for recipient in &pulled.recipients {
                print::line(&format!("recipient        {}", recipient.line()))?;
            }
            print::line(&format!("{settled}\n"))?;
        }
    }
    Ok(())
}

pub(super) async fn settle(
    queue: &mut QueueClient<Connection>,
    tokens: Vec<Bytes>,
    ack: bool,
) -> anyhow::Result<()> {
    let outcome = || match ack {
        true => settlement::Outcome::Ack(Ack {}),
        false => settlement::Outcome::Retry(Retry {
            delay: Some(WireDuration::default()),
            reason: "looked at with `actions pull`".to_owned(),
        }),
    };
    let settlements =
        (tokens.into_iter()).map(|token| Settlement { token, outcome: Some(outcome()) }).collect();
    let answer = queue.settle(SettleRequest { settlements }).await.map_err(explain)?;
    let failed = |result: &&_| {
        let result: &segment_source_proto::queue::v1::SettlementResult = result;
        result.status() != Status::Settled
    };
    match answer.into_inner().results.iter().find(failed) {
        None => Ok(()),
        Some(result) => Err(anyhow!(
            "an action was shown but not settled: {}; it will be delivered again",
            result.message
        )),
    }
}
