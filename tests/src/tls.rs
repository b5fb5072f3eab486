//! Certificates of a test, as the operator or cert-manager would put them into a folder, and gRPC
//! connections by them, which rustls makes and not the program's own code.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// An authority of its own.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    certificate: String,
    key: String,
    authority: String,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When the system has no random bytes.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate of these roles.
    ///
    /// # Panics
    /// When a role makes no DNS name.
    #[must_use]
    pub fn issue(&self, roles: &[&str]) -> Certificate {
        self.issue_names(
            roles.iter().map(|role| format!("{role}.segment-source.internal")).collect(),
        )
    }

    fn issue_names(&self, names: Vec<String>) -> Certificate {
        // With the same name as the authority's, OpenSSL takes it for one that signed itself.
        let name = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("DNS names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Certificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            authority: self.pem(),
        }
    }

    /// Writes an identity with these roles into a folder, which is made.
    pub fn write(&self, folder: &Path, roles: &[&str]) {
        self.issue(roles).write(folder);
    }

    /// Writes an identity with these DNS names into a folder, which is made.
    pub fn write_names(&self, folder: &Path, names: &[&str]) {
        self.issue_names(names.iter().map(|&name| name.to_owned()).collect()).write(folder);
    }

    /// A connection to an ingest at `address`, with a client certificate or without.
    ///
    /// # Panics
    /// When TLS cannot be set up.
    #[must_use]
    pub fn connect(&self, address: SocketAddr, own: Option<&Certificate>) -> Channel {
        connect(address, "ingest", self.pem().as_bytes(), own)
    }
}

/// A connection to a server of this role, made when it is first used and again whenever it must:
/// whatever the address, the server proves itself by these CAs. With a client certificate or
/// without.
///
/// # Panics
/// When there is no CA among the PEM, or TLS cannot be set up.
#[must_use]
pub fn connect(address: SocketAddr, role: &str, ca: &[u8], own: Option<&Certificate>) -> Channel {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS")
        .with_root_certificates(roots(ca));
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
            let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes());
            let chain = vec![chain.expect("a certificate")];
            config.with_client_auth_cert(chain, key).expect("a certificate")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let name = format!("{role}.segment-source.internal");
    let name = ServerName::try_from(name).expect("a name");
    let connector = tower::service_fn(move |_: Uri| {
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(connector.connect(name, socket).await?))
        }
    });
    let endpoint = Endpoint::from_static("http://server.invalid");
    endpoint.connect_timeout(Duration::from_secs(5)).connect_with_connector_lazy(connector)
}

fn roots(ca: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let authorities = CertificateDer::pem_slice_iter(ca).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(authorities);
    assert!(added > 0, "a CA in {}", String::from_utf8_lossy(ca));
    roots
}

impl Certificate {
    /// The identity in a folder.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("it can be read");
        Self { certificate: read("tls.crt"), key: read("tls.key"), authority: read("ca.crt") }
    }

    /// One with its key and CAs in PEM, as a Secret holds them.
    #[must_use]
    pub fn from_pem(certificate: &str, key: &str, authority: &str) -> Self {
        let [certificate, key, authority] = [certificate, key, authority].map(str::to_owned);
        Self { certificate, key, authority }
    }

    /// Whether one of these CAs has signed it, and it is valid now, for a client.
    ///
    /// # Panics
    /// When there is no CA among the PEM.
    #[must_use]
    pub fn is_trusted_by(&self, ca: &str) -> bool {
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots(ca.as_bytes())),
            Arc::new(ring::default_provider()),
        );
        let verifier = verifier.build().expect("there are CAs");
        let leaf = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        let leaf = leaf.expect("a certificate");
        verifier.verify_client_cert(&leaf, &[], UnixTime::now()).is_ok()
    }

    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let parts =
            [("tls.crt", &self.certificate), ("tls.key", &self.key), ("ca.crt", &self.authority)];
        for (name, pem) in parts {
            fs::write(folder.join(name), pem).expect("the certificate is written");
        }
    }
}
