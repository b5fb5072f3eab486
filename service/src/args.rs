//! The command line: every command and the flags of `serve`. Flags of the other commands are
//! beside their code, in [`crate::cli`].

use std::{path::PathBuf, str::FromStr, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use segment_source_destinations::{Allowed, KnockRate};
use segment_source_runtime::{
    net::{Address, host_name, parse_duration},
    telemetry::{ANY_COMMAND, Log},
};

pub mod store;

use self::store::StoreArgs;
use crate::cli::{
    actions, demo, destinations, directory, doctor, erase_user, events, explain, rehearse, replay,
    send, validate,
};

/// Open, self-hosted Segment source: verified webhooks become durable actions.
#[derive(Debug, Parser)]
#[command(name = "segment-source", version, propagate_version = true)]
pub struct Args {
    /// How commands print what they found.
    #[arg(
        long,
        value_enum,
        global = true,
        help_heading = ANY_COMMAND,
        default_value = "text",
        env = "SEGMENT_SOURCE_OUTPUT"
    )]
    pub output: Output,
    /// What is logged, and how.
    #[command(flatten)]
    pub log: Log,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How commands print what they found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs: one JSON value a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A first look: starts everything in a folder of its own, sends a few signed events, shows
    /// what happened to them, and keeps serving.
    Demo(demo::Args),
    /// Receives webhooks (edge), stores and plans them (ingest), or both in one process.
    Serve(Serve),
    /// Looks whether the store is set up so that it keeps what it is given: what is wrong, and what to
    /// change. Exit code 1 on errors.
    Doctor(doctor::Args),
    /// Checks manifests; exit code 1 and file, field and reason for each mistake.
    Validate(validate::Args),
    /// What would this event do? Stores and sends nothing.
    Rehearse(rehearse::Args),
    /// Signs events as Segment does and posts them.
    Send(send::Args),
    /// Reads the event log of a running server.
    #[command(subcommand)]
    Events(events::Command),
    /// Tells the whole story of one event: verification, repeats, mappings, actions with their attempts
    /// and answers, and what to do next.
    Explain(explain::Args),
    /// Reads actions from a queue destination of a running server.
    #[command(subcommand)]
    Actions(actions::Command),
    /// Destinations of a running server: how they are, and stopping them for a while.
    #[command(subcommand)]
    Destinations(destinations::Command),
    /// Runs events, or dead letters and failed actions, again. Count first, with --dry-run.
    Replay(replay::Args),
    /// Removes a user's data from log, dead letters, queues and directory of a source, for good.
    EraseUser(erase_user::Args),
    /// Reads users, objects, tenants, subscriptions and audiences from a running server.
    #[command(subcommand)]
    Directory(directory::Command),
}

impl Command {
    /// The log filter used when none is given.
    #[must_use]
    pub fn default_log_filter(&self) -> &'static str {
        match self {
            // The engine tells of every table it writes.
            Self::Serve(_) => "info,fjall=warn,lsm_tree=warn",
            _ => "warn",
        }
    }
}

/// Which parts run in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Edge and ingest, joined by an in-memory connection.
    All,
    /// Verifies webhooks and hands them to an ingest (`--ingest`).
    Edge,
    /// Stores, plans and serves events; has the store.
    Ingest,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Edge => "edge",
            Self::Ingest => "ingest",
        }
    }

    /// Whether this process receives webhooks.
    #[must_use]
    pub fn has_edge(self) -> bool {
        matches!(self, Self::All | Self::Edge)
    }

    /// Whether this process has the store.
    #[must_use]
    pub fn has_ingest(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }
}

