//! `replay`: runs dead letters or whole events again. [`progress`] shows how far it is, [`words`]
//! says what was done and what to do next.

mod progress;
mod words;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args as ClapArgs, builder::NonEmptyStringValueParser};
use jiff::Timestamp;
use segment_source_core::source::SourceId;
use segment_source_proto::admin::v1::{
    DeadLetters, EventFilter, Events, ReplayRequest, ReplayResponse, replay_request::What,
};
use segment_source_runtime::signals::Signals;

use self::progress::Progress;
use super::{
    client::{Server, explain},
    moment::{parse_moment, wire},
    print,
};
use crate::args::Output;

/// Flags of `replay`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    server: Server,
    /// The source.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    source: SourceId,
    /// Runs dead letters and failed actions again instead of events: the dead with the bytes they
    /// had, the failed rendered by the configuration of now; idempotency keys stay.
    #[arg(long)]
    dead: bool,
    /// Counts what would run again, and changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Runs nothing unless exactly so many are found.
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Only events of this type, such as `track/User Signed Up`.
    #[arg(long = "type", value_name = "EVENT_TYPE", value_parser = NonEmptyStringValueParser::new())]
    event_type: Option<String>,
    /// Only events with this idempotency key; for Segment the messageId.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    key: Option<String>,
    /// Only events of this user: userId or anonymousId.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    user: Option<String>,
    /// Only events accepted at or after: a time, or how long ago (`90m`, `2d`).
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Only events accepted before: a time, or how long ago.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// Only actions for this destination.
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    destination: Option<String>,
    /// Only actions that failed or died for this reason, such as `max_age` or `rejected`.
    #[arg(
        long,
        value_name = "CODE",
        requires = "dead",
        value_parser = NonEmptyStringValueParser::new()
    )]
    reason: Option<String>,
    /// At most so many a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Names the replay, with up to 64 letters, digits, `-` and `_`. No event runs twice under one
    /// name, so the same name goes on with a replay that broke off. Left out: a new name. Dead
    /// letters need none: what runs again is no dead letter any more.
    #[arg(long, conflicts_with = "dead")]
    id: Option<String>,
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, refuses, or breaks off; the message has the command that goes
/// on.
pub async fn run(mut args: Args, output: Output) -> anyhow::Result<ExitCode> {
    if args.id.is_none() && !args.dead && !args.dry_run {
        args.id = Some(new_name()?);
    }
    let begun = Timestamp::now();
    let mut admin = args.server.admin().await?;
    let mut answers = admin.replay(args.request()).await.map_err(explain)?.into_inner();
    // From here on whoever interrupts it hears how to go on.
    let mut signals = Signals::listen()?;
    let mut progress = Progress::new(&args, output);
    let mut told = ReplayResponse::default();
    loop {
        let answer = tokio::select! {
            answer = answers.message() => answer.map_err(explain),
            _ = signals.next() => Err(anyhow!("interrupted")),
        };
        let why = match answer {
            Ok(Some(answer)) => {
                told = answer;
                progress.tell(&told)?;
                continue;
            }
            Ok(None) if told.complete => break,
            Ok(None) => anyhow!("the answer ended too early"),
            Err(why) => why,
        };
        progress.end();
        // Refused, or broken off while counting: nothing was changed.
        return Err(if told.counted { words::go_on(&args, &told, begun, &why) } else { why });
    }
    progress.end();
    match output {
        Output::Json => print::json(&words::Report::new(&args, &told))?,
        Output::Text => print::line(&words::report(&args, &told))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The day, to be read, and enough chance that nobody else takes it.
fn new_name() -> anyhow::Result<String> {
    let mut random = [0; 6];
    getrandom::fill(&mut random)
        .map_err(|error| anyhow!("{error}"))
        .context("the system has no random bytes to name the replay with; name it with --id")?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{random}", Timestamp::now().strftime("%Y%m%d")))
}

impl Args {
    fn request(&self) -> ReplayRequest {
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        let filter = EventFilter {
            event_type: text(&self.event_type),
            key: text(&self.key),
            user: text(&self.user),
            since: self.since.map(wire),
            until: self.until.map(wire),
            ..EventFilter::default()
        };
        ReplayRequest {
            namespace: self.source.namespace().to_owned(),
            name: self.source.name().to_owned(),
            what: Some(match self.dead {
                true => What::Dead(DeadLetters { reason_code: text(&self.reason) }),
                false => What::Events(Events {}),
            }),
            filter: Some(filter),
            destination: text(&self.destination),
            dry_run: self.dry_run,
            expect: self.expect,
            per_second: self.rate.unwrap_or(0),
            id: text(&self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::new_name;

    #[test]
    fn names_are_new_and_allowed() {
        let (one, other) = (new_name().unwrap(), new_name().unwrap());
        assert_ne!(one, other);
        assert!(one.len() <= 64 && one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'));
    }
}
