//! Destinations, delivery and retention: what arrives, where actions go, what is refused, and which
//! replicas are needed for it.

use segment_source_proto::config::v1::{
    self as wire, destination::Kind, http_destination::Format as WireFormat,
};

use super::{VERIFIED, check, compiled, deletes, queue, secret};
use crate::{Problem, pattern, pattern::mismatch};

fn directory(name: &str) -> wire::Destination {
    let kind = Some(Kind::Directory(wire::DirectoryDestination {}));
    wire::Destination { name: name.to_owned(), kind }
}

fn knock(name: &str, key: &'static str, base_url: Option<&str>) -> wire::Destination {
    let (api_key, base_url) = (Some(secret(key)), base_url.map(str::to_owned));
    let kind = Some(Kind::Knock(wire::KnockDestination { api_key, base_url }));
    wire::Destination { name: name.to_owned(), kind }
}

fn http(name: &str, signing: Option<&'static str>, format: WireFormat) -> wire::Destination {
    let kind = Some(Kind::Http(wire::HttpDestination {
        url: "https://crm.example/hook?a=b".to_owned(),
        signing_secret: signing.map(secret),
        format: format.into(),
    }));
    wire::Destination { name: name.to_owned(), kind }
}

fn processing(lines: &str) -> (wire::Processing, u32) {
    let source = compiled(&format!("{VERIFIED}{lines}")).source;
    (source.processing.unwrap(), source.schema_level)
}

/// One mapping that triggers a workflow, with these lines more.
fn triggers(name: &str, more: &str) -> String {
    format!(
        "    - {{name: {name}, eventType: paid, {more} action: {{workflowsTrigger: {{workflow: w, \
         recipients: {{path: userId}}}}}}}}\n"
    )
}

#[test]
fn every_kind_of_destination_arrives() {
    let lines = "  destinations:
    - {name: people, directory: {}}
    - {name: messages, knock: {apiKeySecretRef: {name: knock, key: good}}}
    - {name: stub, knock: {apiKeySecretRef: {name: knock, key: good}, baseUrl: 'http://stub.prod.svc:8080/v1'}}
    - {name: open, http: {url: 'https://crm.example/hook?a=b'}}
    - {name: crm, http: {url: 'https://crm.example/hook?a=b', signingSecretRef: {name: hook, key: two}, format: Action}}
    - {name: raw, http: {url: 'https://crm.example/hook?a=b', signingSecretRef: {name: s, key: k}, format: Segment}}
";
    let compiled = compiled(&format!("{VERIFIED}{lines}"));
    assert_eq!((compiled.unresolved, compiled.warnings), (vec![], vec![]));
    assert_eq!(compiled.source.schema_level, 3);
    assert_eq!(
        compiled.source.processing.unwrap().destinations,
        [
            directory("people"),
            knock("messages", "not-a-key", None),
            knock("stub", "not-a-key", Some("http://stub.prod.svc:8080/v1")),
            http("open", None, WireFormat::Action),
            http("crm", Some("new\nold\n"), WireFormat::Action),
            http("raw", Some("first"), WireFormat::Segment),
            queue("default"),
        ]
    );
}

