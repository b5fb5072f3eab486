//! A certificate with its key, and the authorities it trusts, made ready for both sides of a
//! connection once. Where they come from is others' business.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::WantsClientCert,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::sync::watch;

use super::{ClientCertificates, Roles};

/// The newest identity of a part; connections made later use it.
pub type Identities = watch::Receiver<Arc<Identity>>;

/// Why there is no identity to be had from some PEM texts; never holds a part of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// One of the texts is not what it should be.
    #[error("{part} holds no {what}")]
    Missing {
        /// `ca.crt`, `tls.crt` or `tls.key`.
        part: &'static str,
        /// What it should hold.
        what: &'static str,
    },
    /// They are no certificates and key, or do not belong together.
    #[error("{0}")]
    Refused(String),
}

/// Who a part is.
pub struct Identity {
    roles: Roles,
    client: Arc<ClientConfig>,
    /// Demands a client certificate.
    strict: Arc<ServerConfig>,
    /// Takes clients without one, too.
    lenient: Arc<ServerConfig>,
}

/// The authorities a client trusts that has no certificate of its own.
#[derive(Clone)]
pub struct Authorities(Arc<ClientConfig>);

impl Authorities {
    /// Reads one or more certificates of authorities.
    ///
    /// # Errors
    /// When there is none.
    pub fn from_pem(ca: &[u8]) -> Result<Self, InvalidIdentity> {
        let config = client(Arc::new(roots(ca)?))?.with_no_client_auth();
        Ok(Self(Arc::new(http2(config))))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

impl Identity {
    /// Reads a certificate (its chain, the own one first), its key, and one or more authorities.
    ///
    /// # Errors
    /// Says which of them is not what it should be.
    pub fn from_pem(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, InvalidIdentity> {
        let roots = Arc::new(roots(ca)?);
        let chain = certificates(certificate);
        let none = InvalidIdentity::Missing { part: "tls.crt", what: "certificate" };
        let roles = chain.first().and_then(|own| Roles::of_certificate(own)).ok_or(none)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| InvalidIdentity::Missing { part: "tls.key", what: "private key" })?;
        let with_key = |config: Result<_, rustls::Error>| config.map_err(refused);
        let client = client(roots.clone())?.with_client_auth_cert(chain.clone(), key.clone_key());
        let server = |clients| server(&roots, clients, chain.clone(), key.clone_key());
        Ok(Self {
            roles,
            client: Arc::new(http2(with_key(client)?)),
            strict: Arc::new(server(ClientCertificates::Required)?),
            lenient: Arc::new(server(ClientCertificates::Optional)?),
        })
    }

    /// What its certificate says it is.
    #[must_use]
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    pub(super) fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    pub(super) fn server(&self, clients: ClientCertificates) -> Arc<ServerConfig> {
        match clients {
            ClientCertificates::Required => self.strict.clone(),
            ClientCertificates::Optional => self.lenient.clone(),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, redacted)", self.roles)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

fn refused(error: impl fmt::Display) -> InvalidIdentity {
    InvalidIdentity::Refused(error.to_string())
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

fn roots(ca: &[u8]) -> Result<RootCertStore, InvalidIdentity> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(ca));
    match roots.is_empty() {
        true => Err(InvalidIdentity::Missing { part: "ca.crt", what: "certificate" }),
        false => Ok(roots),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn client(
    roots: Arc<RootCertStore>,
) -> Result<rustls::ConfigBuilder<ClientConfig, WantsClientCert>, InvalidIdentity> {
    let config = ClientConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().map_err(refused)?;
    Ok(config.with_root_certificates(roots))
}

fn http2(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn server(
    roots: &Arc<RootCertStore>,
    clients: ClientCertificates,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, InvalidIdentity> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    let verifier = match clients {
        ClientCertificates::Required => verifier,
        ClientCertificates::Optional => verifier.allow_unauthenticated(),
    };
    let config = ServerConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().map_err(refused)?;
    let config = config.with_client_cert_verifier(verifier.build().map_err(refused)?);
    let mut config = config.with_single_cert(chain, key).map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
