//! Certificates that the operator makes: into Secrets that are there empty, again and again, without
//! anybody noticing.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    manifest::welcome_mapping,
    mount::{IDENTITY, Mount},
    prober::Prober,
    relay::Relay,
    site::Site,
    sources::Sources,
    tls::{Authority, Certificate, connect},
    wait::eventually,
    watcher::Watcher,
};
use serde_json::json;
use tonic::Code;

fn empty(name: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "Opaque"})
}

async fn key(sources: &Sources<'_>, secret: &str, key: &str) -> Option<String> {
    let secrets: Api<Secret> = Api::namespaced(sources.client.clone(), &sources.namespace);
    let found = secrets.get(secret).await.expect("the Secret is there");
    let value = found.data?.remove(key)?.0;
    Some(String::from_utf8(value).expect("it is text"))
}

/// How many certificates a text in PEM has.
fn certificates(pem: &str) -> usize {
    pem.matches("BEGIN CERTIFICATE").count()
}

#[tokio::test]
async fn certificates_are_made_and_rotated_without_anybody_noticing() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "issued").await;
    let (client, namespace) = (sources.client.clone(), sources.namespace.clone());
    for name in ["rel-ca", "rel-operator-tls", "rel-tls", "rel-edge-tls", "rel-platform-token"] {
        sources.apply(&[empty(name)]).await;
    }
    sources.signing_secret().await;
    sources.source("web", json!({"mappings": [welcome_mapping()]})).await;
    let launch = |name: &str| {
        sources
            .operator(name)
            .flag("ca-secret", "rel-ca")
            .flag("issue", "operator=rel-operator-tls")
            .flag("issue", "edge+ingest=rel-tls")
            .flag("issue", "edge=rel-edge-tls")
            .flag("ca-validity", "40s")
            .flag("certificate-validity", "18s")
            .flag("platform-token-secret", "rel-platform-token")
    };
    let (one, two) = (launch("one").ready().await, launch("two").ready().await);
    let token = key(&sources, "rel-platform-token", "token").await.expect("it is filled");
    assert_eq!(token.len(), 43, "32 bytes in base64url");
    // Nobody gets the authority's key but the operator.
    for name in ["rel-operator-tls", "rel-tls", "rel-edge-tls"] {
        assert_eq!(key(&sources, name, "ca.key").await, None);
    }

    let relay = Relay::new(&[one.grpc, two.grpc]).await;
    let config = relay.config().replace("http://", "https://");
    let (site, other) = (Site::new(), Site::new());
    let at = site.path().join("tls");
    let mount = Mount::new(&client, &namespace, "rel-tls", IDENTITY, &at).await;
    let tls = mount.folder.to_str().expect("UTF-8").to_owned();
    let launch = sources.replica(&site, &config);
    let server = launch.flag("tls", &tls).flag("replica", "good").start().await;
    sources.until_ready("web").await;

    // A certificate is good for what it says: the service refuses to start with one of too few
    // roles, and the operator to serve it.
    let at = other.path().join("tls");
    let edge = Mount::new(&client, &namespace, "rel-edge-tls", IDENTITY, &at).await;
    let tls = edge.folder.to_str().expect("UTF-8").to_owned();
    let refused = other.launch().flag("config", &config).flag("tls", &tls).command().output();
    let refused = refused.expect("it ends");
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the certificate is for `edge`"), "{said}");
    let leader = match sources.leader().await.0.as_str() {
        "one" => &one,
        _ => &two,
    };
    let own = Certificate::read(&edge.folder);
    let ca = key(&sources, "rel-edge-tls", "ca.crt").await.expect("it is filled");
    let channel = |own| connect(leader.grpc, "operator", ca.as_bytes(), own);
    let refused = Watcher::over(channel(Some(&own)), "bad", 2).await.expect_err("all is asked for");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = Watcher::over(channel(None), "bad", 2).await.expect_err("nobody is asking");
    assert_ne!(refused.code(), Code::Ok, "{refused}");

    let prober = Prober::start(server.http, &server.target("web"));
    let (mut leaves, mut authorities, mut both) = (BTreeSet::new(), BTreeSet::new(), false);
    let mut reconnects = 0;
    while authorities.len() < 3 || leaves.len() < 4 || !both {
        let news = eventually("the next certificate is made", || async {
            let leaf = key(&sources, "rel-tls", "tls.crt").await?;
            let ca = key(&sources, "rel-tls", "ca.crt").await?;
            let new = !leaves.contains(&leaf) || !authorities.contains(&ca);
            new.then_some((leaf, ca))
        })
        .await;
        both |= certificates(&news.1) == 2;
        // Bundles with one and with two follow each other.
        assert!(both || authorities.len() < 3, "never are two authorities trusted");
        leaves.insert(news.0);
        authorities.insert(news.1);
        // Every hand-shake from here on is by what there is now.
        relay.cut();
        reconnects += 1;
        eventually("the replica is connected again", || async {
            let connected = async |it: &segment_source_tests::operator::Operator| {
                it.metric_or_zero("replicas{roles=\"edge+ingest\"}").await
            };
            (connected(&one).await + connected(&two).await > 0.0).then_some(())
        })
        .await;
        prober.more(2).await;
    }
    assert!(reconnects >= 4);
    // By the newest certificates an edit still goes all the way.
    sources.source("web", json!({"mappings": []})).await;
    sources.until_ready("web").await;
    let sent = prober.stop().await;
    assert_eq!(sent.refused(), 0, "{sent:?}");
    assert_eq!(key(&sources, "rel-platform-token", "token").await, Some(token), "it stays");
    let log = format!("{}{}{}", one.log(), two.log(), server.log());
    assert!(!log.contains("PRIVATE KEY"), "a key is in a log");
}

