//! `events show`: everything known of one event.

use segment_source_proto::admin::v1::GetEventRequest;

use crate::{
    args::Output,
    cli::{
        client::{Server, explain},
        print,
        view::{ActionView, EventDetail},
    },
};

pub(super) async fn run(server: &Server, event: String, output: Output) -> anyhow::Result<()> {
    let mut admin = server.admin().await?;
    let answer = admin.get_event(GetEventRequest { event_id: event }).await.map_err(explain)?;
    let detail = EventDetail::from(answer.into_inner());
    match output {
        Output::Json => print::json(&detail)?,
        Output::Text => print::line(&render(&detail))?,
    }
    Ok(())
}

fn render(detail: &EventDetail) -> String {
    let event = &detail.event;
    let covered = if detail.covered { "covered" } else { "not covered" };
    let planned = detail.planned_generation.map(|number| format!("generation {number}"));
    let facts = [
        ("event", event.event_id.clone()),
        ("source", detail.source.clone()),
        ("accepted", event.accepted.clone()),
        ("event type", event.event_type.clone()),
        ("key", event.key.clone()),
        ("user", event.order_key.clone()),
        ("timestamp", detail.event_timestamp.clone()),
        ("verification", format!("{}, element {} {covered}", detail.verdict, detail.element)),
        ("outcome", event.outcome.clone()),
        ("duplicate of", event.duplicate_of.clone()),
        ("unmappable", event.unmappable.clone()),
        ("planned with", planned.unwrap_or_default()),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let mut parts = vec![print::table(&[], facts.map(|(name, value)| vec![name.into(), value]))];
    parts.extend(detail.actions.iter().map(action));
    if !detail.notes.is_empty() {
        let notes =
            detail.notes.iter().map(|note| vec![note.subject.clone(), note.message.clone()]);
        parts.push(print::table(&["NOTE ON", "MESSAGE"], notes));
    }
    if !detail.headers.is_empty() {
        let headers =
            detail.headers.iter().map(|header| vec![header.name.clone(), header.value.clone()]);
        parts.push(print::table(&["HEADER", "VALUE"], headers));
    }
    if !detail.body.text().is_empty() {
        parts.push(format!("BODY\n{}", print::one_line(detail.body.text())));
    }
    parts.join("\n\n")
}

/// One action as a paragraph.
fn action(action: &ActionView) -> String {
    let reason = match action.reason_code.as_str() {
        "" => String::new(),
        code => format!("{code}: {}", action.reason),
    };
    let payload = action.payload.as_ref().map(|payload| payload.text().to_owned());
    let attempts = match action.attempts {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let run = match action.run {
        0 => String::new(),
        run => format!("{run}, of a replay"),
    };
    let facts = [
        ("action", action.action_id.clone()),
        ("run", run),
        ("type", format!("{} by mapping {}", action.action_type, action.mapping)),
        ("to", action.destination.clone()),
        ("state", format!("{}, {attempts}", action.state)),
        ("not before", action.not_before.clone()),
        ("reason", reason),
        ("answer", action.answer.clone()),
        ("idempotency key", action.idempotency_key.clone()),
        ("payload", payload.unwrap_or_default()),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    let attempts = action.history.iter().enumerate().map(|(at, attempt)| {
        let name = if at == 0 { "attempts" } else { "" };
        (name, attempt.line())
    });
    let rows = facts.chain(attempts).map(|(name, value)| vec![format!("  {name}"), value]);
    print::table(&[], rows)
}
