//! What to do about an event, with the command. Pure.

use jiff::{SignedDuration, Timestamp};

use super::{DestinationFacts, Facts};
use crate::cli::view::{ActionView, EventDetail};

/// One line for each thing; at least one.
pub(super) fn steps(facts: &Facts) -> Vec<String> {
    // The first is the one that runs; repeats only refer to it.
    let Some(event) = facts.events.first() else { return Vec::new() };
    let source = &event.source;
    let mut steps = Vec::new();
    if !event.event.duplicate_of.is_empty() {
        let original = &event.event.duplicate_of;
        steps.push(format!(
            "  See the original: segment-source explain --source {source} {original}"
        ));
    } else if !event.event.unmappable.is_empty() {
        steps.push(
            "  Nothing runs for it. Correct what sends it, or `eventTypePath` of the source"
                .to_owned(),
        );
    } else if event.planned_generation.is_none() {
        steps.push(waiting(facts, source));
    } else if event.actions.is_empty() {
        steps.push(format!(
            "  Nothing runs for it. If something should, give the source a mapping for {}, then: \
             segment-source replay --source {source} {}",
            event.event.event_type,
            only(event)
        ));
    }
    for action in &event.actions {
        let step = of_action(action, event, facts);
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

fn of_action(action: &ActionView, event: &EventDetail, facts: &Facts) -> String {
    let (source, only) = (&event.source, only(event));
    let to = &action.destination;
    let mut destinations = facts.source.iter().flat_map(|it| &it.destinations);
    let destination = destinations.find(|it| it.name == *to);
    match action.state.as_str() {
        "delivered" => {
            format!(
                "  Nothing. To run it once more: segment-source replay --source {source} {only}"
            )
        }
        "dead" => {
            format!("  Mend the cause, then: segment-source replay --dead --source {source} {only}")
        }
        "failed" => format!(
            "  Correct mapping {} or what is sent, then: segment-source replay --dead --source \
             {source} {only}",
            action.mapping
        ),
        _ if facts.source.as_ref().is_some_and(|it| it.delivery_suspended) => {
            format!("  It goes on once `suspend: Delivery` is taken out of {source}")
        }
        _ => pending(action, source, destination),
    }
}

fn pending(action: &ActionView, source: &str, to: Option<&DestinationFacts>) -> String {
    let name = &action.destination;
    match to {
        None => format!(
            "  Destination {name} is no longer in {source}; put it back to have it delivered"
        ),
        Some(to) if to.unresolved => {
            format!("  Destination {name} waits for a Secret; see the status of {source}")
        }
        Some(to) if to.held.is_some() => format!(
            "  Destination {name} is held ({}). Then: segment-source destinations release \
             {source}/{name}",
            to.held.as_deref().unwrap_or_default()
        ),
        Some(to) if to.kind == "queue" && action.state == "pending" => format!(
            "  A consumer has to take it: segment-source actions pull --source {source} \
             --destination {name}"
        ),
        Some(to) if to.kind == "queue" => "  A consumer has it, and has not settled it".to_owned(),
        Some(_) if !action.not_before.is_empty() => {
            format!("  It is attempted again at {}", action.not_before)
        }
        Some(_) => "  It is on its way; look again in a moment".to_owned(),
    }
}

/// The flags that choose this event alone. One without a key is found by its time.
fn only(event: &EventDetail) -> String {
    let time = || event.event.accepted.parse::<Timestamp>().ok();
    match (event.event.key.as_str(), time()) {
        ("", Some(time)) => match time.checked_add(SignedDuration::from_millis(1)) {
            Ok(until) => format!("--since {time} --until {until}"),
            Err(_) => format!("--since {time}"),
        },
        (key, _) => format!("--key {}", word(key)),
    }
}

/// As one word of a shell.
fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
