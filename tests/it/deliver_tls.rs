//! The http destination over TLS: whose certificates are believed.

use std::{fs, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use segment_source_proto::admin::v1::action::State;
use segment_source_tests::{
    sink::{Answer, Sink},
    site::Site,
    wait::eventually,
};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::deliver_http::{send, spec, until};

/// A server's certificate for `name` by an authority of its own, and that authority in PEM.
fn certified(name: &str) -> (TlsAcceptor, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(
        params,
        KeyPair::generate().expect("a key or a certificate of it"),
    )
    .expect("a key or a certificate of it");
    let key = KeyPair::generate().expect("a key or a certificate of it");
    let params =
        CertificateParams::new(vec![name.to_owned()]).expect("a key or a certificate of it");
    let certificate = params.signed_by(&key, &authority).expect("a key or a certificate of it");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key or a certificate of it");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("a key or a certificate of it")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a key or a certificate of it");
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

#[tokio::test]
async fn only_a_certificate_of_a_known_authority_and_for_the_host_is_believed() {
    let (tls, authority) = certified("127.0.0.1");
    let sink = Sink::with(Some(tls), |_| Answer::status(200)).await;
    let (wrong, _) = certified("127.0.0.1");
    let stranger = Sink::with(Some(wrong), |_| Answer::status(200)).await;
    let site = Site::with_web(spec(&[
        ("good", json!({"url": sink.url("/")})),
        ("bad", json!({"url": stranger.url("/")})),
    ]));
    let file = site.path().join("authority.pem");
    fs::write(&file, authority).unwrap();
    let server = site
        .launch()
        .flag("allow-destination", "127.0.0.1")
        .flag("destination-ca", &file.display().to_string())
        .start()
        .await;
    let id = send(&server, "user-1").await;
    let action = until(&server, &id, State::Delivered).await;
    assert_eq!(action.destination, "good");
    let failed = || async {
        let event = server.planned_one("web", &id).await;
        let bad = event.actions.into_iter().find(|action| action.destination == "bad")?;
        (bad.attempts > 0).then(|| format!("{bad:?}"))
    };
    let failed = eventually("a failed attempt", failed).await;
    assert!(failed.contains("transport") && failed.contains("certificate"), "{failed}");
    assert_eq!((sink.asked().len(), stranger.asked().len()), (1, 0));
}

#[tokio::test]
async fn a_file_of_authorities_that_is_none_is_refused_at_the_start() {
    let site = Site::with_web(json!({}));
    let file = site.path().join("authority.pem");
    fs::write(&file, "nothing").unwrap();
    let launch = site.launch().flag("destination-ca", &file.display().to_string());
    let output = launch.command().output().expect("it starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--destination-ca") && said.contains("authority.pem"), "{said}");
}
