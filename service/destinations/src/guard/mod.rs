//! The guard of what destinations may reach. A tenant's manifest says where to post to, and the
//! program stands inside of a network where much trusts whoever is inside: so only the public
//! internet may be reached, and what whoever runs the program allows.
//!
//! Names are judged by their addresses, when they are resolved, and the connection is made to the
//! very addresses that were judged: a name that points elsewhere a moment later gains nothing.

mod allowed;
mod resolver;
mod rules;

use std::{fmt, net::IpAddr, sync::Arc};

pub use self::allowed::Allowed;
pub(crate) use self::resolver::Resolver;
use self::rules::{Class, class, unwrapped};

/// What may be reached.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: Arc<[Allowed]>,
}

/// A host that may not be reached; its text is for the people who can change that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAllowed {
    host: String,
    address: IpAddr,
    class: Class,
}

impl Guard {
    /// Beside the public internet.
    #[must_use]
    pub fn new(allowed: Vec<Allowed>) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether `host`, which is at `address`, may be reached there.
    pub(crate) fn check(&self, host: &str, address: IpAddr) -> Result<(), NotAllowed> {
        let class = class(address);
        let named = || self.allowed.iter().any(|it| it.covers(host, address, unwrapped(address)));
        match class {
            Class::Public => Ok(()),
            Class::Inside(_) if named() => Ok(()),
            Class::Inside(_) | Class::Metadata => {
                Err(NotAllowed { host: host.to_owned(), address, class })
            }
        }
    }
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address, class } = self;
        let is = match class {
            Class::Metadata => {
                return write!(
                    f,
                    "the address of `{host}` ({address}) gives out credentials of the machine and \
                     is never reached"
                );
            }
            Class::Inside(what) => what,
            Class::Public => "public",
        };
        write!(
            f,
            "the address of `{host}` ({address}) is {is}; if it may be reached, whoever runs the \
             program starts it with --allow-destination {host}, then replay the action"
        )
    }
}

impl std::error::Error for NotAllowed {}

#[cfg(test)]
mod tests {
    use super::Guard;

    fn check(allowed: &[&str], host: &str, address: &str) -> bool {
        let guard = Guard::new(allowed.iter().map(|text| text.parse().unwrap()).collect());
        guard.check(host, address.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_the_public_internet_may_be_reached() {
        assert!(check(&[], "example.com", "1.1.1.1"));
        assert!(!check(&[], "example.com", "127.0.0.1"));
        assert!(!check(&[], "example.com", "64:ff9b::7f00:1"));
    }

    #[test]
    fn more_may_be_allowed_by_network_and_by_name() {
        assert!(check(&["127.0.0.0/8"], "x", "127.0.0.1"));
        assert!(check(&["127.0.0.1"], "x", "::ffff:127.0.0.1"));
        assert!(check(&["fd00::/8"], "x", "fd12::1"));
        assert!(!check(&["127.0.0.0/8"], "x", "10.0.0.1"));
        assert!(check(&["crm.svc"], "crm.svc", "10.0.0.1"));
        assert!(check(&["CRM.svc"], "crm.SVC.", "10.0.0.1"));
        assert!(!check(&["crm.svc"], "a.crm.svc", "10.0.0.1"));
    }

    #[test]
    fn metadata_is_never_allowed() {
        for allowed in ["169.254.0.0/16", "0.0.0.0/0", "metadata.internal", "169.254.169.254"] {
            assert!(!check(&[allowed], "metadata.internal", "169.254.169.254"), "{allowed}");
            assert!(!check(&[allowed], "metadata.internal", "::ffff:169.254.169.254"));
        }
    }

    #[test]
    fn the_message_says_what_to_do() {
        let guard = Guard::default();
        let error = guard.check("crm.svc", "10.0.0.1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("(10.0.0.1) is private"), "{error}");
        assert!(error.contains("--allow-destination crm.svc"), "{error}");
    }
}
