//! Errors of a Redis in words for people: where, what, what to change. Nothing of a command is
//! repeated: some servers answer with its arguments, the password among them.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a Redis could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {}; {}", self.words(), self.change())]
pub struct Trouble {
    at: String,
    kind: Kind,
    detail: String,
}

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody answers there.
    Unreachable,
    /// No answer in time.
    Slow,
    /// The certificate, or TLS at all.
    Tls,
    /// User or password.
    Login,
    /// The user may not do what is needed.
    Forbidden,
    /// It reads its data from disk after a start.
    Loading,
    /// No memory left for more.
    Full,
    /// A replica, or a master that has too few replicas.
    ReadOnly,
    /// Parts of the cluster are missing.
    ClusterDown,
    /// A server of a cluster, asked as if it were alone.
    IsCluster,
    /// A server alone, asked as if it were a cluster.
    NoCluster,
    /// Too old to be asked.
    Old,
    /// Anything else.
    Other,
}

impl Kind {
    /// For a metric's label: one of a fixed set.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Tls => "tls",
            Self::Login => "login",
            Self::Forbidden => "forbidden",
            Self::Loading => "loading",
            Self::Full => "full",
            Self::ReadOnly => "read_only",
            Self::ClusterDown => "cluster_down",
            Self::IsCluster => "is_cluster",
            Self::NoCluster => "no_cluster",
            Self::Old => "old",
            Self::Other => "other",
        }
    }

    /// What is wrong, and what to do about it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Unreachable => ("it cannot be reached", "start it, or mend the address"),
            Self::Slow => (
                "it does not answer in time",
                "see whether it is overloaded or paused, or a firewall is in between",
            ),
            Self::Tls => (
                "TLS does not come about",
                "give a port with TLS, the name of its certificate, and with --store-ca its \
                 authority",
            ),
            Self::Login => (
                "user or password is wrong",
                "see SEGMENT_SOURCE_STORE_USERNAME and SEGMENT_SOURCE_STORE_PASSWORD",
            ),
            Self::Forbidden => ("the user may not do that", "give it the rights of docs/doctor.md"),
            Self::Loading => ("it still reads its data from disk", "wait until it has"),
            Self::Full => ("it has no memory left", "raise maxmemory, or keep less"),
            Self::ReadOnly => (
                "it takes no writes",
                "give the address of the master; it must have as many replicas as \
                 min-replicas-to-write says",
            ),
            Self::ClusterDown => ("parts of the cluster are down", "see CLUSTER INFO"),
            Self::IsCluster => (
                "it is one of a cluster, and the address is for a server alone",
                "redis-cluster:// or rediss-cluster://",
            ),
            Self::NoCluster => {
                ("it is no cluster, and the address is for one", "redis:// or rediss://")
            }
            Self::Old => ("it is too old", "run Redis 7.0, Valkey 7.2, or newer"),
            Self::Other => ("it answers with an error", "see its log"),
        }
    }
}

impl Trouble {
    /// What went wrong at a place.
    #[must_use]
    pub fn new(error: &RedisError, at: impl Into<String>) -> Self {
        let text = error.to_string();
        Self { at: at.into(), kind: kind(error, &text), detail: without_arguments(&text) }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What went wrong, without where.
    #[must_use]
    pub fn words(&self) -> String {
        let (words, _) = self.kind.words();
        match self.detail.as_str() {
            "" => words.to_owned(),
            detail => format!("{words} ({detail})"),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn change(&self) -> &'static str {
        self.kind.words().1
    }
}

/// Whether a command that failed may have been done all the same.
#[must_use]
pub fn is_uncertain(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound)
        && !error.is_connection_refusal()
}

fn kind(error: &RedisError, text: &str) -> Kind {
    use ServerErrorKind as Server;
    let has = |part: &str| text.contains(part);
    match error.kind() {
        _ if error.is_timeout() => Kind::Slow,
        _ if has("cluster support disabled") => Kind::NoCluster,
        _ if has("NOAUTH") || has("WRONGPASS") || has("AUTH <password> called without") => {
            Kind::Login
        }
        _ if has("HELLO") && has("unknown command") => Kind::Old,
        ErrorKind::Io if has("certificate") || has("TLS") || has("InvalidContentType") => Kind::Tls,
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => Kind::Unreachable,
        ErrorKind::AuthenticationFailed => Kind::Login,
        ErrorKind::RESP3NotSupported => Kind::Old,
        ErrorKind::Server(Server::NoPerm) => Kind::Forbidden,
        ErrorKind::Server(Server::BusyLoading) => Kind::Loading,
        ErrorKind::Server(Server::ReadOnly) => Kind::ReadOnly,
        ErrorKind::Server(Server::ClusterDown | Server::MasterDown | Server::TryAgain) => {
            Kind::ClusterDown
        }
        ErrorKind::Server(Server::Moved | Server::Ask) => Kind::IsCluster,
        _ if error.code() == Some("OOM") || has("OOM command not allowed") => Kind::Full,
        _ if error.code() == Some("NOREPLICAS") => Kind::ReadOnly,
        _ => Kind::Other,
    }
}

fn without_arguments(text: &str) -> String {
    let end =
        ["with args beginning", ", with args"].iter().filter_map(|part| text.find(part)).min();
    text[..end.unwrap_or(text.len())].trim_end_matches([',', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{RedisError, parse_redis_value};

    use super::{Kind, Trouble, is_uncertain};

    /// An error as a server says it.
    fn said(line: &str) -> RedisError {
        let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn each_refusal_has_its_kind() {
        let check = |line: &str, kind| {
            let trouble = Trouble::new(&said(line), "a:1");
            assert_eq!(trouble.kind(), kind, "{trouble}");
        };
        check("WRONGPASS invalid username-password pair or user is disabled.", Kind::Login);
        check("NOAUTH Authentication required.", Kind::Login);
        check("NOPERM this user has no permissions to run the 'evalsha' command", Kind::Forbidden);
        check("LOADING Redis is loading the dataset in memory", Kind::Loading);
        check("OOM command not allowed when used memory > 'maxmemory'.", Kind::Full);
        check("READONLY You can't write against a read only replica.", Kind::ReadOnly);
        check("NOREPLICAS Not enough good replicas to write.", Kind::ReadOnly);
        check("CLUSTERDOWN The cluster is down", Kind::ClusterDown);
        check("MOVED 3999 127.0.0.1:6381", Kind::IsCluster);
        check("ERR This instance has cluster support disabled", Kind::NoCluster);
        check("ERR something else", Kind::Other);
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        let old = said(
            "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `hunter2`, ",
        );
        let trouble = Trouble::new(&old, "a:1");
        assert_eq!(trouble.kind(), Kind::Old);
        assert!(!format!("{trouble} {trouble:?}").contains("hunter2"), "{trouble:?}");
        let expected = "a:1: user or password is wrong";
        let trouble = Trouble::new(&said("WRONGPASS invalid username-password pair"), "a:1");
        assert!(trouble.to_string().starts_with(expected), "{trouble}");
    }

    #[test]
    fn a_command_may_have_been_done_when_its_answer_is_lost() {
        let lost = |kind: io::ErrorKind| is_uncertain(&io::Error::from(kind).into());
        assert!(lost(io::ErrorKind::TimedOut) && lost(io::ErrorKind::BrokenPipe));
        assert!(!lost(io::ErrorKind::ConnectionRefused));
        assert!(!is_uncertain(&said("OOM command not allowed")));
    }
}