/// Flags of `serve`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Serve {
    /// Which parts run in this process.
    #[arg(long, value_enum, default_value = "all", env = "SEGMENT_SOURCE_ROLE")]
    pub role: Role,
    /// Folder of SegmentSource and Secret manifests, or an operator: https://HOST:PORT (needs
    /// --tls) or, on this machine, http://HOST:PORT. Changes apply at once.
    #[arg(
        long,
        value_name = "DIR|URL",
        default_value = "./sources",
        env = "SEGMENT_SOURCE_CONFIG"
    )]
    pub config: Source,
    /// Where the store is.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Where the names of sources are kept, so that after a restart one whose manifest is gone or
    /// broken is not taken for one that never was; of an operator, also their configuration with
    /// its secrets, so that a restart while the operator is away still serves. Default: `cache/ROLE`
    /// inside the store's folder, or inside ./data when the store is none.
    #[arg(long, value_name = "DIR", env = "SEGMENT_SOURCE_CACHE")]
    pub cache: Option<PathBuf>,
    /// Listens for webhooks (roles all, edge).
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "SEGMENT_SOURCE_HTTP"
    )]
    pub http: Address,
    /// Listens for gRPC: Ingest, Queue, Admin (roles all, ingest). Without --tls everyone on this
    /// machine may do everything there; with it, each call needs a certificate or a token.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9090",
        env = "SEGMENT_SOURCE_GRPC"
    )]
    pub grpc: Address,
    /// Listens for /live, /ready and /metrics.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9091",
        env = "SEGMENT_SOURCE_ADMIN"
    )]
    pub admin: Address,
    /// gRPC address of the ingest (role edge); may be repeated. Each address that a name has is an
    /// ingest of its own: all that are ready share the work, and names are resolved again every few
    /// seconds. All of them must share one store.
    #[arg(
        long,
        value_name = "ADDR",
        value_delimiter = ',',
        required_if_eq("role", "edge"),
        env = "SEGMENT_SOURCE_INGEST"
    )]
    pub ingest: Vec<Address>,
    /// Folder with this process's certificate for gRPC: `tls.crt`, `tls.key` and `ca.crt`, read
    /// again when they change. Without it, gRPC stays on this machine.
    #[arg(long, value_name = "DIR", env = "SEGMENT_SOURCE_TLS")]
    pub tls: Option<PathBuf>,
    /// File with the token of whoever runs this program: it may do everything with every source
    /// over gRPC. Read again when it changes; while it is missing or empty, no such token is known.
    #[arg(long, value_name = "FILE", env = "SEGMENT_SOURCE_PLATFORM_TOKEN")]
    pub platform_token: Option<PathBuf>,
    /// What destinations may reach beside the public internet: a network (10.1.0.0/16), an address or
    /// a host; may be repeated. Addresses that give out a machine's credentials are never reached.
    #[arg(
        long,
        value_name = "CIDR|HOST",
        value_delimiter = ',',
        env = "SEGMENT_SOURCE_ALLOW_DESTINATION"
    )]
    pub allow_destination: Vec<Allowed>,
    /// File with certificates (PEM) of authorities that destinations may have, beside the system's.
    #[arg(long, value_name = "FILE", env = "SEGMENT_SOURCE_DESTINATION_CA")]
    pub destination_ca: Option<PathBuf>,
    /// Calls a second to Knock with one API key, for one of Knock's tiers; may be repeated. Without
    /// it 2=5 (deleting users and tenants), 3=60 (all other changes of data) and 5=1000 (triggering
    /// and cancelling workflows), as Knock has them. Give less while others call with the same key.
    #[arg(
        long,
        value_name = "TIER=PER_SECOND",
        value_delimiter = ',',
        env = "SEGMENT_SOURCE_KNOCK_RATE"
    )]
    pub knock_rate: Vec<KnockRate>,
    /// Name of this process in the status of sources. Default: the name of the machine.
    #[arg(
        long,
        value_name = "NAME",
        default_value_t = host_name(),
        hide_default_value = true,
        value_parser = parse_replica,
        env = "SEGMENT_SOURCE_REPLICA"
    )]
    pub replica: String,
    /// How long a stop may take at the most; a second signal ends at once.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "25s",
        value_parser = parse_duration,
        env = "SEGMENT_SOURCE_DRAIN"
    )]
    pub drain: Duration,
}

impl Serve {
    /// Where the names of sources are kept; an edge and an ingest on one machine do not share it.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        let beside = || self.store.folder().unwrap_or_else(|| "./data".into());
        self.cache.clone().unwrap_or_else(|| beside().join("cache").join(self.role.name()))
    }
}

/// Where configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of manifests.
    Folder(PathBuf),
    /// An operator.
    Operator {
        /// Where it is.
        address: Address,
        /// Whether by mutual TLS; without it only on this machine.
        secure: bool,
    },
}

/// A value of `--config` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// A URL of another form.
    #[error(
        "`{0}` is no operator's URL, such as https://segment-source-operator:9443, and no folder"
    )]
    Url(String),
    /// Secrets would cross a network in the clear.
    #[error(
        "`{0}` is beyond this machine, and configuration holds secrets: use https:// and --tls \
         (http:// is for loopback addresses)"
    )]
    Plaintext(String),
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        let invalid = || InvalidSource::Url(text.to_owned());
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(invalid()),
        };
        let address = rest.strip_suffix('/').unwrap_or(rest);
        let address: Address = address.parse().map_err(|_| invalid())?;
        match secure || address.is_loopback() {
            true => Ok(Self::Operator { address, secure }),
            false => Err(InvalidSource::Plaintext(text.to_owned())),
        }
    }
}

