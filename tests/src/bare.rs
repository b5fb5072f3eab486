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
use serde_json::{Value, json};

use crate::{
    chart::{find, list, parse, render_as, text},
    kube::{api::ApiServer, audit::Asked},
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
        let items = json!({"apiVersion": "v1", "kind": "List", "items": bare});
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
        let asked = Asked {
            verb: right.verb.clone(),
            group: right.group.clone(),
            resource: right.resource.clone(),
            namespace: right.namespace.clone(),
            name: right.name.clone(),
            allowed: true,
        };
        eventually(&format!("{right:?} is in force"), || async {
            self.allows(&asked).await.then_some(())
        })
        .await;
    }

    /// Whether the operator may ask that now.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn allows(&self, asked: &Asked) -> bool {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (resource, part) = asked.resource.split_once('/').unwrap_or((&asked.resource, ""));
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{}:{ACCOUNT}", self.namespace)),
                resource_attributes: Some(ResourceAttributes {
                    group: some(&asked.group),
                    resource: some(resource),
                    subresource: some(part),
                    name: some(&asked.name),
                    namespace: some(&asked.namespace),
                    verb: some(&asked.verb),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.api.client().await);
        let review = reviews.create(&PostParams::default(), &review).await;
        review.expect("it is reviewed").status.is_some_and(|it| it.allowed)
    }

    /// Takes a single right out of the role that has it.
    ///
    /// # Panics
    /// When there is no such role.
    pub async fn take(&self, right: &Right) {
        let of_role = |it: &Right| it.role == right.role && it.namespace == right.namespace;
        let rest = self.rights().into_iter().filter(|it| of_role(it) && it != right);
        let rules: Vec<Value> = rest.map(|it| it.rule()).collect();
        self.set_rules(right, &json!(rules)).await;
    }

    /// Puts it back, and waits until it is in force.
    ///
    /// # Panics
    /// When there is no such role.
    pub async fn give_back(&self, right: &Right) {
        let role = self.documents.iter().find(|it| {
            let home = it["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = format!("{}/{}", text(&it["kind"]), text(&it["metadata"]["name"]));
            name == right.role && (home.is_empty() || home == right.namespace)
        });
        self.set_rules(right, &role.expect("the chart has it")["rules"]).await;
        self.until_in_force(right).await;
    }

    async fn set_rules(&self, right: &Right, rules: &Value) {
        let (kind, name) = right.role.split_once('/').expect("a kind and a name");
        let patch = json!({"rules": rules}).to_string();
        let patch = ["patch", kind, name, "--type=merge", "-p", &patch];
        let place = ["-n", &right.namespace];
        let place = if right.namespace.is_empty() { &[][..] } else { &place[..] };
        self.api.kubectl(&[&patch[..], place].concat(), "").await.exits(0);
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
