//! What is applied again changes nothing, whoever applies it and whatever the operator has said
//! meanwhile: GitOps tools would take a change for drift and correct it, for ever.

use segment_source_tests::{
    admission::examples,
    kube::{api::ApiServer, tools::Version},
    sources::Sources,
};
use serde_json::{Value, json};

/// How it is applied: as `kubectl apply` has always done, or by the server, as Flux and Argo CD do.
const WAYS: [&[&str]; 2] = [&[], &["--server-side", "--field-manager=gitops"]];

/// Every example as a source of its own, named after its file.
fn manifests() -> Vec<Value> {
    let named = |(name, mut manifest): (String, Value)| {
        manifest["metadata"]["name"] = json!(format!("example-{name}"));
        manifest
    };
    examples().into_iter().map(named).collect()
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Runs `kubectl apply`; what it says.
async fn apply(sources: &Sources<'_>, way: &[&str], manifests: &[Value]) -> String {
    let arguments = [&["apply", "-n", &sources.namespace], way, &["-f", "-"]].concat();
    sources.api.kubectl(&arguments, &list(manifests)).await.exits(0).out
}

/// Asserts that there is nothing to apply.
async fn no_difference(sources: &Sources<'_>, way: &[&str], manifests: &[Value]) {
    let arguments = [&["diff", "-n", &sources.namespace], way, &["-f", "-"]].concat();
    let said = sources.api.kubectl(&arguments, &list(manifests)).await.exits(0).out;
    assert_eq!(said, "");
}

/// Every source as it is stored, its resourceVersion, generation and managers included.
async fn stored(sources: &Sources<'_>, manifests: &[Value]) -> Vec<Value> {
    let mut stored = Vec::new();
    for manifest in manifests {
        let name = manifest["metadata"]["name"].as_str().expect("it has a name");
        stored.push(sources.get(name).await);
    }
    stored
}

/// `MANAGER OPERATION PART` of everyone who owns a field.
fn managers(object: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = object["metadata"]["managedFields"].as_array();
    let mut managers: Vec<String> = all
        .into_iter()
        .flatten()
        .map(|it| {
            format!(
                "{} {} {}",
                text(&it["manager"]),
                text(&it["operation"]),
                text(&it["subresource"])
            )
        })
        .map(|it| it.trim_end().to_owned())
        .collect();
    managers.sort();
    managers
}

#[tokio::test]
async fn applying_again_changes_nothing() {
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = ApiServer::shared(version).await else { return };
        for way in WAYS {
            let sources = Sources::new(api, "again").await;
            let mut manifests = manifests();
            apply(&sources, way, &manifests).await;
            let before = stored(&sources, &manifests).await;
            for (manifest, object) in manifests.iter().zip(&before) {
                // The server has added nothing and left nothing out.
                assert_eq!(object["spec"], manifest["spec"]);
                assert_eq!(object["metadata"]["generation"], 1);
            }
            let said = apply(&sources, way, &manifests).await;
            let unchanged = if way.is_empty() { "unchanged" } else { "serverside-applied" };
            assert!(said.lines().all(|it| it.ends_with(unchanged)), "{said}");
            assert_eq!(stored(&sources, &manifests).await, before);
            no_difference(&sources, way, &manifests).await;

            // After an edit, just the same.
            manifests[0]["spec"]["suspend"] = json!("Intake");
            apply(&sources, way, &manifests).await;
            let edited = stored(&sources, &manifests).await;
            assert_eq!(edited[0]["metadata"]["generation"], 2);
            assert_eq!(edited[0]["spec"], manifests[0]["spec"]);
            assert_eq!(edited[1..], before[1..]);
            apply(&sources, way, &manifests).await;
            assert_eq!(stored(&sources, &manifests).await, edited);
            no_difference(&sources, way, &manifests).await;
        }
    }
}

