//! The story of an event in plain words. Pure; what to do next is in `next`.

use super::{Facts, next};
use crate::cli::{
    client::Server,
    print,
    view::{ActionView, EventDetail},
};

/// Of the event first, then of its repeats.
pub(super) fn tell(facts: &Facts, server: &Server) -> String {
    let mut parts: Vec<String> = facts.events.iter().map(|event| one(event, facts)).collect();
    parts.push(format!("NEXT\n{}", next::steps(facts, server).join("\n")));
    parts.join("\n\n")
}

fn one(event: &EventDetail, facts: &Facts) -> String {
    let summary = &event.event;
    let user = match summary.order_key.as_str() {
        "" => "of nobody in particular".to_owned(),
        user => format!("of {user}"),
    };
    let rows = [
        ("accepted", format!("{} by {}", summary.accepted, event.source)),
        (
            "is",
            match summary.event_type.as_str() {
                "" => format!("nothing that can be mapped: {}", summary.unmappable),
                event_type => format!("{event_type} {user}"),
            },
        ),
        ("signature", signature(event)),
        ("repeats", repeats(event)),
    ];
    let rows = rows.map(|(name, value)| vec![format!("  {name}"), value]);
    let mut text = format!("EVENT {}\n{}", summary.event_id, print::table(&[], rows));
    if let Some(mappings) = mappings(event, facts) {
        text += &format!("\n\n{mappings}");
    }
    for action in &event.actions {
        text += &format!("\n\n{}", self::action(action, facts));
    }
    text
}

fn signature(event: &EventDetail) -> String {
    match event.verdict.as_str() {
        "verified_body" => "right, made over the whole body".to_owned(),
        "verified_first_element" if event.covered => {
            "right, made over this event, the first of its batch".to_owned()
        }
        "verified_first_element" => format!(
            "right for the first event of its batch; this is number {}, which Segment does not sign",
            event.element + 1
        ),
        "observed_missing" => "missing; accepted because verification only observes".to_owned(),
        "observed_mismatch" => "wrong; accepted because verification only observes".to_owned(),
        "observed_no_secret" => {
            "not checked: there was no secret, and verification only observes".to_owned()
        }
        "internal" => "none: a client submitted it over gRPC with a token".to_owned(),
        other => other.replace('_', " "),
    }
}

fn repeats(event: &EventDetail) -> String {
    match (event.event.duplicate_of.as_str(), event.event.key.as_str()) {
        ("", "") => "cannot be told, it has no messageId".to_owned(),
        ("", key) => format!("nothing: the first with the messageId {key} within the window"),
        (original, _) => format!("{original}, so its mappings were not run again"),
    }
}

/// Each mapping, and what came of it.
fn mappings(event: &EventDetail, facts: &Facts) -> Option<String> {
    let generation = event.planned_generation?;
    let mut rows = Vec::new();
    for action in event.actions.iter().filter(|action| action.run == 0) {
        rows.push(vec![format!("  {}", action.mapping), "made an action".to_owned()]);
    }
    for note in &event.notes {
        rows.push(vec![format!("  {}", note.subject), note.message.clone()]);
    }
    // What the plan does not speak of was for other events, or was not there.
    let told = |name: &str| {
        event.actions.iter().any(|action| action.mapping == name)
            || event.notes.iter().any(|note| note.subject == name)
    };
    let now = facts.source.as_ref().map(|source| source.generation);
    for mapping in facts.rehearsal.iter().flat_map(|it| &it.mappings) {
        if told(&mapping.mapping) {
            continue;
        }
        let said = match (mapping.matched, now == Some(generation)) {
            (false, _) => format!("did not match: {}", mapping.reason),
            (true, _) => "was not there yet, and would match now".to_owned(),
        };
        rows.push(vec![format!("  {}", mapping.mapping), said]);
    }
    if rows.is_empty() {
        rows.push(vec!["  the source had none for it".to_owned(), String::new()]);
    }
    // A folder of manifests counts no generations.
    let of = if generation == 0 { String::new() } else { format!(" of generation {generation}") };
    Some(format!("MAPPINGS{of}\n{}", print::table(&[], rows)))
}

fn action(action: &ActionView, facts: &Facts) -> String {
    let source = facts.source.iter();
    let kind = (source.flat_map(|it| &it.destinations))
        .find(|it| it.name == action.destination)
        .map_or("", |it| it.kind.as_str());
    let to = match kind == action.destination {
        true => kind.to_owned(),
        false => format!("{kind} {}", action.destination).trim_start().to_owned(),
    };
    let run = match action.run {
        0 => String::new(),
        run => format!(" (run {run}, of a replay)"),
    };
    let times = match action.attempts {
        0 => "not attempted yet".to_owned(),
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let mut rows = vec![
        ("state", format!("{}, {times}", action.state)),
        ("why", [action.reason_code.as_str(), &action.reason].join(": ")),
        ("answer", action.answer.clone()),
        ("again at", action.not_before.clone()),
        ("key", action.idempotency_key.clone()),
    ];
    rows.extend(action.history.iter().map(|attempt| ("attempt", attempt.line())));
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty() && value != ": ");
    let rows = rows.map(|(name, value)| vec![format!("  {name}"), value]);
    format!(
        "ACTION {} by {} to {to}{run}\n{}",
        action.action_type,
        action.mapping,
        print::table(&[], rows)
    )
}
