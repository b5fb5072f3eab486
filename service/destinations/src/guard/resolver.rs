//! Resolves names for the HTTP client, and gives it only the addresses that may be reached.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Guard, NotAllowed};

/// The system's resolver behind the guard.
#[derive(Debug)]
pub(crate) struct Resolver(pub(crate) Guard);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            // The port is the client's business.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(permitted(&guard, host, found)?)
        })
    }
}

/// The addresses that may be reached.
///
/// # Errors
/// When there are addresses, and none may be reached.
fn permitted(guard: &Guard, host: &str, found: Vec<SocketAddr>) -> Result<Addrs, NotAllowed> {
    let mut refused = None;
    let mut addresses = Vec::with_capacity(found.len());
    for address in found {
        match guard.check(host, address.ip()) {
            Ok(()) => addresses.push(address),
            Err(why) => refused = Some(why),
        }
    }
    match refused {
        Some(why) if addresses.is_empty() => Err(why),
        _ => Ok(Box::new(addresses.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Guard, permitted};

    #[test]
    fn of_several_addresses_only_the_permitted_are_connected_to() {
        let guard = Guard::default();
        let found = |addresses: &[&str]| addresses.iter().map(|it| it.parse().unwrap()).collect();
        let left = permitted(&guard, "x", found(&["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"]));
        assert_eq!(left.ok().unwrap().collect::<Vec<_>>(), ["1.1.1.1:0".parse().unwrap()]);
        let none = permitted(&guard, "x", found(&["10.0.0.1:0", "127.0.0.1:0"]));
        assert!(none.err().unwrap().to_string().contains("127.0.0.1"));
    }
}