/// The operator's status messages have room for so much.
fn parse_replica(text: &str) -> Result<String, String> {
    match text.chars().count() {
        1..=253 => Ok(text.to_owned()),
        count => Err(format!("must have 1 to 253 characters, and has {count}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, Command, Role, Serve, Source};

    fn serve(flags: &[&str]) -> Result<Serve, String> {
        let line = ["segment-source", "serve"].iter().chain(flags);
        match Args::try_parse_from(line).map_err(|error| error.to_string())?.command {
            Command::Serve(serve) => Ok(serve),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_of_serve_is_an_environment_variable_too() {
        let command = Args::command();
        let serve = command.find_subcommand("serve").unwrap();
        for argument in serve.get_arguments() {
            let Some(long) =
                argument.get_long().filter(|long| !matches!(*long, "help" | "version"))
            else {
                continue;
            };
            let expected = format!("SEGMENT_SOURCE_{}", long.replace('-', "_").to_uppercase());
            let found = argument.get_env().map(|env| env.to_string_lossy().into_owned());
            assert_eq!(found, Some(expected), "--{long}");
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let args = serve(&[]).unwrap();
        assert_eq!(args.role, Role::All);
        assert_eq!(
            (args.http.to_string(), args.grpc.to_string(), args.admin.to_string()),
            ("127.0.0.1:8080".into(), "127.0.0.1:9090".into(), "127.0.0.1:9091".into())
        );
        assert_eq!(args.config, Source::Folder("./sources".into()));
        assert_eq!(args.store.folder(), Some("./data".into()));
        assert_eq!(args.cache_dir().to_str(), Some("./data/cache/all"));
        assert_eq!(args.tls, None);
        assert_eq!(args.platform_token, None);
        assert!(!args.replica.is_empty());
        assert_eq!(args.drain.as_secs(), 25);
    }

    #[test]
    fn an_edge_needs_its_ingest() {
        assert!(serve(&["--role", "edge"]).unwrap_err().contains("--ingest"));
        let check = |flags: &[&str], expected: &[&str]| {
            let edge = serve(&[&["--role", "edge"], flags].concat()).unwrap();
            let found: Vec<String> = edge.ingest.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(&["--ingest", "127.0.0.1:9090"], &["127.0.0.1:9090"]);
        check(&["--ingest", "a:1,b:2", "--ingest", "c:3"], &["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn configuration_is_a_folder_or_an_operator() {
        let check = |text: &str, expected: Result<Source, &str>| {
            let found: Result<Source, _> = text.parse();
            match (found, expected) {
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => assert_eq!(found.ok(), expected.ok(), "{text}"),
            }
        };
        let operator = |address: &str, secure| {
            Ok(Source::Operator { address: address.parse().unwrap(), secure })
        };
        check("./sources", Ok(Source::Folder("./sources".into())));
        check("sources:2", Ok(Source::Folder("sources:2".into())));
        check("https://operator.ns.svc:9443", operator("operator.ns.svc:9443", true));
        check("https://127.0.0.1:9443/", operator("127.0.0.1:9443", true));
        check("http://127.0.0.1:9443", operator("127.0.0.1:9443", false));
        check("http://[::1]:9443", operator("[::1]:9443", false));
        check("http://operator:9443", Err("--tls"));
        check("https://operator", Err("no operator's URL"));
        check("https://operator:9443/path", Err("no operator's URL"));
        check("ftp://operator:1", Err("no operator's URL"));
    }

    #[test]
    fn the_rates_of_knock_can_be_changed_one_by_one() {
        let changed = serve(&["--knock-rate", "3=30,5=2000", "--knock-rate", "2=1"]).unwrap();
        let rates: Vec<_> = ["3=30", "5=2000", "2=1"].map(|rate| rate.parse().unwrap()).into();
        assert_eq!(changed.knock_rate, rates);
        assert!(serve(&[]).unwrap().knock_rate.is_empty());
        let error = serve(&["--knock-rate", "4=1"]).unwrap_err();
        assert!(error.contains("--knock-rate") && error.contains("there are 2"), "{error}");
    }

    #[test]
    fn the_name_of_a_replica_is_not_empty() {
        assert_eq!(serve(&["--replica", "edge-0"]).unwrap().replica, "edge-0");
        assert!(serve(&["--replica", ""]).unwrap_err().contains("1 to 253"));
    }
}
