//! What a replay did, in words, and the command to type next. Pure.

use anyhow::anyhow;
use jiff::Timestamp;
use segment_source_proto::admin::v1::ReplayResponse;
use serde::Serialize;

use super::Args;
use crate::cli::typed::Line;

/// The report for programs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    source: String,
    what: &'static str,
    id: Option<String>,
    dry_run: bool,
    found: u64,
    done: u64,
    skipped: u64,
    /// The command to type next.
    next: String,
}

impl Report {
    pub(super) fn new(args: &Args, told: &ReplayResponse) -> Self {
        Self {
            source: args.source.to_string(),
            what: if args.dead { "dead" } else { "events" },
            id: args.id.clone(),
            dry_run: args.dry_run,
            found: told.found,
            done: told.done,
            skipped: told.skipped,
            next: next(args, told).to_string(),
        }
    }
}

/// What is counted.
pub(super) fn what(args: &Args) -> &'static str {
    if args.dead { "dead letters and failed actions" } else { "events" }
}

/// The last line.
pub(super) fn report(args: &Args, told: &ReplayResponse) -> String {
    let (what, source) = (what(args), &args.source);
    let next = next(args, told);
    match told.found {
        0 => format!("no {what} of {source} fit, so nothing runs again; look at the log: {next}"),
        found if args.dry_run => {
            format!("{found} {what} of {source} would run again; to run them: {next}")
        }
        found => {
            let left = match told.skipped {
                0 => String::new(),
                left if args.dead => format!(", {left} cannot or need not run any more"),
                left => format!(", {left} ran before under this name or are gone"),
            };
            let done = told.done;
            format!("{done} of {found} {what} of {source} run again{left}; look at them: {next}")
        }
    }
}

fn next(args: &Args, told: &ReplayResponse) -> Line {
    if args.dry_run && told.found > 0 {
        return line(args, args.until).flag("expect", Some(told.found)).to(&args.server);
    }
    let list = Line::new("events list").flag("source", Some(&args.source));
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    list.flag("type", args.event_type.as_ref())
        .flag("key", args.key.as_ref())
        .flag("user", args.user.as_ref())
        .flag("since", time(args.since))
        .flag("until", time(args.until))
        .to(&args.server)
}

/// It broke off after it had begun.
pub(super) fn go_on(
    args: &Args,
    told: &ReplayResponse,
    begun: Timestamp,
    why: &anyhow::Error,
) -> anyhow::Error {
    // What came later is not among what was counted.
    let line = line(args, args.until.or(Some(begun))).to(&args.server);
    let (gone, found) = (told.done + told.skipped, told.found);
    let twice = match args.dead {
        true => "runs what is still failed or dead, also what ran again and failed again",
        false => "runs none twice",
    };
    anyhow!("{why}. It broke off after {gone} of {found}; this goes on, and {twice}: {line}")
}

/// The same replay, but for what was expected.
fn line(args: &Args, until: Option<Timestamp>) -> Line {
    Line::new("replay")
        .flag("source", Some(&args.source))
        .switch("dead", args.dead)
        .flag("type", args.event_type.as_ref())
        .flag("key", args.key.as_ref())
        .flag("user", args.user.as_ref())
        .flag("since", args.since)
        .flag("until", until)
        .flag("destination", args.destination.as_ref())
        .flag("reason", args.reason.as_ref())
        .flag("rate", args.rate)
        .flag("id", args.id.as_ref())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jiff::Timestamp;
    use segment_source_proto::admin::v1::ReplayResponse;

    use super::{Args, go_on, report};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn args(flags: &[&str]) -> Args {
        let line = ["replay", "--source", "prod/web"].iter().chain(flags);
        Command::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).args
    }

    fn told(found: u64, done: u64, skipped: u64) -> ReplayResponse {
        ReplayResponse { found, counted: true, done, skipped, complete: true }
    }

    #[test]
    fn a_dry_run_ends_with_the_command_that_runs_it() {
        let args =
            args(&["--dead", "--dry-run", "--type", "track/Signed Up", "--reason", "max_age"]);
        let said = report(&args, &told(12, 0, 0));
        let command = "replay --source prod/web --dead --type 'track/Signed Up' --reason max_age \
                       --expect 12";
        assert!(said.starts_with("12 dead letters and failed actions of prod/web would"), "{said}");
        assert!(said.ends_with(command), "{said}");
        assert!(report(&args, &told(0, 0, 0)).contains("nothing runs again"));
    }

    #[test]
    fn a_replay_ends_with_where_to_look() {
        let said = report(&args(&["--id", "a", "--user", "ada"]), &told(12, 10, 2));
        let expected = "10 of 12 events of prod/web run again, 2 ran before under this name or are \
                        gone; look at them: ";
        assert!(said.starts_with(expected), "{said}");
        assert!(said.ends_with("events list --source prod/web --user ada"), "{said}");
    }

    #[test]
    fn what_broke_off_goes_on_with_the_same_name_and_nothing_newer() {
        let args = args(&["--id", "a", "--expect", "12", "--rate", "5"]);
        let begun: Timestamp = "2026-03-02T10:15:30Z".parse().unwrap();
        let said = go_on(&args, &told(12, 4, 1), begun, &anyhow::anyhow!("gone")).to_string();
        let command = "replay --source prod/web --until 2026-03-02T10:15:30Z --rate 5 --id a";
        assert!(said.starts_with("gone. It broke off after 5 of 12"), "{said}");
        assert!(said.contains("runs none twice: "), "{said}");
        assert!(said.ends_with(command), "{said}");
    }

    #[test]
    fn a_redrive_that_broke_off_does_not_promise_that_none_runs_twice() {
        let args = args(&["--dead"]);
        let said = go_on(&args, &told(12, 4, 1), Timestamp::UNIX_EPOCH, &anyhow::anyhow!("gone"));
        let said = said.to_string();
        assert!(said.contains("also what ran again and failed again: "), "{said}");
        assert!(!said.contains("twice"), "{said}");
        assert!(said.ends_with("--dead --until 1970-01-01T00:00:00Z"), "{said}");
    }
}
