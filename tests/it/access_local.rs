//! Who calls without TLS on this machine, and what a token changes about that; which of several
//! proofs decides.

use segment_source_proto::{
    admin::v1::{ListSourcesRequest, admin_client::AdminClient},
    ingest::v1::{SubmitRequest, ingest_client::IngestClient},
};
use segment_source_tests::{
    manifest::signing_secret, server::Server, site::Site, wait::eventually,
};
use tonic::Code;

use crate::access_site::{Guarded, Identity, RIGHTS, submission, token, verified, write};

/// Sources that the caller sees, or why it is not let in.
async fn sees(mut admin: AdminClient<tonic::transport::Channel>, identity: &Identity) -> Seen {
    let answer = admin.list_sources(identity.ask(ListSourcesRequest {})).await;
    let sources = answer.map_err(|status| status.code())?.into_inner().sources;
    Ok(sources.into_iter().map(|source| source.name).collect())
}

type Seen = Result<Vec<String>, Code>;

fn names(names: &[&str]) -> Seen {
    Ok(names.iter().map(ToString::to_string).collect())
}

fn with_headers(headers: &[&str]) -> Identity {
    Identity { roles: None, headers: headers.iter().map(ToString::to_string).collect() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_everyone_on_this_machine_may_everything_but_a_token_decides() {
    let site = Site::new();
    site.write("secret.yaml", &[signing_secret()]);
    write(&site, "web", &[("reader", &token("reader"), &["Read"])]);
    write(&site, "app", &[("everything", &token("everything"), &RIGHTS)]);
    let server: Server = site.start().await;
    eventually("both sources are there", async || {
        let seen = sees(server.admin().await, &Identity::nobody()).await;
        (seen == names(&["app", "web"])).then_some(())
    })
    .await;
    let check = async |identity: Identity, expected: Seen| {
        assert_eq!(sees(server.admin().await, &identity).await, expected, "{identity:?}");
    };
    let reader = token("reader");
    check(Identity::token(&reader), names(&["web"])).await;
    check(Identity::token("unknown"), Err(Code::Unauthenticated)).await;
    // There is no platform token, and an empty one is none.
    check(Identity::platform(), Err(Code::Unauthenticated)).await;
    for header in ["Bearer ", "Bearer", "", "Basic cmVhZGVyOng=", &reader] {
        check(with_headers(&[header]), Err(Code::Unauthenticated)).await;
    }
    for scheme in ["bearer", "BEARER", "Bearer "] {
        check(with_headers(&[&format!("{scheme} {reader}")]), names(&["web"])).await;
    }
    let twice = format!("Bearer {reader}");
    check(with_headers(&[&twice, &twice]), Err(Code::Unauthenticated)).await;

    // The edge of a plaintext hop, and people at their machine.
    let mut ingest: IngestClient<_> = server.ingest().await;
    let submissions = vec![verified("web"), submission("web")];
    let answer = ingest.submit(SubmitRequest { submissions }).await.expect("submitted");
    assert_eq!(answer.into_inner().results.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_certificate_and_a_token_the_token_decides() {
    let guarded = Guarded::start().await;
    let check = async |roles: Option<&'static str>, bearer: Option<&str>, expected: Seen| {
        let headers = bearer.map(|token| format!("Bearer {token}")).into_iter().collect();
        let identity = Identity { roles, headers };
        let seen = sees(guarded.admin(&identity), &identity).await;
        assert_eq!(seen, expected, "{identity:?}");
    };
    let (reader, platform) = (token("Read"), token("platform"));
    check(Some("edge"), None, Err(Code::PermissionDenied)).await;
    check(Some("edge"), Some(&reader), names(&["web"])).await;
    check(Some("edge"), Some("unknown"), Err(Code::Unauthenticated)).await;
    check(Some("ingest"), Some(&platform), names(&["app", "web"])).await;
    check(Some("operator"), None, Err(Code::Unauthenticated)).await;
    check(None, Some(&platform), names(&["app", "web"])).await;

    // The edge's certificate beside a client's token makes no edge.
    let identity = Identity { roles: Some("edge"), ..Identity::client("Submit") };
    let mut ingest = IngestClient::new(guarded.channel(&identity));
    let request = SubmitRequest { submissions: vec![verified("web")] };
    let refused = ingest.submit(identity.ask(request)).await.expect_err("it is no edge");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
