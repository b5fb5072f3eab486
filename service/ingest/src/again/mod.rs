//! What runs again: failed and dead actions ([`revivals`], for repeats of an event and for replays of
//! dead letters), and whole events under the configuration of now ([`replay`]). When an event runs
//! first is the planner's business.

pub(crate) mod replay;

use segment_source_store::{ActionState, ActionStatus, LogEntry, NewAction, Revival};

use crate::{Source, plan::render};

/// The failed and dead actions of an event that are `wanted`, as they run again: the dead with
/// their stored bytes, the failed rendered by the configuration of now. A failed one stays failed
/// when its mapping is gone, makes nothing of the event any more, or fails again; either stays what
/// it is when its destination is gone, for then nobody would ever do it.
pub(crate) fn revivals(
    source: &Source,
    entry: &LogEntry,
    wanted: impl Fn(&ActionStatus) -> bool,
) -> Vec<Revival> {
    let mut again: Vec<&ActionStatus> = entry.actions.iter().filter(|it| wanted(it)).collect();
    again.retain(|it| matches!(it.state, ActionState::Failed | ActionState::Dead));
    again.retain(|it| source.destinations().any(|name| name == it.action.destination));
    let failed = again.iter().any(|it| it.state == ActionState::Failed);
    let rendered = match failed {
        true => render(source, entry.id, &entry.event).actions,
        false => Vec::new(),
    };
    let revival = |status: &ActionStatus| match status.state {
        ActionState::Dead => Some(Revival { action: status.id, payload: None }),
        _ => {
            let same = |it: &&NewAction| {
                it.mapping == status.action.mapping && it.action_type == status.action.action_type
            };
            let payload = rendered.iter().find(same)?.rendered.as_ref().ok()?;
            Some(Revival { action: status.id, payload: Some(payload.clone()) })
        }
    };
    again.into_iter().filter_map(revival).collect()
}
