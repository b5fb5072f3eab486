//! The command line: every flag is an environment variable, too.

use std::{path::PathBuf, str::FromStr, time::Duration};

use anyhow::ensure;
use clap::Parser;
use segment_source_runtime::{
    net::{Address, parse_duration},
    telemetry::Log,
    tls::{Role, Roles},
};

/// The operator of segment-source: turns SegmentSource objects into the live configuration of
/// every replica, and says in their status what became of them.
#[derive(Clone, Debug, Parser)]
#[command(name = "segment-source-operator", version)]
pub(crate) struct Args {
    /// What is logged, and how.
    #[command(flatten)]
    pub(crate) log: Log,
    /// Its own namespace, with its Lease and the Secrets it fills. Default: POD_NAMESPACE, or the
    /// namespace of the Kubernetes client.
    #[arg(long, value_name = "NAMESPACE", env = "SEGMENT_SOURCE_OPERATOR_NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Its name in the Lease; no two may have the same. Default: POD_NAME, or the host name.
    #[arg(long, value_name = "NAME", env = "SEGMENT_SOURCE_OPERATOR_NAME")]
    pub(crate) name: Option<String>,
    /// Namespaces whose SegmentSources and Secrets are read, with commas between them, or `*` for
    /// all. Default: its own.
    #[arg(
        long,
        value_name = "NAMESPACES",
        value_delimiter = ',',
        env = "SEGMENT_SOURCE_OPERATOR_WATCH_NAMESPACES"
    )]
    pub(crate) watch_namespaces: Vec<String>,
    /// The Lease that says which replica of the operator leads.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "segment-source-operator",
        env = "SEGMENT_SOURCE_OPERATOR_LEASE"
    )]
    pub(crate) lease: String,
    /// For how long leadership lasts without being renewed: the longest time without a leader
    /// after one vanished. Whole seconds.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "15s",
        value_parser = parse_duration,
        env = "SEGMENT_SOURCE_OPERATOR_LEASE_DURATION"
    )]
    pub(crate) lease_duration: Duration,
    /// Listens for replicas. Without TLS only on this machine.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9443",
        env = "SEGMENT_SOURCE_OPERATOR_GRPC"
    )]
    pub(crate) grpc: Address,
    /// Listens for /live, /ready and /metrics.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9091",
        env = "SEGMENT_SOURCE_OPERATOR_ADMIN"
    )]
    pub(crate) admin: Address,
    /// Where the webhooks are reached from outside, such as https://events.example.com; makes the
    /// `url` in the status of sources.
    #[arg(
        long,
        value_name = "URL",
        value_parser = parse_url,
        env = "SEGMENT_SOURCE_OPERATOR_PUBLIC_URL"
    )]
    pub(crate) public_url: Option<String>,
    /// Makes a certificate with these roles and keeps it in this existing Secret, such as
    /// `edge+ingest=release-tls`; can be given several times. Needs `--ca-secret`.
    #[arg(
        long,
        value_name = "ROLES=SECRET",
        value_delimiter = ',',
        requires = "ca_secret",
        conflicts_with = "tls",
        env = "SEGMENT_SOURCE_OPERATOR_ISSUE"
    )]
    pub(crate) issue: Vec<Issue>,
    /// Existing Secret for the authority that signs the certificates of `--issue`.
    #[arg(
        long,
        value_name = "SECRET",
        requires = "issue",
        env = "SEGMENT_SOURCE_OPERATOR_CA_SECRET"
    )]
    pub(crate) ca_secret: Option<String>,
    /// How long an authority is valid; the next one is made after two thirds of that.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "8760h",
        value_parser = parse_duration,
        env = "SEGMENT_SOURCE_OPERATOR_CA_VALIDITY"
    )]
    pub(crate) ca_validity: Duration,
    /// How long a certificate is valid; the next one is made after two thirds of that.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2160h",
        value_parser = parse_duration,
        env = "SEGMENT_SOURCE_OPERATOR_CERTIFICATE_VALIDITY"
    )]
    pub(crate) certificate_validity: Duration,
    /// Folder with tls.crt, tls.key and ca.crt, when others make the certificates; changes apply
    /// at once.
    #[arg(long, value_name = "DIR", env = "SEGMENT_SOURCE_OPERATOR_TLS")]
    pub(crate) tls: Option<PathBuf>,
    /// Existing Secret whose key `token` is filled once, at random: the token of the people who
    /// operate segment-source.
    #[arg(long, value_name = "SECRET", env = "SEGMENT_SOURCE_OPERATOR_PLATFORM_TOKEN_SECRET")]
    pub(crate) platform_token_secret: Option<String>,
    /// How long a stop may take at the most; a second signal ends at once.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "25s",
        value_parser = parse_duration,
        env = "SEGMENT_SOURCE_OPERATOR_DRAIN"
    )]
    pub(crate) drain: Duration,
}