#[tokio::test]
async fn what_the_operator_says_is_no_drift() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    for way in WAYS {
        let sources = Sources::new(api, "status").await;
        let _operator = sources.operator("one").ready().await;
        let mut manifests = manifests();
        apply(&sources, way, &manifests).await;
        let said = async |generation: i64| {
            for manifest in &manifests {
                let name = manifest["metadata"]["name"].as_str().expect("it has a name");
                // No Secret is there, and no replica.
                let status = "Accepted=True/Accepted ResolvedRefs=False/SecretNotFound \
                              Programmed=False/NoReplicas Ready=False/SecretNotFound";
                let status = sources.until(name, status).await;
                assert!(status.0["observedGeneration"].as_i64() <= Some(generation));
            }
        };
        said(1).await;
        let before = stored(&sources, &manifests).await;
        for (manifest, object) in manifests.iter().zip(&before) {
            assert_eq!(object["spec"], manifest["spec"]);
            let applier =
                if way.is_empty() { "kubectl-client-side-apply Update" } else { "gitops Apply" };
            let operator = "segment-source-operator Update status";
            assert_eq!(managers(object), [applier, operator]);
        }
        apply(&sources, way, &manifests).await;
        assert_eq!(stored(&sources, &manifests).await, before);
        no_difference(&sources, way, &manifests).await;

        manifests[0]["spec"]["suspend"] = json!("Delivery");
        apply(&sources, way, &manifests).await;
        let name = manifests[0]["metadata"]["name"].as_str().expect("it has a name");
        sources.until(name, "Accepted=True/Accepted").await;
        let edited = stored(&sources, &manifests).await;
        assert_eq!(edited[0]["metadata"]["generation"], 2);
        assert_eq!(edited[0]["status"]["observedGeneration"], 2);
        assert_eq!(edited[1..], before[1..]);
        assert_eq!(managers(&edited[0]), managers(&before[0]));
        apply(&sources, way, &manifests).await;
        assert_eq!(stored(&sources, &manifests).await, edited);
        no_difference(&sources, way, &manifests).await;
    }
}

#[tokio::test]
async fn two_managers_share_a_source() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let sources = Sources::new(api, "managers").await;
    let _operator = sources.operator("one").ready().await;
    let git = &["--server-side", "--field-manager=gitops"][..];
    let person = &["--server-side", "--field-manager=person"][..];
    let manifest = vec![manifests().pop().expect("there are examples")];
    let name = manifest[0]["metadata"]["name"].as_str().expect("it has a name").to_owned();
    apply(&sources, git, &manifest).await;
    sources.until(&name, "Accepted=True/Accepted").await;

    // A person stops the source for a while; that is not in Git, and Git does not take it back.
    let part = |spec: Value| {
        let mut part = manifest[0].clone();
        part["spec"] = spec;
        vec![part]
    };
    // What the schema requires, in the same words.
    let mut required = json!({"verification": {"secretRefs": null}});
    required["verification"]["secretRefs"] =
        manifest[0]["spec"]["verification"]["secretRefs"].clone();
    let mut stopped = required.clone();
    stopped["suspend"] = json!("Delivery");
    apply(&sources, person, &part(stopped)).await;
    sources.until(&name, "Accepted=True/Accepted").await;
    let before = sources.get(&name).await;
    assert_eq!(before["spec"]["suspend"], "Delivery");
    assert_eq!(before["metadata"]["generation"], 2);
    let all = ["gitops Apply", "person Apply", "segment-source-operator Update status"];
    assert_eq!(managers(&before), all);
    for _ in 0..2 {
        apply(&sources, git, &manifest).await;
        assert_eq!(sources.get(&name).await, before);
        no_difference(&sources, git, &manifest).await;
    }

    // What Git has said is not the person's to change.
    let mut other = required.clone();
    other["mappings"] = manifest[0]["spec"]["mappings"].clone();
    other["mappings"][0]["eventType"] = json!("another");
    let arguments = [&["apply", "-n", &sources.namespace], person, &["-f", "-"]].concat();
    let said = api.kubectl(&arguments, &list(&part(other))).await.exits(1).err;
    assert!(said.contains("conflict with \"gitops\""), "{said}");
    assert_eq!(sources.get(&name).await, before);

    // Let go, it is as Git has it.
    apply(&sources, person, &part(required)).await;
    sources.until(&name, "Accepted=True/Accepted").await;
    let after = sources.get(&name).await;
    assert_eq!(after["spec"], manifest[0]["spec"]);
    assert_eq!(after["metadata"]["generation"], 3);
    no_difference(&sources, git, &manifest).await;
}
