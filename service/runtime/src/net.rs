//! Addresses as people write them, which of them may be used without TLS, listening on them, and
//! why connecting failed.

use std::{
    env, fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio::{
    net::{TcpListener, lookup_host},
    time::timeout,
};

/// How long a name may take to be resolved.
const RESOLVE_TIME: Duration = Duration::from_secs(5);

/// `HOST:PORT`, to listen on or to connect to; the host is a name or an IP address (IPv6 in
/// brackets). Port 0 listens on any free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not HOST:PORT, such as 127.0.0.1:8080, localhost:8080 or [::1]:8080")]
pub struct InvalidAddress(String);

impl Address {
    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine can be at the other end. Names other than `localhost` are taken
    /// for foreign, whatever they resolve to.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// All addresses that its name has now. Takes at most five seconds.
    ///
    /// # Errors
    /// When there is none, or nobody says in time which.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let looked_up = lookup_host((self.host(), self.port));
        let found = timeout(RESOLVE_TIME, looked_up).await.map_err(|_elapsed| {
            let what = format!("its name was not resolved in {RESOLVE_TIME:?}");
            io::Error::new(io::ErrorKind::TimedOut, what)
        })?;
        let addresses: Vec<SocketAddr> = found?.collect();
        match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "its name has no address")),
            false => Ok(addresses),
        }
    }

    /// The address as a plaintext URL.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://{self}")
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            // Link-local addresses mean nothing without their zone.
            SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
            _ => address.ip().to_string(),
        };
        Self { host, port: address.port() }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidAddress(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port.parse().map_err(|_| invalid())?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            Some(_) => return Err(invalid()),
            None => host,
        };
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_v6 = host.contains(':') && text.starts_with('[');
        if host.is_empty() || !(is_v6 || host.chars().all(name)) {
            return Err(invalid());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Listens on the address of this flag.
///
/// # Errors
/// Names the flag and the address that cannot be bound.
pub async fn bind(flag: &str, address: &Address) -> anyhow::Result<TcpListener> {
    TcpListener::bind((address.host(), address.port())).await.with_context(|| {
        format!(
            "cannot listen on {address} ({flag}); is something else running there? Choose another \
             address with {flag} HOST:PORT (port 0: any free one)"
        )
    })
}

/// Reads a duration such as `25s`, `1m30s` or `250ms`; never negative.
///
/// # Errors
/// A message for people when it is none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| format!("`{text}` is no duration, such as 25s, 1m30s or 2h"))
}

/// The cause at the end of a chain, which is the one that says something.
#[must_use]
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The name of this machine, or of this pod: what a process is called when nobody names it.
#[must_use]
pub fn host_name() -> String {
    let set = env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    set.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::{Address, parse_duration};

    #[test]
    fn addresses_are_host_and_port() {
        let check = |text: &str, host: &str, port: u16, loopback: bool| {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host(), address.port()), (host, port), "{text}");
            assert_eq!(address.is_loopback(), loopback, "{text}");
            assert_eq!(address.to_string(), text);
        };
        check("127.0.0.1:8080", "127.0.0.1", 8080, true);
        check("127.1.2.3:0", "127.1.2.3", 0, true);
        check("localhost:1", "localhost", 1, true);
        check("[::1]:9090", "::1", 9090, true);
        check("[::ffff:127.0.0.1]:9090", "::ffff:127.0.0.1", 9090, true);
        check("[::]:9090", "::", 9090, false);
        check("0.0.0.0:9090", "0.0.0.0", 9090, false);
        check("ingest.prod.svc:9090", "ingest.prod.svc", 9090, false);
    }

    #[tokio::test]
    async fn sockets_are_addresses_that_resolve_to_themselves() {
        for text in ["127.0.0.1:80", "[::1]:9090", "[fe80::1%1]:9090"] {
            let socket: SocketAddr = text.parse().unwrap();
            let address = Address::from(socket);
            assert_eq!(address.to_string(), text);
            assert_eq!(address.resolve().await.unwrap(), [socket]);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "localhost",
            ":8080",
            "localhost:",
            "localhost:65536",
            "::1:80",
            "[::1]",
            "[localhost]:80",
            "http://localhost:80",
            "a b:80",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn durations_are_for_people() {
        assert_eq!(parse_duration("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "25", "-1s", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad} was taken");
        }
    }
}