#[test]
fn secrets_of_destinations_that_are_not_there_are_no_mistake() {
    let knocks = ["gone", "empty", "blank", "two"].map(|key| {
        format!(
            "    - {{name: k-{key}, knock: {{apiKeySecretRef: {{name: knock, key: {key}}}}}}}\n"
        )
    });
    let hooks = ["gone", "empty", "blank", "bytes"].map(|key| {
        format!(
            "    - {{name: h-{key}, http: {{url: 'https://crm.example/hook?a=b', signingSecretRef: \
             {{name: hook, key: {key}}}}}}}\n"
        )
    });
    let lines = format!("  destinations:\n{}{}", knocks.concat(), hooks.concat());
    let compiled = compiled(&format!("{VERIFIED}{lines}"));
    let told = [
        "is not there; create it",
        "is empty; set its value",
        "is only whitespace; set the API key",
        "has spaces, line breaks or characters other than ASCII inside; set one API key and nothing \
         else",
        "is not there; create it",
        "is empty; set its value",
        "is only whitespace; set the signing secret",
        "is not text; set the secret as text, several on lines of their own",
    ];
    let keys = ["gone", "empty", "blank", "two", "gone", "empty", "blank", "bytes"];
    let expected: Vec<Problem> = (0..8)
        .map(|at| {
            let (kind, name) = if at < 4 {
                ("knock.apiKeySecretRef", "knock")
            } else {
                ("http.signingSecretRef", "hook")
            };
            let what = format!("key `{}` of Secret `{name}` {}", keys[at], told[at]);
            let what = if at % 4 < 2 { what } else { format!("the value of {what}") };
            Problem::new(format!("spec.destinations[{at}].{kind}"), what)
        })
        .collect();
    assert_eq!((compiled.unresolved, compiled.warnings), (expected, vec![]));
    // The edge waits for none of them, and each destination knows that it has to wait.
    assert_eq!(compiled.source.verification.unwrap().unresolved, Vec::<String>::new());
    let destinations = compiled.source.processing.unwrap().destinations;
    assert_eq!(destinations[0], knock("k-gone", "", None));
    assert_eq!(destinations[3], knock("k-two", "", None));
    assert_eq!(destinations[4], http("h-gone", Some(""), WireFormat::Action));
    assert_eq!(destinations[7], http("h-bytes", Some(""), WireFormat::Action));
}

#[test]
fn a_public_key_is_told_of() {
    let compiled = compiled(&format!(
        "{VERIFIED}  destinations: [{{name: k, knock: {{apiKeySecretRef: {{name: knock, key: \
         public}}}}}}]\n"
    ));
    let message = "the value of key `public` of Secret `knock` is a public key of Knock, with which \
                   nothing can be sent; use the secret key of the environment";
    assert_eq!(
        compiled.warnings,
        [Problem::new("spec.destinations[0].knock.apiKeySecretRef", message)]
    );
}

/// Where the actions of both mappings go, which destinations there are, and the level.
#[track_caller]
fn goes(lines: &str, both: [&str; 2], destinations: &[wire::Destination], level: u32) {
    let lines = format!("{lines}  mappings:\n{}{}", deletes("data", ""), triggers("flow", ""));
    let (processing, found) = processing(&lines);
    let to: Vec<&str> = processing.mappings.iter().map(|it| it.destination.as_str()).collect();
    assert_eq!((to, found), (both.to_vec(), level), "{lines}");
    assert_eq!(processing.destinations, destinations, "{lines}");
}

#[test]
fn actions_without_a_destination_go_where_their_kind_belongs() {
    let both = [queue("default"), directory("directory")];
    goes("", ["directory", "default"], &both, 3);
    goes("  defaultDestination: default\n", ["default", "default"], &both[..1], 1);
    let jobs = [queue("jobs"), queue("default")];
    goes(
        "  defaultDestination: jobs\n  destinations: [{name: jobs, queue: {}}]\n",
        ["jobs", "jobs"],
        &jobs,
        1,
    );
    // What is defined takes the place of what is built in.
    let own = [queue("directory"), queue("default")];
    goes("  destinations: [{name: directory, queue: {}}]\n", ["directory", "default"], &own, 1);
    let own = [knock("default", "not-a-key", None), directory("directory")];
    let lines = "  destinations: [{name: default, knock: {apiKeySecretRef: {name: knock, key: \
                 good}}}]\n";
    goes(lines, ["directory", "default"], &own, 3);
}

#[test]
fn what_a_mapping_names_is_where_it_goes() {
    let lines = format!(
        "  defaultDestination: directory\n  mappings:\n{}{}{}",
        deletes("a", ""),
        deletes("b", "destination: default,"),
        triggers("c", "destination: default,"),
    );
    let (processing, level) = processing(&lines);
    let to: Vec<&str> = processing.mappings.iter().map(|it| it.destination.as_str()).collect();
    assert_eq!((to, level), (vec!["directory", "default", "default"], 3));
    assert_eq!(processing.destinations, [queue("default"), directory("directory")]);
}

