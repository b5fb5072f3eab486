//! What people and the service's own pods may do: whoever may view or edit a namespace may do so with
//! its SegmentSources, and pods may do nothing at all.

use k8s_openapi::api::{
    authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use segment_source_tests::{
    admission::examples,
    bare::BareRelease,
    chart::available,
    kube::{api::ApiServer, tools::Version},
    release::NAME,
    sources::Sources,
    wait::eventually,
};
use serde_json::{Value, json};

fn code<T>(result: Result<T, Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

/// A new account, with a client of its own.
async fn account<'a>(sources: &Sources<'a>, name: &str) -> Sources<'a> {
    let accounts: Api<ServiceAccount> = Api::namespaced(sources.client.clone(), &sources.namespace);
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.expect("it is made");
    let client = sources.api.account(&sources.namespace, name).await;
    Sources { client, ..sources.clone() }
}

/// One with a role of the cluster, in the namespace.
async fn person<'a>(sources: &Sources<'a>, role: &str) -> Sources<'a> {
    let person = account(sources, &format!("person-{role}")).await;
    let subject = format!("--serviceaccount={}:person-{role}", sources.namespace);
    let bind = ["create", "rolebinding", role, "--clusterrole", role, &subject];
    let bind = [&bind[..], &["-n", &sources.namespace]].concat();
    sources.api.kubectl(&bind, "").await.exits(0);
    person
}

/// HTTP codes of what can be tried with sources: get, list, create, patch, patch the status, delete,
/// delete all; and with reading Secrets.
async fn codes(person: &Sources<'_>) -> [u16; 8] {
    let all = person.all();
    let (_, mut example) = examples().swap_remove(0);
    example["metadata"]["name"] = json!("new");
    let example = serde_json::from_value(example).expect("an object");
    let edit = json!({"spec": {"suspend": "Intake"}});
    let edit = Patch::Merge(&edit);
    let status = json!({"status": {"ingestPath": "/somewhere/else"}});
    let status = Patch::Merge(&status);
    let (patch, delete) = (PatchParams::default(), DeleteParams::default());
    let secrets: Api<Secret> = Api::namespaced(person.client.clone(), &person.namespace);
    [
        code(all.get("old").await),
        code(all.list(&ListParams::default()).await),
        code(all.create(&PostParams::default(), &example).await),
        code(all.patch("old", &patch, &edit).await),
        code(all.patch_status("old", &patch, &status).await),
        code(all.delete("new", &delete).await),
        code(all.delete_collection(&delete, &ListParams::default().labels("no=such")).await),
        code(secrets.list(&ListParams::default()).await),
    ]
}

const VIEW: [u16; 8] = [200, 200, 403, 403, 403, 403, 403, 403];
/// The cluster's own role lets editors read Secrets.
const EDIT: [u16; 8] = [200, 200, 200, 200, 403, 200, 200, 200];
const NOTHING: [u16; 8] = [403; 8];

#[tokio::test]
async fn viewers_view_and_editors_edit() {
    if !available() {
        return;
    }
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = ApiServer::shared(version).await else { return };
        if !api.has_controllers() {
            return;
        }
        let sources = Sources::new(api, "people").await;
        let _release = BareRelease::install(api, &sources.namespace, "").await;
        sources.source("old", json!({})).await;
        let nobody = account(&sources, "nobody").await;
        for (role, expected) in [("view", VIEW), ("edit", EDIT), ("admin", EDIT)] {
            let person = person(&sources, role).await;
            // A controller adds the rules of the chart to the roles of the cluster.
            eventually("the roles are put together", || async {
                let found = codes(&person).await;
                (found == expected).then_some(()).or_else(|| {
                    // Rules are added one role after the other, and never too many.
                    let more = found.iter().zip(&expected).any(|it| it == (&200, &403));
                    assert!(!more, "{role}: {found:?}");
                    None
                })
            })
            .await;
        }
        assert_eq!(codes(&nobody).await, NOTHING);
    }
}

/// Every rule that the server has for an account in its namespace.
async fn rules(client: &Client, namespace: &str) -> Value {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) },
        ..SelfSubjectRulesReview::default()
    };
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client.clone());
    let review = reviews.create(&PostParams::default(), &review).await.expect("it is reviewed");
    let mut rules = serde_json::to_value(review.status).expect("JSON");
    for kind in ["resourceRules", "nonResourceRules"] {
        // They come in any order.
        rules[kind].as_array_mut().expect("a list").sort_by_key(Value::to_string);
    }
    rules
}

#[tokio::test]
async fn the_pods_of_the_service_may_do_nothing() {
    if !available() {
        return;
    }
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    for values in ["", "mode: distributed"] {
        let sources = Sources::new(api, "pods").await;
        let release = BareRelease::install(api, &sources.namespace, values).await;
        sources.source("old", json!({})).await;
        let client = api.account(&release.namespace, NAME).await;
        let pods = Sources { client, ..sources.clone() };
        assert_eq!(codes(&pods).await, NOTHING);
        // No more than an account that nobody has given anything, which can see what it may do.
        let nobody = account(&sources, "nobody").await;
        let expected = rules(&nobody.client, &sources.namespace).await;
        assert!(expected["resourceRules"].as_array().is_some_and(|it| !it.is_empty()));
        assert_eq!(rules(&pods.client, &sources.namespace).await, expected);
    }
}