/// A certificate to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) roles: Roles,
    pub(crate) secret: String,
}

impl FromStr for Issue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is not ROLES=SECRET, such as edge+ingest=release-tls; roles are \
                 operator, ingest and edge"
            )
        };
        let (roles, secret) = text.split_once('=').ok_or_else(wrong)?;
        let roles: Option<Roles> = roles.split('+').map(Role::named).collect();
        match (roles, secret) {
            (Some(roles), secret) if !secret.is_empty() => {
                Ok(Self { roles, secret: secret.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

fn parse_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err(format!("`{text}` is not a URL such as https://events.example.com")),
    }
}

impl Args {
    /// The Secret with the operator's own identity, when it makes that itself.
    pub(crate) fn own_identity(&self) -> Option<&Issue> {
        self.issue.iter().find(|it| it.roles.contains(Role::Operator))
    }

    /// What flags must hold together.
    ///
    /// # Errors
    /// Says what is in the way.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.lease_duration >= Duration::from_secs(1)
                && self.lease_duration.subsec_nanos() == 0,
            "--lease-duration must be whole seconds, and at least one"
        );
        let secured = self.tls.is_some() || self.own_identity().is_some();
        ensure!(
            secured || self.grpc.is_loopback(),
            "--grpc {} is not on this machine, and there is no TLS: give --tls DIR, or --issue \
             operator=SECRET and --ca-secret NAME",
            self.grpc
        );
        let shortest = Duration::from_secs(10);
        ensure!(
            self.certificate_validity >= shortest && self.ca_validity > self.certificate_validity,
            "--certificate-validity must be at least 10s, and --ca-validity longer than it"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Args;

    fn args(flags: &[&str]) -> Result<Args, String> {
        let line = ["segment-source-operator"].iter().chain(flags);
        let args = Args::try_parse_from(line).map_err(|error| error.to_string())?;
        args.check().map_err(|error| error.to_string())?;
        Ok(args)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_too() {
        for argument in Args::command().get_arguments() {
            let Some(long) = argument.get_long().filter(|it| !matches!(*it, "help" | "version"))
            else {
                continue;
            };
            let name = long.replace('-', "_").to_uppercase();
            let expected = match long {
                "log" | "log-format" => format!("SEGMENT_SOURCE_{name}"),
                _ => format!("SEGMENT_SOURCE_OPERATOR_{name}"),
            };
            let found = argument.get_env().map(|env| env.to_string_lossy().into_owned());
            assert_eq!(found, Some(expected), "--{long}");
        }
    }

    #[test]
    fn the_defaults_need_nothing_but_a_cluster() {
        let args = args(&[]).unwrap();
        assert_eq!(
            (args.grpc.to_string(), args.admin.to_string(), args.lease.as_str()),
            ("127.0.0.1:9443".into(), "127.0.0.1:9091".into(), "segment-source-operator")
        );
        assert_eq!((args.lease_duration.as_secs(), args.ca_validity.as_secs()), (15, 31_536_000));
    }

    #[test]
    fn certificates_are_said_by_roles_and_secret() {
        let args = args(&[
            "--ca-secret=rel-ca",
            "--issue=operator=rel-operator-tls",
            "--issue=edge+ingest=rel-tls",
        ]);
        let issued: Vec<String> =
            args.unwrap().issue.iter().map(|it| format!("{} in {}", it.roles, it.secret)).collect();
        assert_eq!(issued, ["operator in rel-operator-tls", "ingest+edge in rel-tls"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let check = |flags: &[&str], expected: &str| {
            let error = args(flags).unwrap_err();
            assert!(error.contains(expected), "{flags:?}: {error}");
        };
        check(&["--grpc=0.0.0.0:9443"], "give --tls DIR, or --issue");
        check(&["--issue=edge=a"], "--ca-secret");
        check(&["--ca-secret=a", "--issue=cook=a"], "roles are operator, ingest and edge");
        check(&["--ca-secret=a", "--issue=edge="], "is not ROLES=SECRET");
        check(&["--ca-secret=a", "--issue=edge=b", "--tls=/tls"], "cannot be used with");
        check(&["--lease-duration=1500ms"], "whole seconds");
        check(&["--public-url=events.example.com"], "is not a URL");
        check(&["--certificate-validity=9000h"], "--ca-validity longer");
        assert!(args(&["--tls=/tls", "--grpc=0.0.0.0:9443"]).is_ok());
    }
}
