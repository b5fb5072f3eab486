//! One `--allow-destination`: a network, an address or a host.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use url::Host;

/// What may be reached although it is not of the public internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Every host in it.
    Network(IpNet),
    /// This host wherever it is; in lower case, without a dot at the end.
    Host(String),
}

impl Allowed {
    /// `unwrapped` is what `address` carries inside of it.
    pub(super) fn covers(&self, host: &str, address: IpAddr, unwrapped: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address) || network.contains(&unwrapped),
            Self::Host(name) => name.eq_ignore_ascii_case(host.strip_suffix('.').unwrap_or(host)),
        }
    }
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            let network = text.parse::<IpNet>().map_err(|_| {
                format!("`{text}` is no network: these look like 10.1.0.0/16 or fd12::/64")
            })?;
            return Ok(Self::Network(network.trunc()));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) if !name.contains('*') => {
                Ok(Self::Host(name.strip_suffix('.').unwrap_or(&name).to_owned()))
            }
            _ => Err(format!(
                "`{text}` is neither a network (10.1.0.0/16), nor an address, nor the name of a \
                 host; give one without scheme, port and wildcards"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Allowed;

    #[test]
    fn networks_addresses_and_names_are_read() {
        let network = |text: &str| Ok(Allowed::Network(text.parse().unwrap()));
        assert_eq!("10.1.2.3/16".parse(), network("10.1.0.0/16"));
        assert_eq!("10.1.2.3".parse(), network("10.1.2.3/32"));
        assert_eq!("[::1]".parse(), network("::1/128"));
        assert_eq!("::1".parse(), network("::1/128"));
        assert_eq!("Crm.Svc.".parse(), Ok(Allowed::Host("crm.svc".to_owned())));
        for wrong in ["", "10.0.0.0/33", "http://x", "x:80", "*.svc", "a b", "x/y"] {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }
}
