//! Looks at Secrets, over an API server that is a function.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::FutureExt as _;
use http::{Request, Response};
use kube::{Client, client::Body};
use segment_source_runtime::tls::{Role, Roles};
use serde_json::json;
use tokio::time::Instant;
use tower::service_fn;

use super::{Certificates, Settings, make::Signer, plan::Validity};
use crate::{
    args::Issue,
    lease::Office,
    metrics::{ApiErrors, Expiries},
};

#[tokio::test]
async fn the_own_identity_is_read_whatever_else_is_missing() {
    let roles: Roles = [Role::Operator].into_iter().collect();
    let validity = Validity::of(jiff::Timestamp::now().as_second(), 3600);
    let signer = Signer::make(validity).unwrap();
    let (certificate, key) = signer.sign(&roles, validity).unwrap();
    let data = json!({
        "tls.crt": STANDARD.encode(certificate),
        "tls.key": STANDARD.encode(key),
        "ca.crt": STANDARD.encode(&signer.certificate),
    });
    // The identity is there; the Secrets of the authorities and of the token are not.
    let service = service_fn(move |request: Request<Body>| {
        let answer = match request.uri().path().ends_with("/own") {
            true => (200, json!({"metadata": {"name": "own"}, "data": data})),
            false => (404, json!({"kind": "Status", "code": 404, "reason": "NotFound"})),
        };
        let body = Body::from(answer.1.to_string().into_bytes());
        let response = Response::builder().status(answer.0).body(body);
        async move { Ok::<_, tower::BoxError>(response?) }
    });
    let settings = Settings {
        namespace: "prod".to_owned(),
        ca_secret: Some("ca".to_owned()),
        issue: vec![Issue { roles, secret: "own".to_owned() }],
        ca_validity: Duration::from_secs(86_400),
        certificate_validity: Duration::from_secs(3600),
        token_secret: Some("token".to_owned()),
    };
    let (office, leadership) = Office::new();
    office.hold(1, Instant::now() + Duration::from_secs(600));
    let (mut certificates, own) = Certificates::new(
        Client::new(service, "prod"),
        settings,
        leadership,
        ApiErrors::default(),
        Expiries::default(),
    );
    let problem = certificates.look().await.unwrap_err().to_string();
    assert!(own.wait().now_or_never().is_some(), "{problem}");
    for secret in ["prod/ca is missing", "prod/token is missing"] {
        assert!(problem.contains(secret), "{problem}");
    }
}
