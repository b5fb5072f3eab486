//! `events tail`: the log as it grows.

use clap::Args as ClapArgs;
use segment_source_proto::admin::v1::TailEventsRequest;

use crate::{
    args::Output,
    cli::{
        client::{AtSource, explain},
        print,
        view::EventView,
    },
};

/// Flags of `events tail`.
#[derive(Debug, ClapArgs)]
pub struct Tail {
    #[command(flatten)]
    at: AtSource,
}

pub(super) async fn run(args: Tail, output: Output) -> anyhow::Result<()> {
    let source = args.at.source().await?;
    let mut admin = args.at.server.admin().await?;
    let request = TailEventsRequest {
        namespace: source.namespace().to_owned(),
        name: source.name().to_owned(),
    };
    let mut responses = admin.tail_events(request).await.map_err(explain)?.into_inner();
    while let Some(response) = responses.message().await.map_err(explain)? {
        let event = EventView::from(response.event.unwrap_or_default());
        match output {
            Output::Json => print::json(&event)?,
            Output::Text => print::line(&print::table(&[], [super::row(&event)]))?,
        }
    }
    Ok(())
}
