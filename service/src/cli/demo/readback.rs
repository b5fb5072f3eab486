//! What services see of the demo's events: the profile that the directory has now, and the workflow
//! action that waits in the queue, with what is known of its recipient.

use std::time::Duration;

use segment_source_core::source::SourceId;
use segment_source_proto::{
    directory::v1::{Key, Kind},
    queue::v1::{PullRequest, QueueName},
};
use serde::Serialize;

use super::story::USER;
use crate::cli::{
    actions,
    client::{Server, explain},
    directory::{self, EntityView},
    print,
    view::Json,
};

/// Read over gRPC.
#[derive(Debug, Serialize)]
pub(super) struct Readback {
    /// Of the demo's user.
    profile: Option<EntityView>,
    /// The next in the default queue.
    action: Option<Waiting>,
}

#[derive(Debug, Serialize)]
struct Waiting {
    action_type: String,
    mapping: String,
    payload: Json,
    recipients: Vec<EntityView>,
}

/// Reads both; what people made of the example source may leave nothing to read.
///
/// # Errors
/// When a call fails that must not.
pub(super) async fn read(server: &Server, source: &SourceId) -> anyhow::Result<Readback> {
    let user = Key { kind: Kind::User.into(), id: USER.to_owned(), ..Key::default() };
    let profile = directory::entity(&mut server.directory().await?, source, user).await.ok();
    Ok(Readback { profile, action: waiting(server, source).await? })
}

/// The next action of the queue; it is put back.
async fn waiting(server: &Server, source: &SourceId) -> anyhow::Result<Option<Waiting>> {
    let mut queue = server.queue().await?;
    let request = PullRequest {
        queue: Some(QueueName {
            namespace: source.namespace().to_owned(),
            name: source.name().to_owned(),
            destination: "default".to_owned(),
        }),
        max_actions: 1,
        lease: None,
        wait: prost_types::Duration::try_from(Duration::from_secs(1)).ok(),
        consumer: "segment-source demo".to_owned(),
        expand_recipients: true,
    };
    let pulled = queue.pull(request).await.map_err(explain)?.into_inner();
    let Some(delivery) = pulled.deliveries.into_iter().next() else { return Ok(None) };
    actions::settle(&mut queue, vec![delivery.token], false).await?;
    Ok(Some(Waiting {
        action_type: delivery.action_type,
        mapping: delivery.mapping,
        payload: Json::new(&delivery.payload_json),
        recipients: delivery.recipients.into_iter().map(EntityView::new).collect(),
    }))
}

impl Readback {
    /// A line for each, and one for each recipient.
    pub(super) fn table(&self) -> String {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push(vec![format!("  {name}"), value]);
        match &self.profile {
            Some(profile) => row("profile", profile.line()),
            None => row("profile", "none: no action keeps one in the directory".to_owned()),
        }
        match &self.action {
            Some(action) => {
                let payload = print::one_line(action.payload.text());
                row("action", format!("{}  {payload}", action.action_type));
                for recipient in &action.recipients {
                    row("recipient", recipient.line());
                }
            }
            None => row("action", "none waits in the default queue".to_owned()),
        }
        print::table(&[], rows)
    }
}
