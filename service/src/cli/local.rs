//! A source taken from a folder of manifests, for commands that need no server.

use std::{path::Path, sync::Arc};

use anyhow::bail;
use segment_source_core::source::SourceId;
use segment_source_proto::config::v1::Source;

use crate::config::{self, State};

/// The compiled source.
///
/// # Errors
/// When it is not there or not right, with what is.
pub(crate) fn source(folder: &Path, id: &SourceId) -> anyhow::Result<Arc<Source>> {
    let (snapshot, findings) = config::read(folder);
    match snapshot.sources.get(id) {
        Some(State::Loaded(source)) => return Ok(source.clone()),
        Some(State::NotLoaded { reason }) => {
            bail!("{id} in {} cannot be used: {reason}", folder.display())
        }
        Some(State::RecentlyRemoved) | None => {}
    }
    let names: Vec<String> = snapshot.sources.keys().map(ToString::to_string).collect();
    let there = match names.is_empty() {
        true => "it has no source".to_owned(),
        false => format!("it has {}", names.join(", ")),
    };
    let findings: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    bail!("there is no source {id} in {}: {there}{findings}", folder.display())
}
