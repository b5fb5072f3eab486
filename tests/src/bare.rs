//! A release of the chart without its pods: accounts, roles and empty Secrets in an API server, and
//! the operator as a process of this machine that has its pod's account and its pod's flags.

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    core::v1::Secret,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::Value;

use crate::{
    chart::{find, list, parse, render_as, text},
    kube::api::ApiServer,
    operator::{Launch, Operator},
    release::NAME,
    rights::{Right, granted},
    wait::eventually,
};

/// The operator's ServiceAccount.
pub const ACCOUNT: &str = "segment-source-operator";

/// Kinds that need no pods.
const KINDS: [&str; 6] =
    ["ServiceAccount", "Secret", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];

/// An installed one.
#[derive(Debug)]
pub struct BareRelease<'a> {
    api: &'a ApiServer,
    /// Where it is.
    pub namespace: String,
    /// Everything that the chart renders.
    pub documents: Vec<Value>,
}

impl<'a> BareRelease<'a> {
    /// Installs it, and waits until its roles are in force.
    ///
    /// # Panics
    /// When Helm or the API server refuse it.
    pub async fn install(api: &'a ApiServer, namespace: &str, values: &str) -> Self {
        let values = format!("{values}\ncrds: {{install: false}}\n");
        let answer = render_as(NAME, namespace, &values);
        assert!(answer.success, "{}", answer.err);
        let documents = parse(&answer.out);
        let wanted = |it: &&Value| KINDS.contains(&text(&it["kind"]));
        let bare: Vec<&Value> = documents.iter().filter(wanted).collect();
        let items = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": bare});
        api.kubectl(&["apply", "--server-side", "-f", "-"], &items.to_string()).await.exits(0);
        let release = Self { api, namespace: namespace.to_owned(), documents };
        for right in release.rights() {
            release.until_in_force(&right).await;
        }
        release
    }

    /// What the operator may do.
    #[must_use]
    pub fn rights(&self) -> Vec<Right> {
        granted(&self.documents, &self.namespace, ACCOUNT)
    }

    /// The API server learns of roles a little after it has stored them.
    async fn until_in_force(&self, right: &Right) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (resource, part) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{}:{ACCOUNT}", self.namespace)),
                resource_attributes: Some(ResourceAttributes {
                    group: some(&right.group),
                    resource: some(resource),
                    subresource: some(part),
                    name: some(&right.name),
                    namespace: some(&right.namespace),
                    verb: some(&right.verb),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.api.client().await);
        eventually(&format!("{right:?} is in force"), || async {
            let review = reviews.create(&PostParams::default(), &review).await;
            review.expect("it is reviewed").status.is_some_and(|it| it.allowed).then_some(())
        })
        .await;
    }

    /// The operator, as its Deployment runs it: other are only the addresses it listens on, and what
    /// it logs.
    ///
    /// # Panics
    /// When the Deployment's flags are of a form that is not known here.
    pub async fn operator(&self, pod: &str) -> Launch {
        let kubeconfig = self.api.account_kubeconfig(&self.namespace, ACCOUNT).await;
        let deployment = find(&self.documents, "Deployment", &format!("{NAME}-operator"));
        let spec = &deployment["spec"]["template"]["spec"];
        assert_eq!(spec["serviceAccountName"], ACCOUNT);
        let mut launch = Operator::launch(&kubeconfig, &self.namespace);
        for argument in list(&spec["containers"][0]["args"]) {
            let argument = text(argument).strip_prefix("--").expect("a flag");
            let (flag, value) = argument.split_once('=').expect("a flag has a value");
            if ["namespace", "grpc", "admin", "log", "log-format"].contains(&flag) {
                continue;
            }
            launch = launch.flag(flag, &value.replace("$(POD_NAME)", pod));
        }
        launch
    }

    /// The Secrets of the release, once the operator has filled all that the chart renders.
    pub async fn filled(&self) -> Vec<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.api.client().await, &self.namespace);
        let rendered = self.documents.iter().filter(|it| it["kind"] == "Secret");
        let names: Vec<&str> = rendered.map(|it| text(&it["metadata"]["name"])).collect();
        eventually("the Secrets are filled", || async {
            let all = secrets.list(&ListParams::default()).await.expect("Secrets are listed").items;
            let ours = all
                .into_iter()
                .filter(|it| it.metadata.name.as_deref().is_some_and(|name| names.contains(&name)));
            let filled: Vec<_> = ours.filter(|it| it.data.is_some()).collect();
            (filled.len() == names.len()).then_some(filled)
        })
        .await
    }
}
