//! `events tail`: the log as it grows.

use clap::Args as ClapArgs;
use segment_source_core::source::SourceId;
use segment_source_proto::admin::v1::TailEventsRequest;

use crate::{
    args::Output,
    cli::{
        client::{self, Server, explain},
        print,
        view::EventView,
    },
};

/// Flags of `events tail`.
#[derive(Debug, ClapArgs)]
pub struct Tail {
    #[command(flatten)]
    server: Server,
    /// The source; may be left out when the server has one only.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    source: Option<SourceId>,
}

pub(super) async fn run(args: Tail, output: Output) -> anyhow::Result<()> {
    let source = client::named_or_only(args.source, &args.server).await?;
    let mut admin = args.server.admin().await?;
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
