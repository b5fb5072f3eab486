//! The HTTP client of all destinations that are called over HTTP: what it sends it sends once, to
//! addresses that the guard permits, and what it reads is bounded. Which requests are made and what
//! the answers mean is the business of each kind.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, HeaderValue, USER_AGENT},
    redirect,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::{Instant, timeout_at};
use url::Host;

use crate::{
    delivery::{Outcome, code},
    guard::{Guard, NotAllowed, Resolver},
};

const CONNECT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read; what follows is not.
const LARGEST_ANSWER: usize = 64 << 10;

/// An answer's status is known, its body does not end: this long it is waited for.
const SLOWEST_BODY: Duration = Duration::from_secs(5);

/// Sends requests. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    guard: Guard,
}

/// What is sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// `user-agent` is added.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What was answered; no redirect.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// At most 64 KiB; less than was said when it was longer, slow, or broke off.
    pub(crate) body: Bytes,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file with more authorities cannot be read.
    #[error("cannot read the certificates in {file}: {why}; give PEM")]
    Authorities {
        /// Which.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The system refuses.
    #[error("cannot make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The protocol versions and the provider do not fit.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS of a client. Servers prove themselves by the authorities of the system (Mozilla's where the
/// system has none), and those in `authorities`, a PEM file.
///
/// # Errors
/// Names the file that cannot be read, and says why.
pub fn client_tls(authorities: Option<&Path>) -> Result<ClientConfig, ClientError> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth())
}

impl HttpClient {
    /// A client that reaches what the guard permits; `authorities` as [`client_tls`] has them.
    ///
    /// # Errors
    /// Names the file that cannot be read, and says why.
    pub fn new(guard: Guard, authorities: Option<&Path>) -> Result<Self, ClientError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client_tls(authorities)?)
            // A proxy of the environment would connect to what the guard does not permit.
            .no_proxy()
            .redirect(redirect::Policy::none())
            // Repeating is the engine's business.
            .retry(reqwest::retry::never())
            .dns_resolver(Arc::new(Resolver(guard.clone())))
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(50))
            .build()?;
        Ok(Self { client, guard })
    }

    /// Sends a request, once. Whoever calls it gives up when the attempt has lasted too long.
    ///
    /// # Errors
    /// How the attempt ended when there is no answer to judge: nobody answered, the address may not
    /// be reached, or the answer is a redirect.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, Outcome> {
        let Request { method, url, mut headers, body } = request;
        let host = self.check(&url)?;
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let proofs: Vec<_> = headers.values().filter(|it| it.is_sensitive()).cloned().collect();
        let sending = self.client.request(method, url).headers(headers).body(body).send();
        let mut answer = sending.await.map_err(|error| failure(&host, &error))?;
        let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
        if status.is_redirection() {
            let message = format!(
                "{host} answered {status}; redirects are not followed, so give the final URL"
            );
            return Err(Outcome::Dead { code: code::REDIRECT, message });
        }
        let body = without(read(answer).await, &proofs);
        Ok(Response { status, headers, body })
    }

    /// The host of the URL, for messages. Names are judged when they are resolved; an address in
    /// the URL itself is never resolved.
    fn check(&self, url: &Url) -> Result<String, Outcome> {
        let address = match url.host() {
            None => {
                return Err(Outcome::invalid_request("the URL has no host"));
            }
            Some(Host::Domain(name)) => return Ok(name.to_owned()),
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
        };
        let host = std::net::IpAddr::to_string(&address);
        self.guard.check(&host, address).map_err(|why| not_allowed(&why))?;
        Ok(host)
    }
}

const AGENT: &str = concat!("segment-source/", env!("CARGO_PKG_VERSION"));

/// What there is of the body in time.
async fn read(mut answer: reqwest::Response) -> Bytes {
    let deadline = Instant::now() + SLOWEST_BODY;
    let mut body = BytesMut::new();
    // A body that breaks off is no failure: the status says what became of the request.
    while let Ok(Ok(Some(chunk))) = timeout_at(deadline, answer.chunk()).await {
        let room = LARGEST_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == LARGEST_ANSWER {
            break;
        }
    }
    body.freeze()
}

/// The answer without the keys and signatures that were sent: it is shown and logged, and some
/// endpoints repeat what they were sent.
fn without(body: Bytes, proofs: &[HeaderValue]) -> Bytes {
    let proofs = proofs.iter().filter_map(|proof| proof.to_str().ok());
    let parts = proofs.flat_map(|proof| proof.split([' ', ',']));
    // Shorter ones are words such as `Bearer` and `v1`.
    let found: Vec<&str> = parts
        .filter(|part| part.len() >= 8)
        .filter(|part| body.windows(part.len()).any(|window| window == part.as_bytes()))
        .collect();
    if found.is_empty() {
        return body;
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    found.into_iter().fold(text, |text, part| text.replace(part, "[removed]")).into()
}

fn not_allowed(why: &NotAllowed) -> Outcome {
    Outcome::Dead { code: code::ADDRESS_NOT_ALLOWED, message: why.to_string() }
}

/// Nobody answered. The URL, which may hold a secret, is not in the message.
fn failure(host: &str, error: &reqwest::Error) -> Outcome {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(why) = cause.downcast_ref::<NotAllowed>() {
            return not_allowed(why);
        }
        match cause.source() {
            Some(next) => cause = next,
            None => break,
        }
    }
    let (code, what) = match error {
        error if error.is_builder() => {
            return Outcome::invalid_request(format!("no request can be made to {host}: {cause}"));
        }
        error if error.is_timeout() => (code::TIMEOUT, "did not take a connection in time"),
        error if error.is_connect() => (code::TRANSPORT, "cannot be connected to"),
        _ => (code::TRANSPORT, "broke the connection off"),
    };
    Outcome::Retry { code, message: format!("{host} {what}: {cause}"), after: None }
}

/// Who is believed.
fn roots(authorities: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(file) = authorities {
        let unreadable =
            |why: String| ClientError::Authorities { file: file.display().to_string(), why };
        let pem = fs::read(file).map_err(|error| unreadable(error.to_string()))?;
        let mut any = false;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            any = true;
        }
        if !any {
            return Err(unreadable("there is none".to_owned()));
        }
    }
    Ok(roots)
}
