//! What the tests of access share: two sources with clients of every right, served by TLS, and
//! requests by every identity. No tests.

use std::{fs, path::PathBuf, time::Duration};

use segment_source_proto::{
    admin::v1::{ListEventsRequest, admin_client::AdminClient, list_events_response::Response},
    event::v1::Verdict,
    ingest::v1::Submission,
    queue::v1::{Delivery, queue_client::QueueClient},
};
use segment_source_tests::{
    manifest::{NAMESPACE, secret, signing_secret, source, welcome_mapping},
    read::pull_request,
    server::Server,
    sign::{fresh_id, track},
    site::Site,
    tls::Authority,
    wait::eventually,
};
use serde_json::{Value, json};
use tonic::{Request, transport::Channel};

/// The rights there are, as manifests write them; each is the name of a client of `web`, too.
pub(crate) const RIGHTS: [&str; 4] = ["Submit", "Consume", "Read", "Operate"];

/// `web`, with a client for each right; `app`, with one client `everything`.
pub(crate) struct Guarded {
    pub(crate) site: Site,
    pub(crate) authority: Authority,
    pub(crate) server: Server,
}

/// Who makes a call: by a certificate of these roles, and with these authorization headers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) roles: Option<&'static str>,
    pub(crate) headers: Vec<String>,
}

impl Identity {
    pub(crate) fn nobody() -> Self {
        Self::default()
    }

    pub(crate) fn token(token: &str) -> Self {
        Self { roles: None, headers: vec![format!("Bearer {token}")] }
    }

    /// The client of `web` that has this right.
    pub(crate) fn client(right: &str) -> Self {
        Self::token(&token(right))
    }

    pub(crate) fn platform() -> Self {
        Self::token(&token("platform"))
    }

    pub(crate) fn certificate(role: &'static str) -> Self {
        Self { roles: Some(role), headers: Vec::new() }
    }

    /// A request of this identity.
    pub(crate) fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for header in &self.headers {
            let header = header.parse().expect("a header");
            request.metadata_mut().append("authorization", header);
        }
        request
    }
}

/// The token of a client, made from its name so that a test can look for it in the log.
pub(crate) fn token(name: &str) -> String {
    format!("token-of-{name}-{:016x}", 7)
}

/// An entry of `access` and the Secret it names.
pub(crate) fn entry(client: &str, token: &str, can: &[&str]) -> [Value; 2] {
    let name = client.to_lowercase();
    let secret_name = format!("token-{name}");
    let entry = json!({
        "name": name,
        "tokenSecretRef": {"name": secret_name, "key": "token"},
        "can": can,
    });
    [entry, secret(&secret_name, "token", token)]
}

/// Writes a source with these clients: name, token, rights.
pub(crate) fn write(site: &Site, name: &str, clients: &[(&str, &str, &[&str])]) {
    let (entries, mut manifests): (Vec<_>, Vec<_>) =
        clients.iter().map(|(client, token, can)| entry(client, token, can).into()).unzip();
    let mut spec = json!({"mappings": [welcome_mapping()]});
    if !entries.is_empty() {
        spec["access"] = entries.into();
    }
    manifests.push(source(name, spec));
    site.write(&format!("{name}.yaml"), &manifests);
}

impl Guarded {
    pub(crate) async fn start() -> Self {
        let site = Site::new();
        site.write("secret.yaml", &[signing_secret()]);
        let tokens = RIGHTS.map(token);
        let rights = RIGHTS.map(|right| [right]);
        let clients: Vec<(&str, &str, &[&str])> =
            (0..4).map(|at| (RIGHTS[at], &tokens[at][..], &rights[at][..])).collect();
        write(&site, "web", &clients);
        write(&site, "app", &[("everything", &token("everything"), &RIGHTS)]);
        let authority = Authority::new();
        let folder = site.path().join("certificate");
        authority.write(&folder, &["edge", "ingest"]);
        let platform = site.path().join("platform-token");
        fs::write(&platform, format!("{}\n", token("platform"))).expect("a token");
        let launch = site.launch().flag("tls", &folder.display().to_string());
        let launch = launch.flag("platform-token", &platform.display().to_string());
        let server = launch.start().await;
        Self { site, authority, server }
    }

    pub(crate) fn platform_token(&self) -> PathBuf {
        self.site.path().join("platform-token")
    }

    /// A connection as this identity makes it.
    pub(crate) fn channel(&self, identity: &Identity) -> Channel {
        let own = identity.roles.map(|role| self.authority.issue(&[role]));
        self.authority.connect(self.server.grpc, own.as_ref())
    }

    pub(crate) fn admin(&self, identity: &Identity) -> AdminClient<Channel> {
        AdminClient::new(self.channel(identity))
    }

    pub(crate) fn queue(&self, identity: &Identity) -> QueueClient<Channel> {
        QueueClient::new(self.channel(identity))
    }

    /// Posts a webhook to a source and returns the id of its event once an action waits.
    pub(crate) async fn send(&self, source: &str) -> String {
        let id = fresh_id();
        let event = track(&id, &id, "Signed Up").to_string();
        assert_eq!(self.server.post(source, event).await.counts(), (1, 0));
        let request = ListEventsRequest {
            namespace: NAMESPACE.into(),
            name: source.into(),
            limit: 1,
            ..ListEventsRequest::default()
        };
        let platform = Identity::platform();
        let admin = self.admin(&platform);
        eventually("the event is planned", || {
            let (mut admin, asked) = (admin.clone(), platform.ask(request.clone()));
            let id = id.clone();
            async move {
                let events = admin.list_events(asked).await.expect("listed");
                let first = events.into_inner().message().await.expect("an answer");
                match first.and_then(|answer| answer.response) {
                    Some(Response::Event(event)) if event.key == id && event.actions == 1 => {
                        Some(event.event_id)
                    }
                    _ => None,
                }
            }
        })
        .await
    }

    /// Takes one action of a source.
    pub(crate) async fn take(&self, source: &str, identity: &Identity) -> Delivery {
        let request = pull_request(source, 1, Duration::from_secs(20));
        let answer = self.queue(identity).pull(identity.ask(request)).await;
        answer.expect("pulled").into_inner().deliveries.remove(0)
    }
}

/// An event as an internal client submits it.
pub(crate) fn submission(source: &str) -> Submission {
    let id = fresh_id();
    Submission {
        namespace: NAMESPACE.into(),
        name: source.into(),
        body: track(&id, &id, "Signed Up").to_string().into(),
        ..Submission::default()
    }
}

/// An event as the edge submits it.
pub(crate) fn verified(source: &str) -> Submission {
    let mut receipt = fresh_id().into_bytes();
    receipt.truncate(16);
    let verdict = Verdict::VerifiedBody.into();
    Submission { receipt: receipt.into(), verdict, covered: true, ..submission(source) }
}
