//! Destinations: what they are, which of them are there without being defined, and which one an
//! action goes to.

use segment_source_proto::config::v1::{
    self as wire, destination::Kind, http_destination::Format as WireFormat,
};
use url::Url;

use super::{Compiler, DEFAULT_DESTINATION, DIRECTORY_DESTINATION};
use crate::{
    Action, Destination, HttpDestination, HttpFormat, KnockDestination, Mapping, SecretRef,
    SegmentSourceSpec,
    pattern::{self, mismatch},
    schema::list,
};

/// What Knock's keys for browsers begin with.
const PUBLIC_KEY: &[u8] = b"pk_";

impl Compiler<'_> {
    pub(super) fn destinations(&mut self, spec: &SegmentSourceSpec) -> Vec<wire::Destination> {
        self.unique("spec.destinations", spec.destinations.iter().map(|it| it.name.as_str()));
        let mut all = Vec::new();
        for (at, destination) in spec.destinations.iter().enumerate() {
            let kind = self.destination(&format!("spec.destinations[{at}]"), destination);
            all.push(wire::Destination { name: destination.name.clone(), kind });
        }
        if let Some(name) = &spec.default_destination {
            self.destination_exists("spec.defaultDestination", name, spec);
        }
        let mut built_in = |name: &str, kind| {
            if all.iter().all(|it| it.name != name) {
                all.push(wire::Destination { name: name.to_owned(), kind: Some(kind) });
            }
        };
        built_in(DEFAULT_DESTINATION, Kind::Queue(wire::QueueDestination {}));
        // Only where it is used: replicas that do not know directories go on with the others.
        let mut used = spec.mappings.iter().map(|it| destination_of(it, spec));
        if used.any(|name| name == DIRECTORY_DESTINATION)
            || spec.default_destination.as_deref() == Some(DIRECTORY_DESTINATION)
        {
            built_in(DIRECTORY_DESTINATION, Kind::Directory(wire::DirectoryDestination {}));
        }
        all
    }

    fn destination(&mut self, field: &str, destination: &Destination) -> Option<Kind> {
        self.label(&format!("{field}.name"), &destination.name);
        let kinds = [
            ("queue", destination.queue.is_some()),
            ("directory", destination.directory.is_some()),
            ("knock", destination.knock.is_some()),
            ("http", destination.http.is_some()),
        ];
        let given: Vec<&str> = kinds.iter().filter(|kind| kind.1).map(|kind| kind.0).collect();
        if given.len() != 1 {
            let found = if given.is_empty() { "none".to_owned() } else { list(&given, "and") };
            let what = "exactly one of queue, directory, knock and http must be given";
            self.problem(field, format!("{what}; found {found}"));
            return None;
        }
        Some(match (&destination.knock, &destination.http) {
            (Some(knock), _) => Kind::Knock(self.knock(&format!("{field}.knock"), knock)),
            (_, Some(http)) => Kind::Http(self.http(&format!("{field}.http"), http)),
            _ if destination.directory.is_some() => Kind::Directory(wire::DirectoryDestination {}),
            _ => Kind::Queue(wire::QueueDestination {}),
        })
    }

    fn knock(&mut self, field: &str, knock: &KnockDestination) -> wire::KnockDestination {
        if let Some(base_url) = &knock.base_url {
            self.url(&format!("{field}.baseUrl"), base_url, pattern::BASE_URL);
        }
        let key = self.api_key(&format!("{field}.apiKeySecretRef"), knock);
        wire::KnockDestination {
            api_key: Some(wire::SecretValue { value: key.into() }),
            base_url: knock.base_url.clone(),
        }
    }

    /// The key without whitespace around it, which no key has; empty while there is none that could
    /// be sent.
    fn api_key(&mut self, field: &str, knock: &KnockDestination) -> Vec<u8> {
        let reference = &knock.api_key_secret_ref;
        let Some(value) = self.look_up(field, reference) else {
            return Vec::new();
        };
        let key = value.trim_ascii();
        let what = format!("the value of key `{}` of Secret `{}`", reference.key, reference.name);
        if key.is_empty() {
            self.unresolved(field, format!("{what} is only whitespace; set the API key"));
            return Vec::new();
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            let why = "has spaces, line breaks or characters other than ASCII inside";
            self.unresolved(field, format!("{what} {why}; set one API key and nothing else"));
            return Vec::new();
        }
        if key.starts_with(PUBLIC_KEY) {
            let why = "is a public key of Knock, with which nothing can be sent";
            self.warn(field, format!("{what} {why}; use the secret key of the environment"));
        }
        key.to_vec()
    }

    fn http(&mut self, field: &str, http: &HttpDestination) -> wire::HttpDestination {
        self.url(&format!("{field}.url"), &http.url, pattern::URL);
        let format = match http.format {
            None | Some(HttpFormat::Action) => WireFormat::Action,
            Some(HttpFormat::Segment) => WireFormat::Segment,
        };
        let reference = http.signing_secret_ref.as_ref();
        let signing_secret = reference.map(|it| self.signing_secrets(field, it));
        wire::HttpDestination { url: http.url.clone(), signing_secret, format: format.into() }
    }

    /// All lines of the Secret; empty while there is none that could be signed with.
    fn signing_secrets(&mut self, field: &str, reference: &SecretRef) -> wire::SecretValue {
        let field = format!("{field}.signingSecretRef");
        let none = wire::SecretValue::default();
        let Some(value) = self.look_up(&field, reference) else { return none };
        let what = format!("the value of key `{}` of Secret `{}`", reference.key, reference.name);
        let wrong = match std::str::from_utf8(&value) {
            Err(_) => "is not text; set the secret as text, several on lines of their own",
            Ok(text) if text.trim().is_empty() => "is only whitespace; set the signing secret",
            Ok(_) => return wire::SecretValue { value: value.into() },
        };
        self.unresolved(field, format!("{what} {wrong}"));
        none
    }

    /// An URL that matches its pattern of the schema, and that a client can call.
    fn url(&mut self, field: &str, text: &str, pattern: &str) {
        if let Some(message) = mismatch(pattern, text) {
            self.problem(field, message);
        } else if let Err(error) = Url::parse(text) {
            self.problem(field, format!("is no URL: {error}"));
        }
    }

    pub(super) fn destination_exists(&mut self, field: &str, name: &str, spec: &SegmentSourceSpec) {
        let mut names: Vec<&str> = spec.destinations.iter().map(|it| it.name.as_str()).collect();
        for built_in in [DEFAULT_DESTINATION, DIRECTORY_DESTINATION] {
            if !names.contains(&built_in) {
                names.push(built_in);
            }
        }
        if !names.contains(&name) {
            let known = list(&names, "and");
            self.problem(field, format!("no destination is named `{name}`; there are {known}"));
        }
    }

    /// The destination of a mapping. A directory knows people and things, and runs no workflows.
    pub(super) fn destination_fits<'a>(
        &mut self,
        field: &str,
        mapping: &'a Mapping,
        spec: &'a SegmentSourceSpec,
    ) -> &'a str {
        let name = destination_of(mapping, spec);
        self.key_fits(field, mapping, name, spec);
        let action = match mapping.action {
            Action::WorkflowsTrigger { .. } => "workflowsTrigger",
            Action::WorkflowsCancel { .. } => "workflowsCancel",
            _ => return name,
        };
        if is_directory(name, spec) {
            let why = "is a directory, which runs no workflows";
            let advice = "name a destination of kind knock, http or queue in the mapping's \
                          `destination`";
            let (field, because) = match (&mapping.destination, &spec.default_destination) {
                (Some(_), _) => (format!("{field}.destination"), ""),
                (None, Some(_)) => (format!("{field}.action.{action}"), "spec.defaultDestination "),
                (None, None) => (format!("{field}.action.{action}"), "the default destination "),
            };
            self.problem(field, format!("{because}`{name}` {why}; {advice}"));
        }
        name
    }

    /// A literal key is a part of the URL at Knock. With one that cannot be, every action would be a
    /// dead letter, and would stay one with its stored bytes.
    fn key_fits(&mut self, field: &str, mapping: &Mapping, name: &str, spec: &SegmentSourceSpec) {
        let (at, key) = match &mapping.action {
            Action::WorkflowsTrigger { workflow, .. } => ("workflowsTrigger.workflow", workflow),
            Action::WorkflowsCancel { workflow, .. } => ("workflowsCancel.workflow", workflow),
            Action::AudiencesAddMember { audience, .. } => {
                ("audiencesAddMember.audience", audience)
            }
            Action::AudiencesRemoveMember { audience, .. } => {
                ("audiencesRemoveMember.audience", audience)
            }
            _ => return,
        };
        let no_key = key.contains(['/', '#']) || matches!(key.as_str(), "." | "..");
        if no_key && spec.destinations.iter().any(|it| it.name == name && it.knock.is_some()) {
            self.problem(
                format!("{field}.action.{at}"),
                format!(
                    "`{key}` is no key that Knock can have (no `/`, no `#`); take it from Knock"
                ),
            );
        }
    }
}

/// Where the actions of a mapping go.
fn destination_of<'a>(mapping: &'a Mapping, spec: &'a SegmentSourceSpec) -> &'a str {
    let otherwise = match mapping.action {
        Action::WorkflowsTrigger { .. } | Action::WorkflowsCancel { .. } => DEFAULT_DESTINATION,
        _ => DIRECTORY_DESTINATION,
    };
    let named = mapping.destination.as_deref().or(spec.default_destination.as_deref());
    named.unwrap_or(otherwise)
}

fn is_directory(name: &str, spec: &SegmentSourceSpec) -> bool {
    match spec.destinations.iter().find(|it| it.name == name) {
        Some(defined) => defined.directory.is_some(),
        None => name == DIRECTORY_DESTINATION,
    }
}