#[test]
fn a_directory_runs_no_workflows() {
    let advice = "is a directory, which runs no workflows; name a destination of kind knock, http \
                  or queue in the mapping's `destination`";
    let one = |lines: &str, field: &str, why: &str| {
        let message = format!("{why} {advice}");
        check(lines, &[(&format!("spec.mappings[0].{field}"), message.as_str())]);
    };
    let action = "action.workflowsTrigger";
    let mapping = triggers("a", "");
    one(
        &format!("  defaultDestination: directory\n  mappings:\n{mapping}"),
        action,
        "spec.defaultDestination `directory`",
    );
    one(
        &format!("  destinations: [{{name: default, directory: {{}}}}]\n  mappings:\n{mapping}"),
        action,
        "the default destination `default`",
    );
    let named = triggers("a", "destination: people,");
    let people = "  destinations: [{name: people, directory: {}}]\n";
    one(&format!("{people}  mappings:\n{named}"), "destination", "`people`");
    let cancel = named.replace("Trigger", "Cancel").replace("recipients", "cancellationKey");
    one(&format!("{people}  mappings:\n{cancel}"), "destination", "`people`");
    let queue = people.replace("directory", "queue");
    check(&format!("{queue}  mappings:\n{named}"), &[]);
}

#[test]
fn keys_that_knock_cannot_have_are_refused_where_they_go_to_knock() {
    let to = "  defaultDestination: x\n  destinations: [{name: x, ";
    let knock = format!("{to}knock: {{apiKeySecretRef: {{name: knock, key: good}}}}}}]\n");
    let queue = format!("{to}queue: {{}}}}]\n");
    for (action, field, other) in [
        ("workflowsTrigger", "workflow", "recipients"),
        ("workflowsCancel", "workflow", "cancellationKey"),
        ("audiencesAddMember", "audience", "members"),
        ("audiencesRemoveMember", "audience", "members"),
    ] {
        let mapping = |key: &str| {
            format!(
                "  mappings:\n    - {{name: a, eventType: paid, action: {{{action}: {{{field}: \
                 {key:?}, {other}: {{path: userId}}}}}}}}\n"
            )
        };
        for key in ["a/b", "a#b", ".", ".."] {
            let message = format!(
                "`{key}` is no key that Knock can have (no `/`, no `#`); take it from Knock"
            );
            let field = format!("spec.mappings[0].action.{action}.{field}");
            check(&format!("{knock}{}", mapping(key)), &[(&field, &message)]);
            check(&format!("{queue}{}", mapping(key)), &[]);
        }
        check(&format!("{knock}{}", mapping("new order. 100%")), &[]);
    }
}

#[test]
fn urls_are_those_that_can_be_called() {
    for (url, right) in [
        ("https://crm.example", true),
        ("http://10.0.0.1:8080/hook?x=1&y=[2]", true),
        ("https://[2001:db8::1]:8443/", true),
        ("https://user@crm.example/", false),
        ("https://user:word@crm.example/", false),
        ("https://crm.example/#part", false),
        ("https://crm.example/a b", false),
        ("https://", false),
        ("https:///hook", false),
        ("https://crm.example:0/", false),
        ("https://crm.example:99999/", false),
        ("https://[::1/", false),
        ("https://1.2.3.4.5/", false),
        ("ftp://crm.example/", false),
        ("crm.example", false),
    ] {
        let lines = format!("  destinations: [{{name: d, http: {{url: '{url}'}}}}]\n");
        let problems = problems(&lines);
        assert_eq!(problems.is_empty(), right, "{url}: {problems:?}");
        for problem in problems {
            assert_eq!(problem.field, "spec.destinations[0].http.url", "{url}");
            assert!(problem.message.starts_with("is no URL"), "{url}: {problem}");
        }
    }
    check(
        "  destinations: [{name: d, http: {url: 'https://crm.example:99999'}}]\n",
        &[("spec.destinations[0].http.url", "is no URL: invalid port number")],
    );
}

