//! Parts with certificates of a test authority, over real sockets.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status,
    transport::{Endpoint, Server},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

use super::{
    Authorities, ClientCertificates, Dial, Identity, InvalidIdentity, Peer, Role, Roles, Security,
    connect, folder, incoming,
};
use crate::net::Address;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// `tls.crt`, `tls.key`, `ca.crt`.
    fn issue(&self, names: &[&str]) -> [String; 3] {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        [certificate.pem(), key.serialize_pem(), self.0.pem()]
    }

    fn identity(&self, names: &[&str]) -> Arc<Identity> {
        let [certificate, key, ca] = self.issue(names);
        Arc::new(Identity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes()).unwrap())
    }

    fn authorities(&self) -> Authorities {
        Authorities::from_pem(self.0.pem().as_bytes()).unwrap()
    }
}

/// Answers a check with the roles of whoever asks, as an error's message.
struct WhoAmI;

#[tonic::async_trait]
impl Health for WhoAmI {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let peer = request.extensions().get::<Peer>().unwrap();
        assert!(peer.address.is_some());
        Err(Status::aborted(format!("{} {}", peer.roles, peer.encrypted)))
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

async fn serve(security: Security) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let service = HealthServer::new(WhoAmI);
    tokio::spawn(
        Server::builder().add_service(service).serve_with_incoming(incoming(listener, security)),
    );
    address
}

/// What the server at the address takes us for; `None` when there is no connection to be had.
async fn who(address: &Address, dial: Dial, server: Role) -> Option<String> {
    let endpoint = Endpoint::from_static("http://test.invalid");
    let mut client = HealthClient::new(connect(&endpoint, address, dial, server));
    let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
    (status.code() == Code::Aborted).then(|| status.message().to_owned())
}

fn now(identity: Arc<Identity>) -> watch::Receiver<Arc<Identity>> {
    watch::channel(identity).1
}

#[tokio::test]
async fn each_side_proves_its_role_by_its_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let ingest = now(ours.identity(&["ingest.segment-source.internal"]));
    let tls = |clients| Security::Tls { identities: ingest.clone(), clients };
    let strict = serve(tls(ClientCertificates::Required)).await;
    let lenient = serve(tls(ClientCertificates::Optional)).await;
    let both = ["edge.segment-source.internal", "ingest.segment-source.internal"];
    let edge = || Dial::Mutual(now(ours.identity(&both[..1])));
    let server = || Dial::Server(ours.authorities());
    let stranger = || Dial::Mutual(now(theirs.identity(&both[..1])));

    let check = async |address, dial, role, expected: Option<&str>| {
        assert_eq!(who(address, dial, role).await.as_deref(), expected);
    };
    for address in [&strict, &lenient] {
        check(address, edge(), Role::Ingest, Some("edge true")).await;
        let several = Dial::Mutual(now(ours.identity(&both)));
        check(address, several, Role::Ingest, Some("ingest+edge true")).await;
        let other = Dial::Mutual(now(ours.identity(&["edge.example.com"])));
        check(address, other, Role::Ingest, Some(" true")).await;
        // The server is not what it is taken for, or not of this authority; nor is the client.
        check(address, edge(), Role::Operator, None).await;
        check(address, Dial::Server(theirs.authorities()), Role::Ingest, None).await;
        check(address, stranger(), Role::Ingest, None).await;
        check(address, Dial::Plaintext, Role::Ingest, None).await;
    }
    check(&lenient, server(), Role::Ingest, Some(" true")).await;
    check(&strict, server(), Role::Ingest, None).await;

    let plaintext = serve(Security::Plaintext).await;
    check(&plaintext, Dial::Plaintext, Role::Ingest, Some(" false")).await;
    check(&plaintext, edge(), Role::Ingest, None).await;
}

fn write(folder: &Path, files: &[String; 3]) {
    for (name, text) in ["tls.crt", "tls.key", "ca.crt"].iter().zip(files) {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn a_folder_is_followed_and_what_is_wrong_replaces_nothing() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let error = folder::open(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.ends_with("tls.crt"), "{error}");

    write(folder.path(), &authority.issue(&["edge.segment-source.internal"]));
    let (mut identities, follower) = folder::open(folder.path()).unwrap();
    assert_eq!(identities.borrow().roles(), &Roles::from_iter([Role::Edge]));
    let stop = CancellationToken::new();
    let following = tokio::spawn(follower.run(stop.clone()));

    fs::write(folder.path().join("tls.key"), "nonsense").unwrap();
    write(folder.path(), &authority.issue(&["ingest.segment-source.internal"]));
    identities.wait_for(|now| now.roles().contains(Role::Ingest)).await.unwrap();
    stop.cancel();
    following.await.unwrap();
}

#[test]
fn what_is_no_identity_is_told_by_its_part() {
    let authority = Authority::new();
    let [certificate, key, ca] = authority.issue(&["edge.segment-source.internal"]);
    let [_, other, _] = authority.issue(&["edge.segment-source.internal"]);
    let read = |certificate: &str, key: &str, ca: &str| {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes()).map(|_| ())
    };
    let missing = |part, what| Err(InvalidIdentity::Missing { part, what });
    assert_eq!(read(&certificate, &key, &ca), Ok(()));
    assert_eq!(read("", &key, &ca), missing("tls.crt", "certificate"));
    assert_eq!(read(&certificate, "", &ca), missing("tls.key", "private key"));
    assert_eq!(read(&certificate, &key, ""), missing("ca.crt", "certificate"));
    let error = read(&certificate, &other, &ca).unwrap_err().to_string();
    assert!(!error.is_empty() && !error.contains("PRIVATE"), "{error}");
}
