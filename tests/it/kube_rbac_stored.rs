//! Where secret values end up: in Secrets, and nowhere else that etcd has, nor in what the operator
//! says of itself.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use segment_source_tests::{
    bare::BareRelease,
    chart::available,
    kube::{api::ApiServer, tools::Version},
    sources::Sources,
};

use crate::kube_rbac_life::{Values, live};

/// What must not be found: a name for it, and its bytes.
fn marks(
    values: &Values,
    release: &[k8s_openapi::api::core::v1::Secret],
) -> Vec<(String, Vec<u8>)> {
    let mut marks: Vec<(String, Vec<u8>)> =
        values.all().into_iter().map(|it| (it.to_owned(), it.as_bytes().to_vec())).collect();
    for secret in release {
        let name = secret.metadata.name.clone().unwrap_or_default();
        for (key, value) in secret.data.iter().flatten() {
            let text = String::from_utf8_lossy(&value.0);
            match key.as_str() {
                "token" => marks.push((format!("{name} {key}"), value.0.clone())),
                // A line from the middle of each key: line breaks may be written in other ways.
                "ca.key" | "tls.key" => {
                    let line = text.lines().nth(1).expect("PEM has lines").to_owned();
                    assert!(line.len() >= 32 && !line.contains('-'), "no line of a key");
                    marks.push((format!("{name} {key}"), line.into_bytes()));
                }
                _ => {}
            }
        }
    }
    marks
}

/// In the ways in which bytes are written into text.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![bytes.to_vec()];
    for encoded in [STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)] {
        // The last letters depend on what follows.
        forms.push(encoded.as_bytes()[..bytes.len() / 3 * 4].to_vec());
    }
    forms
}

fn contains(text: &str, bytes: &[u8]) -> bool {
    text.as_bytes().windows(bytes.len()).any(|window| window == bytes)
}

#[tokio::test]
async fn secret_values_are_in_secrets_only() {
    if !available() {
        return;
    }
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "stored").await;
    let release = BareRelease::install(api, &sources.namespace, "").await;
    let values = Values::fresh();
    let said = live(&release, &sources, &values).await;
    let marks = marks(&values, &release.filled().await);
    // Five of the source, three keys, one token.
    assert_eq!(marks.len(), 9);
    // Those that are replaced are in no Secret any more.
    let replaced = &values.signing[..2];
    let all = api.etcd_dump().await;
    let home = format!("/registry/secrets/{}/", sources.namespace);
    for (name, bytes) in &marks {
        let mut kept = Vec::new();
        for form in forms(bytes) {
            assert!(!contains(&said, &form), "the operator has said {name}");
            let found = all.iter().filter(|pair| pair.contains(&form)).map(|pair| &pair.key);
            kept.extend(found.filter(|key| {
                assert!(key.starts_with(&home), "{name} is in {key}");
                true
            }));
        }
        assert_eq!(kept.is_empty(), replaced.contains(name), "{name} is in {kept:?}");
    }
    // Everything that could have taken one over was there to be looked at.
    for part in ["segmentsources", "controllerrevisions", "events", "leases", "serviceaccounts"] {
        let place = format!("{part}/{}/", sources.namespace);
        assert!(all.iter().any(|pair| pair.key.contains(&place)), "no {part}");
    }
}