#[test]
fn paths_can_be_appended_to_a_base() {
    for (url, right) in [
        ("https://api.knock.app/v1", true),
        ("http://stub:8080", true),
        ("http://127.0.0.1:9/a/b", true),
        ("https://api.knock.app/v1/", false),
        ("https://api.knock.app/", false),
        ("https://api.knock.app//v1", false),
        ("https://api.knock.app/v1?x=1", false),
        ("https://api.knock.app/v1#x", false),
        ("https://key@api.knock.app/v1", false),
        ("https://api.knock.app:99999/v1", false),
        ("api.knock.app/v1", false),
    ] {
        let lines = format!(
            "  destinations: [{{name: d, knock: {{apiKeySecretRef: {{name: knock, key: good}}, \
             baseUrl: '{url}'}}}}]\n"
        );
        let problems = problems(&lines);
        assert_eq!(problems.is_empty(), right, "{url}: {problems:?}");
        assert!(problems.iter().all(|it| it.field == "spec.destinations[0].knock.baseUrl"));
    }
    assert_eq!(mismatch(pattern::BASE_URL, "https://api.knock.app/v1"), None);
}

fn problems(lines: &str) -> Vec<Problem> {
    let source = super::source_of(&format!("{VERIFIED}{lines}"));
    crate::compile(&source, &super::secrets).err().unwrap_or_default()
}

#[test]
fn delivery_and_retention_arrive_as_far_as_they_are_given() {
    let delivery = |lines: &str| {
        let (processing, level) = processing(&format!("  delivery: {lines}\n"));
        (processing.delivery, level)
    };
    let given = |max_age_ms, concurrency| (Some(wire::Delivery { max_age_ms, concurrency }), 3);
    assert_eq!(delivery("{}"), (None, 1));
    assert_eq!(delivery("{maxAge: 1m}"), given(Some(60_000), None));
    assert_eq!(
        delivery("{maxAge: 168h, concurrency: 1024}"),
        given(Some(604_800_000), Some(1_024))
    );
    assert_eq!(delivery("{concurrency: 1}"), given(None, Some(1)));

    let retention = |lines: &str| {
        let (processing, level) = processing(&format!("  retention: {lines}\n"));
        (processing.retention, level)
    };
    let given = |age_ms, size_bytes| (Some(wire::Retention { age_ms, size_bytes }), 3);
    assert_eq!(retention("{redact: [context.ip]}"), (None, 1));
    assert_eq!(retention("{age: 1h}"), given(Some(3_600_000), None));
    assert_eq!(retention("{age: 720h, size: 10Gi}"), given(Some(2_592_000_000), Some(10 << 30)));
    assert_eq!(retention("{size: 1Mi}"), given(None, Some(1 << 20)));
}

#[test]
fn delivery_and_retention_have_bounds() {
    for (part, field, value, message) in [
        ("delivery", "maxAge", "59s", "`59s` is not from 1m to 168h"),
        ("delivery", "maxAge", "169h", "`169h` is not from 1m to 168h"),
        ("delivery", "maxAge", "20d", pattern::NO_DURATION),
        ("retention", "age", "59m", "`59m` is not from 1h to 87600h"),
        ("retention", "age", "87601h", "`87601h` is not from 1h to 87600h"),
        ("retention", "size", "1023Ki", "`1023Ki` is not from 1Mi to 1Pi"),
        ("retention", "size", "1048575", "`1048575` is not from 1Mi to 1Pi"),
        ("retention", "size", "2Pi", "`2Pi` is not from 1Mi to 1Pi"),
        ("retention", "size", "999999999999999Pi", "`999999999999999Pi` is not from 1Mi to 1Pi"),
        ("retention", "size", "10GB", pattern::NO_QUANTITY),
    ] {
        let lines = format!("  {part}: {{{field}: '{value}'}}\n");
        check(&lines, &[(&format!("spec.{part}.{field}"), message)]);
    }
}

#[test]
fn secrets_of_destinations_are_not_printed() {
    let lines = "  destinations: [{name: k, knock: {apiKeySecretRef: {name: knock, key: good}}}, \
                 {name: h, http: {url: 'https://crm.example', signingSecretRef: {name: hook, key: \
                 two}}}]\n";
    let text = format!("{:?}", compiled(&format!("{VERIFIED}{lines}")));
    for secret in ["not-a-key", "110, 111, 116", "old", "111, 108, 100"] {
        assert!(!text.contains(secret), "{text}");
    }
}
