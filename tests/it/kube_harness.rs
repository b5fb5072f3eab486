//! The API server that tests run against: what it is trusted to do.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use kube::{
    Api, Client, Error,
    api::{
        DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
};
use segment_source_tests::{
    kube::{api::ApiServer, tools::Version},
    wait::eventually,
};

const MARK: &str = "a-mark-that-is-nowhere-else";

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: named(name), ..ConfigMap::default() }
}

async fn create(client: &Client, namespace: &str, name: &str) -> ConfigMap {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    maps.create(&PostParams::default(), &config_map(name)).await.expect("it is made")
}

fn status<T>(result: Result<T, Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn it_is_of_the_release_that_was_asked_for() {
    for (version, expected) in [(Version::Oldest, "v1.33."), (Version::Newest, "v1.37.")] {
        let Some(api) = ApiServer::shared(version).await else { return };
        let said = api.client().await.apiserver_version().await.expect("it answers").git_version;
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn controllers_delete_namespaces_and_what_is_owned() {
    for version in [Version::Oldest, Version::Newest] {
        let Some(api) = ApiServer::shared(version).await else { return };
        if !api.has_controllers() {
            return;
        }
        let client = api.client().await;
        let namespace = api.namespace("collected").await;
        let owner = create(&client, &namespace, "owner").await;
        let mut owned = config_map("owned");
        owned.metadata.owner_references = Some(vec![
            serde_json::from_value(serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
                "uid": owner.metadata.uid.expect("it has an id"),
            }))
            .expect("an owner"),
        ]);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
        maps.create(&PostParams::default(), &owned).await.expect("it is made");
        create(&client, &namespace, "other").await;
        maps.delete("owner", &DeleteParams::default()).await.expect("it can be deleted");
        eventually("the garbage collector works", || async {
            maps.get_opt("owned").await.expect("it answers").is_none().then_some(())
        })
        .await;
        assert!(maps.get_opt("other").await.expect("it answers").is_some());
        let namespaces: Api<Namespace> = Api::all(client);
        namespaces.delete(&namespace, &DeleteParams::default()).await.expect("it can be deleted");
        eventually("the namespace goes", || async {
            namespaces.get_opt(&namespace).await.expect("it answers").is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_account_may_do_what_its_role_says() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let namespace = api.namespace("rights").await;
    let accounts: Api<ServiceAccount> = Api::namespaced(api.client().await, &namespace);
    let account = ServiceAccount { metadata: named("reader"), ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.expect("it is made");
    let client = api.account(&namespace, "reader").await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    assert_eq!(status(maps.list(&ListParams::default()).await), 403);
    let said = api.kubectl(&["apply", "-n", &namespace, "-f", "-"], READER).await.exits(0).out;
    assert_eq!(said.lines().count(), 2, "{said}");
    eventually("the role is in force", || async {
        (status(maps.list(&ListParams::default()).await) == 200).then_some(())
    })
    .await;
    assert_eq!(status(maps.create(&PostParams::default(), &config_map("new")).await), 403);
    let elsewhere: Api<ConfigMap> = Api::namespaced(client, "default");
    assert_eq!(status(elsewhere.list(&ListParams::default()).await), 403);
}

const READER: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
";

#[tokio::test]
async fn etcd_shows_every_stored_byte() {
    let Some(api) = ApiServer::shared(Version::Newest).await else { return };
    let namespace = api.namespace("stored").await;
    let secrets: Api<Secret> = Api::namespaced(api.client().await, &namespace);
    let data = BTreeMap::from([("key".to_owned(), MARK.to_owned())]);
    let secret = Secret { metadata: named("marked"), string_data: Some(data), ..Secret::default() };
    secrets.create(&PostParams::default(), &secret).await.expect("it is made");
    let all = api.etcd_dump().await;
    // More than a page, each once.
    let mut keys: Vec<_> = all.iter().map(|pair| &pair.key).collect();
    keys.dedup();
    assert_eq!(keys.len(), all.len());
    assert!(keys.iter().any(|key| key.starts_with("/registry/namespaces/")), "{keys:?}");
    let marked: Vec<_> = all.iter().filter(|pair| pair.contains(MARK.as_bytes())).collect();
    let keys: Vec<_> = marked.iter().map(|pair| pair.key.clone()).collect();
    assert_eq!(keys, [format!("/registry/secrets/{namespace}/marked")]);
}

#[tokio::test]
async fn it_can_be_stopped_and_its_history_forgotten() {
    let Some(api) = ApiServer::start(Version::Newest).await else { return };
    let client = api.client().await;
    let map = create(&client, "default", "before").await;
    let before = map.metadata.resource_version.expect("it has a version");
    for number in 0..3 {
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let change = serde_json::json!({"data": {"number": number.to_string()}});
        let patch = Patch::Merge(&change);
        maps.patch("before", &PatchParams::default(), &patch).await.expect("it is changed");
    }
    api.stop("kube-apiserver").await;
    let maps: Api<ConfigMap> = Api::namespaced(api.client().await, "default");
    let asked = tokio::time::timeout(std::time::Duration::from_secs(2), maps.get("before")).await;
    assert!(!matches!(asked, Ok(Ok(_))), "it is down");
    api.start_again("kube-apiserver").await;
    let map = maps.get("before").await.expect("its data are there");
    assert_eq!(map.data.expect("it has data")["number"], "2");

    api.compact().await;
    api.restart().await;
    let watched = maps.watch(&WatchParams::default(), &before).await;
    let code = match watched {
        Err(Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
        Ok(stream) => match Box::pin(stream).next().await {
            Some(Ok(WatchEvent::Error(status))) => status.code,
            other => panic!("{other:?}"),
        },
    };
    assert_eq!(code, 410);

    let folder = api.facts().folder.clone();
    assert!(folder.join("kube-apiserver.log").is_file());
    drop(api);
    assert!(!folder.exists(), "nothing is left");
}
