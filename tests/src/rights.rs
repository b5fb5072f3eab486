//! Rights that roles among documents give to an account, one by one. Pure: documents in, rights out.

use std::fmt;

use serde_json::{Value, json};

use crate::{
    chart::{list, text},
    kube::audit::Asked,
};

/// A single right: one verb on one resource, at one place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `Role/NAME` or `ClusterRole/NAME` that has it.
    pub role: String,
    /// Where it holds; empty for everywhere.
    pub namespace: String,
    /// API group; empty for the first one.
    pub group: String,
    /// Plural, with a slash and the subresource where there is one.
    pub resource: String,
    /// Of which object; empty for all.
    pub name: String,
    /// Such as `get`.
    pub verb: String,
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, namespace, group, resource, name, verb } = self;
        write!(f, "{verb} {resource}.{group} {name} in `{namespace}` by {role}")
    }
}

impl Right {
    /// Whether it lets this request through.
    #[must_use]
    pub fn covers(&self, asked: &Asked) -> bool {
        (self.namespace.is_empty() || self.namespace == asked.namespace)
            && (self.name.is_empty() || self.name == asked.name)
            && self.group == asked.group
            && self.resource == asked.resource
            && self.verb == asked.verb
    }

    /// A rule that gives this and nothing else.
    #[must_use]
    pub fn rule(&self) -> Value {
        let mut rule = json!({
            "apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb],
        });
        if !self.name.is_empty() {
            rule["resourceNames"] = json!([self.name]);
        }
        rule
    }
}

/// What these documents let an account do.
///
/// # Panics
/// When a binding names a role that is not among them.
#[must_use]
pub fn granted(documents: &[Value], namespace: &str, account: &str) -> Vec<Right> {
    let bound = |it: &&Value| {
        list(&it["subjects"]).iter().any(|it| it["name"] == account && it["namespace"] == namespace)
    };
    let mut rights = Vec::new();
    for binding in documents.iter().filter(bound) {
        let place = binding["metadata"]["namespace"].as_str().unwrap_or_default();
        let (kind, name) = (text(&binding["roleRef"]["kind"]), text(&binding["roleRef"]["name"]));
        let role = documents.iter().find(|it| {
            let home = it["metadata"]["namespace"].as_str().unwrap_or_default();
            it["kind"] == kind
                && it["metadata"]["name"] == name
                && (home == place || kind != "Role")
        });
        let role = role.unwrap_or_else(|| panic!("there is no {kind} {name} in {place}"));
        for rule in list(&role["rules"]) {
            rights.extend(of_rule(rule).into_iter().map(|right| Right {
                role: format!("{kind}/{name}"),
                namespace: place.to_owned(),
                ..right
            }));
        }
    }
    rights
}

fn of_rule(rule: &Value) -> Vec<Right> {
    let words = |field: &str| -> Vec<String> {
        list(&rule[field]).iter().map(|it| text(it).to_owned()).collect()
    };
    let mut names = words("resourceNames");
    if names.is_empty() {
        names.push(String::new());
    }
    let mut rights = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for name in &names {
                rights.extend(words("verbs").into_iter().map(|verb| Right {
                    role: String::new(),
                    namespace: String::new(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    verb,
                }));
            }
        }
    }
    rights
}
