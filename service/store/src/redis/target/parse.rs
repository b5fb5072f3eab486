//! The text of a target. Errors repeat no more of it than scheme and host: everywhere else may be a
//! password, also one whose special characters somebody forgot to encode.

use std::{path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;

use super::{Node, Place, StoreAt, Target};

/// What Redis listens on when nobody says otherwise.
const DEFAULT_PORT: u16 = 6379;

/// A store's address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Another scheme.
    #[error(
        "`{0}://` is no store: give a folder, or redis://, rediss:// (TLS), redis-cluster://, \
         rediss-cluster:// (TLS) or redis+unix://"
    )]
    Scheme(String),
    /// Nothing to connect to.
    #[error("a host is missing: redis://HOST:PORT, redis-cluster://HOST:PORT,HOST:PORT")]
    NoHost,
    /// Host or port cannot be.
    #[error(
        "the host `{0}`: write HOST or HOST:PORT with a port of 1 to 65535, IPv6 as [ADDRESS]:PORT"
    )]
    Node(String),
    /// Several hosts that are not said to be a cluster.
    #[error("several hosts are for a cluster: use redis-cluster:// or rediss-cluster:// (TLS)")]
    Several,
    /// Characters that end the part that they are in.
    #[error(
        "user or password has a character that must be written with its percent code: \
         / as %2F, ? as %3F, # as %23, @ as %40, % as %25"
    )]
    Unencoded,
    /// No text behind the percent codes.
    #[error("the percent codes of {0} are no UTF-8 text")]
    Encoding(&'static str),
    /// No number of a database.
    #[error("behind the host comes at most /NUMBER of a database, 0 to 65535")]
    Database,
    /// A cluster has no databases.
    #[error("a cluster has no database but 0: leave out what is behind the hosts")]
    ClusterDatabase,
    /// A socket that is no absolute path.
    #[error("a socket is an absolute path: redis+unix:///run/redis/redis.sock")]
    Socket,
    /// Something behind `?` or `#`.
    #[error("no parameters are known but ?db=NUMBER of redis+unix://")]
    Parameters,
    /// Given in the address and beside it.
    #[error("the {0} is given twice, in the address and beside it: leave one out")]
    Twice(&'static str),
    /// A user cannot get in without one.
    #[error("there is a user, but no password")]
    NoPassword,
    /// Authorities for a connection that is not encrypted.
    #[error("a CA is for TLS, and the address is not: use rediss:// or rediss-cluster://")]
    CaWithoutTls,
    /// No authority in the file.
    #[error("the CA file holds no certificate in PEM")]
    Ca,
}

impl FromStr for StoreAt {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.contains("://") {
            true => text.parse().map(Self::Redis),
            false => Ok(Self::Folder(text.into())),
        }
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
        match scheme {
            "redis" => network(rest, false, false),
            "rediss" => network(rest, true, false),
            "redis-cluster" => network(rest, false, true),
            "rediss-cluster" => network(rest, true, true),
            "redis+unix" => unix(rest),
            // Without `://` it may be anything, so it is not repeated.
            _ if rest.is_empty() => Err(InvalidTarget::NoHost),
            _ => Err(InvalidTarget::Scheme(scheme.to_owned())),
        }
    }
}

fn network(rest: &str, tls: bool, cluster: bool) -> Result<Target, InvalidTarget> {
    let (userinfo, rest) = match rest.rsplit_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    let (username, password) = credentials(userinfo)?;
    if rest.contains(['?', '#']) {
        return Err(InvalidTarget::Parameters);
    }
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let nodes: Vec<Node> = hosts.split(',').map(node).collect::<Result<_, _>>()?;
    if cluster && !path.is_empty() {
        return Err(InvalidTarget::ClusterDatabase);
    }
    let place = match (cluster, <[Node; 1]>::try_from(nodes)) {
        (false, Ok([node])) => Place::Single(node),
        (false, Err(_)) => return Err(InvalidTarget::Several),
        (true, Ok([node])) => Place::Cluster(vec![node]),
        (true, Err(nodes)) => Place::Cluster(nodes),
    };
    Ok(Target { place, username, password, tls, ca: None, database: database(path)? })
}

fn unix(rest: &str) -> Result<Target, InvalidTarget> {
    let start = rest.find('/').ok_or(InvalidTarget::Socket)?;
    let (userinfo, path) = rest.split_at(start);
    let userinfo = match userinfo {
        "" => None,
        _ => Some(userinfo.strip_suffix('@').ok_or(InvalidTarget::Socket)?),
    };
    let (username, password) = credentials(userinfo)?;
    let (path, number) = match path.split_once('?') {
        None => (path, ""),
        Some((path, parameters)) => match parameters.strip_prefix("db=") {
            Some(number) => (path, number),
            None => return Err(InvalidTarget::Parameters),
        },
    };
    let place = Place::Unix(PathBuf::from(decode(path, "the path")?));
    Ok(Target { place, username, password, tls: false, ca: None, database: database(number)? })
}

type Credentials = (Option<String>, Option<String>);

fn credentials(userinfo: Option<&str>) -> Result<Credentials, InvalidTarget> {
    let Some(userinfo) = userinfo else { return Ok((None, None)) };
    if userinfo.contains(['/', '?', '#', '@']) {
        return Err(InvalidTarget::Unencoded);
    }
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(decode(password, "the password")?)),
        None => (userinfo, None),
    };
    let user = decode(user, "the user")?;
    // `:pass@` is how a password alone is written, and `@` is nothing at all.
    Ok((Some(user).filter(|user| !user.is_empty()), password.filter(|word| !word.is_empty())))
}

fn decode(text: &str, what: &'static str) -> Result<String, InvalidTarget> {
    percent_decode_str(text)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| InvalidTarget::Encoding(what))
}

fn node(text: &str) -> Result<Node, InvalidTarget> {
    // `user:password` without a host looks like a host and a port.
    let invalid = || InvalidTarget::Node(text.split(':').next().unwrap_or_default().to_owned());
    if text.is_empty() {
        return Err(InvalidTarget::NoHost);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(invalid)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| invalid())?;
            match port {
                "" => (address, None),
                port => (address, Some(port.strip_prefix(':').ok_or_else(invalid)?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?,
    };
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    match !host.is_empty() && host.chars().all(sound) {
        true => Ok(Node { host: host.to_owned(), port }),
        false => Err(invalid()),
    }
}

fn database(text: &str) -> Result<u16, InvalidTarget> {
    match text {
        "" => Ok(0),
        text => text.parse().map_err(|_| InvalidTarget::Database),
    }
}
