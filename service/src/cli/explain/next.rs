//! What to do about an event, with the command. Pure.

use jiff::{SignedDuration, Timestamp};

use super::{DestinationFacts, Facts};
use crate::cli::{
    client::Server,
    typed::Line,
    view::{ActionView, EventDetail},
};

/// One line for each thing; at least one. Commands go to `server`.
pub(super) fn steps(facts: &Facts, server: &Server) -> Vec<String> {
    // The first is the one that runs; repeats only refer to it.
    let Some(event) = facts.events.first() else { return Vec::new() };
    let source = &event.source;
    let mut steps = Vec::new();
    if !event.event.duplicate_of.is_empty() {
        let original = &event.event.duplicate_of;
        let explain = Line::new("explain").flag("source", Some(source)).to(server).word(original);
        steps.push(format!("  See the original: {explain}"));
    } else if !event.event.unmappable.is_empty() {
        steps.push(
            "  Nothing runs for it. Correct what sends it, or `eventTypePath` of the source"
                .to_owned(),
        );
    } else if event.planned_generation.is_none() {
        steps.push(waiting(facts, source));
    } else if event.actions.is_empty() {
        steps.push(format!(
            "  Nothing runs for it. If something should, give the source a mapping for {}, then: {}",
            event.event.event_type,
            replay(event, false, server)
        ));
    }
    for action in &event.actions {
        let step = of_action(action, event, facts, server);
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps
}

fn waiting(facts: &Facts, source: &str) -> String {
    match &facts.source {
        None => format!("  Its actions are made once {source} is loaded again; it is not now"),
        Some(it) if it.delivery_suspended => {
            format!("  Its actions are made once `suspend: Delivery` is taken out of {source}")
        }
        Some(_) => "  Its actions are being made; look again in a moment".to_owned(),
    }
}

fn of_action(action: &ActionView, event: &EventDetail, facts: &Facts, server: &Server) -> String {
    let source = &event.source;
    let to = &action.destination;
    let mut destinations = facts.source.iter().flat_map(|it| &it.destinations);
    let destination = destinations.find(|it| it.name == *to);
    match action.state.as_str() {
        "delivered" => {
            format!("  Nothing. To run it once more: {}", replay(event, false, server))
        }
        "dead" => format!("  Mend the cause, then: {}", replay(event, true, server)),
        "failed" => format!(
            "  Correct mapping {} or what is sent, then: {}",
            action.mapping,
            replay(event, true, server)
        ),
        _ if facts.source.as_ref().is_some_and(|it| it.delivery_suspended) => {
            format!("  It goes on once `suspend: Delivery` is taken out of {source}")
        }
        _ => pending(action, source, destination, server),
    }
}

fn pending(
    action: &ActionView,
    source: &str,
    to: Option<&DestinationFacts>,
    server: &Server,
) -> String {
    let name = &action.destination;
    match to {
        None => format!(
            "  Destination {name} is no longer in {source}; put it back to have it delivered"
        ),
        Some(to) if to.unresolved => {
            format!("  Destination {name} waits for a Secret; see the status of {source}")
        }
        Some(to) if to.held.is_some() => format!(
            "  Destination {name} is held ({}). To end that: {}",
            to.held.as_deref().unwrap_or_default(),
            Line::new("destinations release").to(server).word(format!("{source}/{name}"))
        ),
        Some(to) if to.kind == "queue" && action.state == "pending" => format!(
            "  A consumer has to take it: {}",
            Line::new("actions pull")
                .flag("source", Some(source))
                .flag("destination", Some(name))
                .to(server)
        ),
        Some(to) if to.kind == "queue" => "  A consumer has it, and has not settled it".to_owned(),
        Some(_) if !action.not_before.is_empty() => {
            format!("  It is attempted again at {}", action.not_before)
        }
        Some(_) => "  It is on its way; look again in a moment".to_owned(),
    }
}

/// The command that runs this event alone again. One without a key is found by its time.
fn replay(event: &EventDetail, dead: bool, server: &Server) -> Line {
    let line = Line::new("replay").switch("dead", dead).flag("source", Some(&event.source));
    let line = match (event.event.key.as_str(), event.event.accepted.parse::<Timestamp>()) {
        ("", Ok(time)) => line
            .flag("since", Some(time))
            .flag("until", time.checked_add(SignedDuration::from_millis(1)).ok()),
        (key, _) => line.flag("key", Some(key)),
    };
    line.to(server)
}