/// An identity as it is in a Secret now.
async fn identity(sources: &Sources<'_>, secret: &str) -> Option<Certificate> {
    let secrets: Api<Secret> = Api::namespaced(sources.client.clone(), &sources.namespace);
    let data = secrets.get(secret).await.expect("the Secret is there").data?;
    let text = |key: &str| Some(std::str::from_utf8(&data.get(key)?.0).expect("it is text"));
    Some(Certificate::from_pem(text("tls.crt")?, text("tls.key")?, text("ca.crt")?))
}

/// The authorities of a bundle, one by one.
fn authorities(bundle: &str) -> Vec<String> {
    let all = bundle.split_inclusive("-----END CERTIFICATE-----");
    all.filter(|it| certificates(it) == 1).map(str::to_owned).collect()
}

/// Not everybody gets the new ones at the same moment: who still has a certificate of the old
/// authority and who has one of the new are both let in, by the same process, without a restart.
#[tokio::test]
async fn while_an_authority_follows_another_certificates_of_both_are_good() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "overlap").await;
    for name in ["rel-ca", "rel-operator-tls", "rel-tls"] {
        sources.apply(&[empty(name)]).await;
    }
    // The next authority is there after 20 seconds and signs from the 23rd on. Certificates are made
    // after 0, 9, 17 and, by the next authority, 26 seconds; the old one is good for 30.
    let operator = sources
        .operator("one")
        .flag("ca-secret", "rel-ca")
        .flag("issue", "operator=rel-operator-tls")
        .flag("issue", "edge+ingest=rel-tls")
        .flag("ca-validity", "30s")
        .flag("certificate-validity", "13s")
        .ready()
        .await;
    operator.until_leading().await;
    // Trusts these authorities only, and shows this certificate.
    let open = async |ca: &str, own: &Certificate| {
        let channel = connect(operator.grpc, "operator", ca.as_bytes(), Some(own));
        Watcher::over(channel, "by-hand", 2).await
    };
    let bundle = async || key(&sources, "rel-tls", "ca.crt").await;
    let first = eventually("there is an authority", &bundle).await;
    assert_eq!(certificates(&first), 1);

    let both = eventually("the next authority is there", || async {
        bundle().await.filter(|it| certificates(it) == 2)
    })
    .await;
    assert!(both.contains(&first), "the old one is trusted still");
    let next = authorities(&both).into_iter().find(|it| it.trim() != first.trim());
    let next = next.expect("there is another one");
    // It signs nothing yet: who does not know it must not meet it.
    let mut old = identity(&sources, "rel-tls").await.expect("it is filled");
    assert!(old.is_trusted_by(&first) && !old.is_trusted_by(&next));
    open(&first, &old).await.expect("whoever knows the old one only is served");

    let new = loop {
        let now = identity(&sources, "rel-tls").await.expect("it is filled");
        if now.is_trusted_by(&next) {
            break now;
        }
        old = now;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    eventually("the operator's own is of the next authority, too", || async {
        open(&next, &new).await.ok()
    })
    .await;
    assert!(!old.is_trusted_by(&next) && old.is_trusted_by(&both), "the old one is good still");
    open(&both, &old).await.expect("one of the old authority is let in");
    open(&both, &new).await.expect("one of the next authority is let in");
    let strange = Authority::new().issue(&["edge", "ingest"]);
    let refused = open(&both, &strange).await.expect_err("one of neither is not");
    assert_ne!(refused.code(), Code::PermissionDenied, "it gets no further than TLS: {refused}");
}
