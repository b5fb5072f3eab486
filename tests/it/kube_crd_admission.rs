//! The definition before the judges who know: the oldest and the newest supported API server take
//! it, and say of every manifest of the fixture and of every example what they should.

use std::fs;

use futures_util::{StreamExt, stream};
use kube::{Client, Error};
use segment_source_tests::{
    admission::{Case, cases, examples},
    kube::{api::ApiServer, tools::Version},
    process::root,
    sources::{DEFINITION, Sources},
};
use serde_json::Value;

const BOTH: [Version; 2] = [Version::Oldest, Version::Newest];

fn definition() -> String {
    fs::read_to_string(root().join("crds").join(format!("{DEFINITION}.yaml"))).expect("it is there")
}

#[tokio::test]
async fn the_definition_is_taken_without_a_warning() {
    for version in BOTH {
        let Some(api) = ApiServer::shared(version).await else { return };
        let sources = Sources::new(api, "definition").await;
        let strict = ["--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"];
        // As a new one, of a group that is not there yet, and as an upgrade.
        let new = definition().replace("segment-source.dev", "another.example.com");
        api.kubectl(&[&["create"], &strict[..]].concat(), &new).await.exits(0);
        let upgrade = ["apply", "--server-side", "--force-conflicts"];
        api.kubectl(&[&upgrade, &strict[..]].concat(), &definition()).await.exits(0);
        // It would be refused if anything were wrong with it.
        let wrong = definition().replace("name: v1alpha1", "name: v1alpha1\n    servd: true");
        let said = api.kubectl(&[&upgrade, &strict[..]].concat(), &wrong).await;
        assert!(said.code == Some(1) && said.err.contains("servd"), "{}", said.said());

        let get = ["get", "crd", DEFINITION, "-o", "json"];
        let stored = api.kubectl(&get, "").await.exits(0).out;
        let stored: Value = serde_json::from_str(&stored).expect("JSON");
        let mut conditions: Vec<String> = stored["status"]["conditions"]
            .as_array()
            .expect("it has conditions")
            .iter()
            .map(|it| format!("{}={}", it["type"], it["status"]).replace('"', ""))
            .collect();
        conditions.sort();
        // A schema with a mistake has a condition NonStructuralSchema.
        assert_eq!(conditions, ["Established=True", "NamesAccepted=True"]);
        drop(sources);
    }
}

/// What the API server says against creating this; nothing when it admits it.
async fn refusal(
    client: &Client,
    namespace: &str,
    manifest: &Value,
    strict: bool,
) -> Option<String> {
    let validation = if strict { "Strict" } else { "Ignore" };
    let uri = format!(
        "/apis/segment-source.dev/v1alpha1/namespaces/{namespace}/segmentsources?dryRun=All&\
         fieldValidation={validation}"
    );
    let request = http::Request::post(uri).header("Content-Type", "application/json");
    let request = request.body(manifest.to_string().into_bytes()).expect("a request");
    match client.request_text(request).await {
        Ok(_) => None,
        Err(Error::Api(status)) if [400, 422].contains(&status.code) => Some(status.message),
        Err(error) => panic!("{manifest}: {error}"),
    }
}

/// What is wrong with the answer to a case.
async fn wrong(client: &Client, namespace: &str, case: &Case) -> Option<String> {
    // Manifests that are admitted have no field that is not known, either.
    let said = refusal(client, namespace, &case.manifest, case.accepted).await;
    match (case.accepted, said) {
        (true, None) => None,
        (false, Some(said)) if said.contains(&case.message) => None,
        (true, Some(said)) => Some(format!("{}: is refused: {said}", case.name)),
        (false, Some(said)) => Some(format!("{}: `{}` is not in {said}", case.name, case.message)),
        (false, None) => Some(format!("{}: is admitted", case.name)),
    }
}

#[tokio::test]
async fn every_case_is_answered_as_the_fixture_says() {
    let cases = cases();
    let refused = cases.iter().filter(|it| !it.accepted);
    // Every refusal is for a reason that is known.
    assert!(refused.clone().all(|it| !it.message.is_empty()));
    assert!(refused.count() > 60 && cases.len() > 100, "{} cases", cases.len());
    for version in BOTH {
        let Some(api) = ApiServer::shared(version).await else { return };
        let sources = Sources::new(api, "admission").await;
        let (client, namespace) = (&sources.client, sources.namespace.as_str());
        let answers = stream::iter(&cases).map(|case| wrong(client, namespace, case));
        let wrong: Vec<String> =
            answers.buffer_unordered(8).filter_map(std::future::ready).collect().await;
        assert!(wrong.is_empty(), "{version:?}:\n{}", wrong.join("\n"));
    }
}

#[tokio::test]
async fn every_example_is_admitted() {
    for version in BOTH {
        let Some(api) = ApiServer::shared(version).await else { return };
        let sources = Sources::new(api, "examples").await;
        for (name, example) in examples() {
            let said = refusal(&sources.client, &sources.namespace, &example, true).await;
            assert_eq!(said, None, "{name} before {version:?}");
        }
        // As the comments in the files say.
        let folder = root().join("docs/examples");
        let folder = folder.to_str().expect("UTF-8");
        let create = ["create", "-n", &sources.namespace, "--dry-run=server", "--validate=strict"];
        let create = [&create[..], &["--warnings-as-errors", "-f", folder]].concat();
        let said = api.kubectl(&create, "").await.exits(0).out;
        assert_eq!(said.lines().count(), examples().len(), "{said}");
    }
}
