//! The real program with one source, `web`, whose actions go to the stand-in for Knock.

use std::time::{Duration, Instant};

use segment_source_proto::admin::v1::{
    Action, DestinationStatus, ListDestinationsRequest, action::State,
};
use serde_json::{Value, json};

use super::{KEY, Knock};
use crate::{
    manifest::{NAMESPACE, secret},
    server::{Launch, Server},
    sign::{fresh_id, track},
    site::Site,
    wait::PATIENCE,
};

/// Each action with its fields; all but the literal ones come from the property of the same name.
const ACTIONS: [(&str, &[&str]); 12] = [
    ("usersIdentify", &["id", "name", "email", "properties"]),
    ("usersDelete", &["id"]),
    ("objectsSet", &["collection", "id", "name", "properties"]),
    ("objectsDelete", &["collection", "id"]),
    ("tenantsSet", &["id", "name", "settings", "properties"]),
    ("tenantsDelete", &["id"]),
    ("objectsSubscribe", &["collection", "id", "recipients", "properties"]),
    ("objectsUnsubscribe", &["collection", "id", "recipients"]),
    ("audiencesAddMember", &["members", "tenant", "createAudience"]),
    ("audiencesRemoveMember", &["members", "tenant"]),
    ("workflowsTrigger", &["recipients", "data", "actor", "tenant", "cancellationKey"]),
    ("workflowsCancel", &["cancellationKey", "recipients"]),
];

/// The program, its folder, and Knock.
pub struct Scene {
    /// The stand-in.
    pub knock: Knock,
    /// The program.
    pub server: Server,
    /// The program's folder.
    pub site: Site,
}

/// The spec of a source whose actions go to `knock`.
#[must_use]
pub fn spec(knock: &Knock, mappings: Value) -> Value {
    let knock = json!({
        "apiKeySecretRef": {"name": "knock", "key": "api-key"},
        "baseUrl": knock.base_url(),
    });
    json!({
        "mappings": mappings,
        "destinations": [{"name": "knock", "knock": knock}],
        "defaultDestination": "knock",
    })
}

/// Mappings of `track/<action>` to each of the twelve actions, which takes its fields from the
/// properties; the workflow is `welcome`, the audience `vip`.
#[must_use]
pub fn twelve() -> Value {
    let mapping = |(action, fields): (&str, &[&str])| {
        let field =
            |name: &&str| ((*name).to_owned(), json!({"path": format!("body.properties.{name}")}));
        let mut parameters: serde_json::Map<String, Value> = fields.iter().map(field).collect();
        match &action[..5] {
            "workf" => drop(parameters.insert("workflow".to_owned(), json!("welcome"))),
            "audie" => drop(parameters.insert("audience".to_owned(), json!("vip"))),
            _ => {}
        }
        json!({
            "name": action.to_ascii_lowercase(),
            "eventType": format!("track/{action}"),
            "action": {action: parameters},
        })
    };
    ACTIONS.map(mapping).into_iter().collect()
}

impl Scene {
    /// One with the mappings of [`twelve`].
    pub async fn twelve() -> Self {
        Self::with(twelve(), &[]).await
    }

    /// One with these mappings, and the program with these flags more.
    pub async fn with(mappings: Value, flags: &[(&str, &str)]) -> Self {
        let knock = Knock::start().await;
        let site = Site::with_web(spec(&knock, mappings));
        let server = launch(&site, flags).start().await;
        let scene = Self { knock, server, site };
        scene.give_key(KEY);
        scene
    }

    /// Puts the API key into its Secret.
    pub fn give_key(&self, key: &str) {
        self.site.write("knock.yaml", &[secret("knock", "api-key", key)]);
    }

    /// Kills the program and starts it again.
    pub async fn crash(&mut self) {
        self.server.kill();
        self.server = launch(&self.site, &[]).start().await;
    }

    /// Sends the event for which [`twelve`] makes this action; its messageId.
    ///
    /// # Panics
    /// When it is not accepted.
    pub async fn act(&self, action: &str, user: &str, properties: Value) -> String {
        let id = fresh_id();
        let mut event = track(&id, user, action);
        event["properties"] = properties;
        assert_eq!(self.server.post("web", event.to_string()).await.counts(), (1, 0));
        id
    }

    /// Triggers the workflow for a user; the messageId.
    pub async fn trigger(&self, user: &str) -> String {
        self.act("workflowsTrigger", user, json!({"recipients": user, "data": {"n": 1.50}})).await
    }

    /// Identifies a user; the messageId.
    pub async fn identify(&self, user: &str) -> String {
        self.act("usersIdentify", user, json!({"id": user, "name": "Ada"})).await
    }

    /// The only action of an event, once it is as wanted.
    pub async fn until(&self, id: &str, state: State) -> Action {
        self.once(id, PATIENCE, |action| action.state() == state).await
    }

    /// The only action of an event, once it is as wanted, for which it waits at most this long.
    ///
    /// # Panics
    /// With the action as it is, when that takes longer.
    pub async fn once(
        &self,
        id: &str,
        patience: Duration,
        wanted: impl Fn(&Action) -> bool,
    ) -> Action {
        let end = Instant::now() + patience;
        loop {
            let mut actions = self.server.planned_one("web", id).await.actions;
            assert_eq!(actions.len(), 1, "{actions:#?}");
            let action = actions.remove(0);
            if wanted(&action) {
                return action;
            }
            assert!(Instant::now() < end, "in vain after {} s: {action:#?}", patience.as_secs());
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    /// What the program says about the destination.
    ///
    /// # Panics
    /// When it says nothing.
    pub async fn destination(&self) -> DestinationStatus {
        let request = ListDestinationsRequest { namespace: NAMESPACE.into(), name: "web".into() };
        let mut admin = self.server.admin().await;
        let listed = admin.list_destinations(request).await.expect("destinations").into_inner();
        let mut all = listed.destinations.into_iter();
        all.find(|it| it.name == "knock").expect("the destination is listed")
    }
}

/// The program may call loopback.
fn launch(site: &Site, flags: &[(&str, &str)]) -> Launch {
    let launch = site.launch().flag("allow-destination", "127.0.0.1/32");
    flags.iter().fold(launch, |launch, (flag, value)| launch.flag(flag, value))
}
