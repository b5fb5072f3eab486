//! Whole manifests to whole configurations, and every mistake with its field and message.

mod destinations;

use std::collections::{BTreeMap, BTreeSet};

use segment_source_core::mapping::ActionType;
use segment_source_proto::config::v1::{
    self as wire, Field, access::Right, destination::Kind, mapping, parameter::Source,
    verification as edge,
};

use super::{Compiled, compile};
use crate::{Problem, SecretRef, SegmentSource, references};

const HEAD: &str = "apiVersion: segment-source.dev/v1alpha1\nkind: SegmentSource\nmetadata: {name: web, namespace: prod, generation: 7}\nspec:\n";
const VERIFIED: &str = "  verification: {secretRefs: [{name: s, key: k}]}\n";

fn source_of(spec: &str) -> SegmentSource {
    // Not with the reader: what the schema refuses may have been stored before it did.
    let value: serde_json::Value = serde_saphyr::from_str(&format!("{HEAD}{spec}")).unwrap();
    serde_json::from_value(value).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn secrets(name: &str, key: &str) -> Option<Vec<u8>> {
    match (name, key) {
        ("s", "k") => Some(b"first".to_vec()),
        ("s", "next") => Some(b"second".to_vec()),
        ("s", "line") => Some(b"third\n".to_vec()),
        ("s" | "tokens" | "knock" | "hook", "empty") => Some(Vec::new()),
        ("knock", "good") => Some(b" not-a-key\n".to_vec()),
        ("knock", "two") => Some(b"not-a-key\nnor-this\n".to_vec()),
        ("knock", "public") => Some(b"pk_not-a-key".to_vec()),
        ("knock" | "hook", "blank") => Some(b" \n".to_vec()),
        ("hook", "two") => Some(b"new\nold\n".to_vec()),
        ("hook", "bytes") => Some(vec![0xff, 0xfe]),
        ("tokens", "good") => Some(b"0123456789abcdef".to_vec()),
        ("tokens", "line") => Some(b" 0123456789abcdef\n".to_vec()),
        ("tokens", "short") => Some(b"guess".to_vec()),
        ("tokens", "words") => Some(b"many words make no token".to_vec()),
        ("tokens", "blank") => Some(b" \n".to_vec()),
        _ => None,
    }
}

fn compiled(spec: &str) -> Compiled {
    compile(&source_of(spec), &secrets).unwrap()
}

/// The spec's lines, after a right `verification`, give exactly these problems.
#[track_caller]
fn check(lines: &str, expected: &[(&str, &str)]) {
    check_spec(&format!("{VERIFIED}{lines}"), expected);
}

#[track_caller]
fn check_spec(spec: &str, expected: &[(&str, &str)]) {
    let expected: Vec<Problem> = expected.iter().map(|(f, m)| Problem::new(*f, *m)).collect();
    assert_eq!(compile(&source_of(spec), &secrets).err().unwrap_or_default(), expected, "{spec}");
}

/// One mapping that deletes a user, with these lines more.
fn deletes(name: &str, more: &str) -> String {
    format!(
        "    - {{name: {name}, eventType: delete, {more} action: {{usersDelete: {{id: {{path: \
         userId}}}}}}}}\n"
    )
}

fn queue(name: &str) -> wire::Destination {
    wire::Destination { name: name.to_owned(), kind: Some(Kind::Queue(wire::QueueDestination {})) }
}

fn field(name: &str, source: Source) -> Field {
    Field { name: name.to_owned(), parameter: Some(wire::Parameter { source: Some(source) }) }
}

fn secret(value: &'static str) -> wire::SecretValue {
    wire::SecretValue { value: value.into() }
}

#[test]
fn the_smallest_source_has_all_defaults() {
    let expected = wire::Source {
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        generation: 7,
        schema_level: 1,
        verification: Some(wire::Verification {
            mode: edge::Mode::Enforce.into(),
            secrets: vec![secret("first")],
            rotation_grace_ms: 14_400_000,
            batch_policy: edge::BatchPolicy::Reject.into(),
            ..wire::Verification::default()
        }),
        processing: Some(wire::Processing {
            event_type_path: None,
            timestamp_path: Some("body.timestamp".to_owned()),
            idempotency: Some(wire::Idempotency {
                enabled: true,
                key_path: "body.messageId".to_owned(),
                window_ms: 86_400_000,
            }),
            destinations: vec![queue("default")],
            deny_uncovered: ["users_delete", "objects_delete", "tenants_delete"]
                .map(str::to_owned)
                .to_vec(),
            ..wire::Processing::default()
        }),
    };
    let compiled = compiled(VERIFIED);
    assert_eq!(compiled, Compiled { source: expected, unresolved: vec![], warnings: vec![] });
}

#[test]
fn everything_that_can_be_set_arrives() {
    let spec = "  suspend: Delivery
  verification:
    mode: Observe
    secretRefs: [{name: s, key: k}, {name: s, key: next}]
    rotationGrace: 90m
    batches:
      policy: FirstElement
      requireHeader: {name: X-Segment-Token, secretRef: {name: s, key: next}}
      denyUncovered: [usersIdentify, workflowsTrigger]
  eventTypePath: body.kind
  timestampPath: body.at
  preprocess:
    - {name: plan, expression: 'body.traits.plan == \"pro\" ? \"paid\" : \"free\"'}
  idempotency: {mode: Disabled, keyPath: headers.x-id, window: 720h}
  defaultDestination: jobs
  destinations: [{name: jobs, queue: {}}, {name: other, queue: {}}]
  mappings:
    - name: profile
      eventType: identify
      when: preprocess.plan == 'paid'
      disabled: true
      destination: other
      nulls: Send
      action:
        usersIdentify:
          properties: {value: {imported: true, tags: [1, 2.5], nothing: null}}
          createdAt: {expression: body.traits.created}
          id: {path: userId}
    - name: welcome
      eventType: signup
      action:
        workflowsTrigger: {workflow: welcome, recipients: {path: body.userId}}
  retention: {redact: [context.ip, 'body.traits[\"card number\"]']}
  rateLimit: {eventsPerSecond: 2000}
";
    let expected = wire::Source {
        namespace: "prod".to_owned(),
        name: "web".to_owned(),
        generation: 7,
        schema_level: 1,
        verification: Some(wire::Verification {
            mode: edge::Mode::Observe.into(),
            secrets: vec![secret("first"), secret("second")],
            rotation_grace_ms: 5_400_000,
            batch_policy: edge::BatchPolicy::FirstElement.into(),
            required_header: Some(wire::RequiredHeader {
                name: "x-segment-token".to_owned(),
                value: Some(secret("second")),
            }),
            intake_suspended: false,
            rate_limit: Some(wire::RateLimit { events_per_second: 2000, burst: 2000 }),
            unresolved: vec![],
        }),
        processing: Some(wire::Processing {
            event_type_path: Some("body.kind".to_owned()),
            timestamp_path: Some("body.at".to_owned()),
            preprocess: vec![wire::Preprocess {
                name: "plan".to_owned(),
                expression: r#"body.traits.plan == "pro" ? "paid" : "free""#.to_owned(),
            }],
            idempotency: Some(wire::Idempotency {
                enabled: false,
                key_path: "headers.x-id".to_owned(),
                window_ms: 2_592_000_000,
            }),
            mappings: vec![
                wire::Mapping {
                    name: "profile".to_owned(),
                    event_type: "identify".to_owned(),
                    when: Some("preprocess.plan == 'paid'".to_owned()),
                    destination: "other".to_owned(),
                    nulls: mapping::Nulls::Send.into(),
                    disabled: true,
                    action_type: "users_identify".to_owned(),
                    fields: vec![
                        field("id", Source::Path("userId".to_owned())),
                        field("created_at", Source::Expression("body.traits.created".to_owned())),
                        field(
                            "properties",
                            Source::ValueJson(
                                r#"{"imported":true,"nothing":null,"tags":[1,2.5]}"#.to_owned(),
                            ),
                        ),
                    ],
                },
                wire::Mapping {
                    name: "welcome".to_owned(),
                    event_type: "signup".to_owned(),
                    when: None,
                    destination: "jobs".to_owned(),
                    nulls: mapping::Nulls::Omit.into(),
                    disabled: false,
                    action_type: "workflows_trigger".to_owned(),
                    fields: vec![
                        field("workflow", Source::ValueJson(r#""welcome""#.to_owned())),
                        field("recipients", Source::Path("body.userId".to_owned())),
                    ],
                },
            ],
            destinations: vec![queue("jobs"), queue("other"), queue("default")],
            redact: vec!["body.context.ip".to_owned(), r#"body.traits["card number"]"#.to_owned()],
            deny_uncovered: vec!["users_identify".to_owned(), "workflows_trigger".to_owned()],
            delivery_suspended: true,
            access: Vec::new(),
            delivery: None,
            retention: None,
        }),
    };
    assert_eq!(compiled(spec), Compiled { source: expected, unresolved: vec![], warnings: vec![] });
}

#[test]
fn secrets_that_are_not_there_are_no_mistake() {
    let compiled = compiled(
        "  verification:
    secretRefs: [{name: gone, key: k}, {name: s, key: empty}, {name: s, key: line}]
    batches: {policy: FirstElement, requireHeader: {name: x-t, secretRef: {name: s, key: gone}}}
",
    );
    let unresolved = [
        Problem::new(
            "spec.verification.secretRefs[0]",
            "key `k` of Secret `gone` is not there; create it",
        ),
        Problem::new(
            "spec.verification.secretRefs[1]",
            "key `empty` of Secret `s` is empty; set its value",
        ),
        Problem::new(
            "spec.verification.batches.requireHeader.secretRef",
            "key `gone` of Secret `s` is not there; create it",
        ),
    ];
    let warning = Problem::new(
        "spec.verification.secretRefs[2]",
        "the value of key `line` of Secret `s` ends in a line break, which counts as a part of \
         it; if the secret has none, write it without (`echo -n`)",
    );
    assert_eq!(compiled.unresolved, unresolved);
    assert_eq!(compiled.warnings, [warning]);
    let verification = compiled.source.verification.unwrap();
    assert_eq!(verification.secrets, [secret("third\n")]);
    assert_eq!(verification.required_header.unwrap().value, Some(secret("")));
    assert_eq!(verification.unresolved, unresolved.map(|it| it.to_string()));
}

/// A client of the source, with the right to read and a token under this key.
fn client(name: &str, key: &str) -> String {
    format!("    - {{name: {name}, tokenSecretRef: {{name: tokens, key: {key}}}, can: [Read]}}\n")
}

fn wire_client(name: &str, token: &'static str, rights: &[Right]) -> wire::Access {
    wire::Access {
        name: name.to_owned(),
        token: Some(secret(token)),
        rights: rights.iter().map(|it| (*it).into()).collect(),
    }
}

#[test]
fn clients_get_a_token_and_rights_and_need_a_replica_that_knows_them() {
    let all = "can: [Operate, Read, Consume, Submit]";
    let billing = client("billing", "good").replace("can: [Read]", all);
    let compiled = compiled(&format!(
        "{VERIFIED}  access:\n{billing}{}{}",
        client("absent", "gone"),
        client("later", "empty")
    ));
    assert_eq!(compiled.source.schema_level, 2);
    let every = [Right::Submit, Right::Consume, Right::Read, Right::Operate];
    assert_eq!(
        compiled.source.processing.unwrap().access,
        [
            wire_client("billing", "0123456789abcdef", &every),
            wire_client("absent", "", &[Right::Read]),
            wire_client("later", "", &[Right::Read]),
        ]
    );
    // What the edge is told is only what it waits for itself.
    assert_eq!(compiled.source.verification.unwrap().unresolved, Vec::<String>::new());
    let unresolved = [
        Problem::new(
            "spec.access[1].tokenSecretRef",
            "key `gone` of Secret `tokens` is not there; create it",
        ),
        Problem::new(
            "spec.access[2].tokenSecretRef",
            "key `empty` of Secret `tokens` is empty; set its value",
        ),
    ];
    assert_eq!((compiled.unresolved, compiled.warnings), (unresolved.to_vec(), vec![]));
}

#[test]
fn tokens_that_will_disappoint_are_told_of() {
    let clients = ["line", "short", "words", "blank", "good"].map(|key| client(key, key)).concat();
    let compiled = compiled(&format!("{VERIFIED}  access:\n{clients}"));
    let tokens: Vec<_> =
        compiled.source.processing.unwrap().access.into_iter().filter_map(|it| it.token).collect();
    let expected =
        ["0123456789abcdef", "guess", "many words make no token", "", "0123456789abcdef"];
    assert_eq!(tokens, expected.map(secret));
    let blank = "the value of key `blank` of Secret `tokens` is only whitespace; set a token";
    assert_eq!(compiled.unresolved, [Problem::new("spec.access[3].tokenSecretRef", blank)]);
    let warnings = [
        (
            0,
            "the value of key `line` of Secret `tokens` has whitespace or line breaks around it; \
             the token is what is between them",
        ),
        (
            1,
            "the value of key `short` of Secret `tokens` is shorter than 16 bytes and can be \
             guessed; use a random one, such as `openssl rand -hex 32` writes",
        ),
        (
            2,
            "the value of key `words` of Secret `tokens` has spaces or characters other than \
             ASCII, which no client can send in a header; use letters and digits",
        ),
        (
            4,
            "has the same token as spec.access[0]; who presents it may do what either of them may, \
             so give each client a token of its own",
        ),
    ];
    assert_eq!(
        compiled.warnings,
        warnings.map(|(at, it)| Problem::new(format!("spec.access[{at}].tokenSecretRef"), it))
    );
}

#[test]
fn names_of_clients_are_labels_and_unique() {
    check(
        &format!("  access:\n{}{}", client("a", "good"), client("a", "short")),
        &[("spec.access[1].name", "`a` is already the name of spec.access[0]; rename one of them")],
    );
    check(
        &format!("  access:\n{}", client("Billing", "good")),
        &[("spec.access[0].name", crate::manifest::NOT_A_LABEL)],
    );
}

#[test]
fn everything_the_compiler_looks_up_is_a_reference() {
    let full = include_str!("../../tests/full.yaml").replace("prod}", "prod, generation: 1}");
    let source: SegmentSource =
        serde_json::from_value(serde_saphyr::from_str(&full).unwrap()).unwrap();
    let named: Vec<String> =
        references(&source.spec).into_iter().map(|it| format!("{}/{}", it.name, it.key)).collect();
    let expected = ["segment-web/signing-secret", "segment-web/token", "crm/k", "billing/token"];
    assert_eq!(named, expected);

    let text = format!("{VERIFIED}  access:\n{}{}", client("a", "good"), client("b", "good"));
    let destinations = "  destinations: [{name: a, http: {url: 'https://a.example', \
                        signingSecretRef: {name: hook, key: two}}}, {name: b, knock: \
                        {apiKeySecretRef: {name: knock, key: good}}}]\n";
    let source = source_of(&format!("{text}{destinations}"));
    let looked_up = std::cell::RefCell::new(Vec::new());
    let secrets = |name: &str, key: &str| {
        looked_up.borrow_mut().push(SecretRef { name: name.to_owned(), key: key.to_owned() });
        secrets(name, key)
    };
    compile(&source, &secrets).unwrap();
    looked_up.borrow_mut().dedup();
    assert_eq!(looked_up.into_inner(), references(&source.spec));
}

#[test]
fn verification_mistakes() {
    check_spec(
        "  verification: {mode: Enforce}\n",
        &[(
            "spec.verification.secretRefs",
            "mode Enforce needs at least one; name the Secret that holds the signing secret, or set \
         `mode: Observe`",
        )],
    );
    check_spec("  verification: {mode: Observe}\n", &[]);
    let with = |batches: &str| {
        format!("  verification: {{secretRefs: [{{name: s, key: k}}], {batches}}}\n")
    };
    check_spec(
        &with("batches: {policy: FirstElement}"),
        &[(
            "spec.verification.batches.requireHeader",
            "is missing; policy FirstElement needs it, because the signature covers only the first \
         element of a batch",
        )],
    );
    let header = "requireHeader: {name: x-t, secretRef: {name: s, key: k}}";
    check_spec(
        &with(&format!("batches: {{policy: WholeBody, {header}}}")),
        &[(
            "spec.verification.batches.requireHeader",
            "is only checked with policy FirstElement; set `policy: FirstElement` or remove it",
        )],
    );
    let named = |name: &str| {
        let header = header.replace("x-t", name);
        with(&format!("batches: {{policy: FirstElement, {header}}}"))
    };
    check_spec(
        &named("'a b'"),
        &[(
            "spec.verification.batches.requireHeader.name",
            "is not the name of an HTTP header; use letters, digits and `-`",
        )],
    );
    check_spec(
        &named("X-Signature"),
        &[(
            "spec.verification.batches.requireHeader.name",
            "is the header of the signature itself; use another one",
        )],
    );
    check_spec(
        &with("rotationGrace: 4 hours"),
        &[(
            "spec.verification.rotationGrace",
            "is not a duration; write hours, minutes and seconds like `24h` or `1m30s`",
        )],
    );
}

#[test]
fn idempotency_windows_are_bounded() {
    for (window, right) in [("1m", true), ("720h", true), ("59s", false), ("721h", false)] {
        let message = format!("`{window}` is not from 1m to 720h");
        let problem = [("spec.idempotency.window", message.as_str())];
        let expected = if right { &[][..] } else { &problem[..] };
        check(&format!("  idempotency: {{window: {window}}}\n"), expected);
    }
}

#[test]
fn names_are_labels_unique_and_refer_to_something() {
    check(
        &format!(
            "  defaultDestination: nowhere\n  destinations: [{{name: q, queue: {{}}}}, {{name: q, \
             queue: {{}}}}]\n  preprocess: [{{name: a-b, expression: '1'}}]\n  mappings:\n{}{}{}",
            deletes("Not_a_label", ""),
            deletes("twice", "destination: gone,"),
            deletes("twice", "destination: default,"),
        ),
        &[
            (
                "spec.preprocess[0].name",
                "must be letters, digits and `_`, not starting with a digit, as it is read as \
                 `preprocess.<name>`",
            ),
            (
                "spec.destinations[1].name",
                "`q` is already the name of spec.destinations[0]; rename one of them",
            ),
            (
                "spec.defaultDestination",
                "no destination is named `nowhere`; there are q, q, default and directory",
            ),
            (
                "spec.mappings[2].name",
                "`twice` is already the name of spec.mappings[1]; rename one of them",
            ),
            ("spec.mappings[0].name", crate::manifest::NOT_A_LABEL),
            (
                "spec.mappings[1].destination",
                "no destination is named `gone`; there are q, q, default and directory",
            ),
        ],
    );
}

#[test]
fn a_destination_is_of_exactly_one_kind() {
    check(
        "  destinations: [{name: both, queue: {}, directory: {}}, {name: none}]\n",
        &[
            (
                "spec.destinations[0]",
                "exactly one of queue, directory, knock and http must be given; found queue and \
                 directory",
            ),
            (
                "spec.destinations[1]",
                "exactly one of queue, directory, knock and http must be given; found none",
            ),
        ],
    );
}

#[test]
fn a_workflow_is_not_triggered_and_cancelled_by_one_event() {
    let trigger = |event: &str, workflow: &str, more: &str| {
        format!(
            "    - {{name: trigger, eventType: {event}, {more} action: {{workflowsTrigger: \
             {{workflow: {workflow}, recipients: {{path: userId}}}}}}}}\n"
        )
    };
    let cancel = "  mappings:\n    - {name: cancel, eventType: e, action: {workflowsCancel: \
                  {workflow: w, cancellationKey: {path: userId}}}}\n";
    check(
        &format!("{cancel}{}", trigger("e", "w", "")),
        &[(
            "spec.mappings[0].action.workflowsCancel",
            "spec.mappings[1] triggers workflow `w` for the same event type; the cancellation could \
         hit the run just triggered, so use two event types or two workflows",
        )],
    );
    check(&format!("{cancel}{}", trigger("f", "w", "")), &[]);
    check(&format!("{cancel}{}", trigger("e", "v", "")), &[]);
    check(&format!("{cancel}{}", trigger("e", "w", "disabled: true,")), &[]);
}

#[test]
fn what_is_read_is_not_redacted() {
    let removes = |path: &str, what: &str| {
        format!(
            "removes `{path}`, but {what}; a removed value cannot be read; redact something else \
             or change the reader"
        )
    };
    let mapping = "  preprocess: [{name: p, expression: body.context.locale}]\n  mappings:\n    - \
                   {name: a, eventType: t, when: body.context.os == 'x', action: {usersIdentify: \
                   {id: {path: userId}, email: {expression: body.traits.email}, properties: \
                   {path: traits.all}}}}\n";
    let one = |path: &str, redacted: &str, what: &str| {
        let message = removes(redacted, what);
        check(
            &format!("  retention: {{redact: ['{path}']}}\n{mapping}"),
            &[("spec.retention.redact[0]", message.as_str())],
        );
    };
    one("messageId", "body.messageId", "spec.idempotency.keyPath reads `body.messageId`");
    one("type", "body.type", "the event type reads `body.type`");
    one("event", "body.event", "the event type reads `body.event`");
    one("timestamp", "body.timestamp", "spec.timestampPath reads `body.timestamp`");
    one("anonymousId", "body.anonymousId", "the order of a user's events reads `body.anonymousId`");
    one(
        "userId",
        "body.userId",
        "spec.mappings[0].action.usersIdentify.id.path reads `body.userId`",
    );
    one("context", "body.context", "spec.preprocess[0].expression reads `body.context.locale`");
    one(
        "traits.email",
        "body.traits.email",
        "spec.mappings[0].action.usersIdentify.email.expression reads `body.traits.email`",
    );
    one(
        "traits",
        "body.traits",
        "spec.mappings[0].action.usersIdentify.email.expression reads `body.traits.email`",
    );
    one(
        "context.locale",
        "body.context.locale",
        "spec.preprocess[0].expression reads `body.context.locale`",
    );
    one("context.os", "body.context.os", "spec.mappings[0].when reads `body.context.os`");
    check(&format!("  retention: {{redact: [context.ip, traits.card]}}\n{mapping}"), &[]);
    check(
        "  retention: {redact: [headers.authorization]}\n",
        &[(
            "spec.retention.redact[0]",
            "must be a path inside the body; headers with credentials are never stored",
        )],
    );
    // A key that is not looked at may be removed.
    check("  idempotency: {mode: Disabled}\n  retention: {redact: [messageId]}\n", &[]);
}

#[test]
fn a_part_of_what_is_read_as_a_whole_may_be_redacted() {
    let reading = |parameter: &str, redact: &str, problems: &[(&str, &str)]| {
        check(
            &format!(
                "  retention: {{redact: ['{redact}']}}\n  mappings:\n    - {{name: a, eventType: t, \
                 action: {{usersIdentify: {{id: {{path: userId}}, properties: {parameter}}}}}}}\n"
            ),
            problems,
        );
    };
    let whole = "{path: properties}";
    let looped = "{expression: 'body.properties.items.map(it, it)'}";
    let dynamic = "{expression: 'body.properties[body.traits.choice]'}";
    reading(whole, "properties.ssn", &[]);
    reading("{path: body}", "properties.ssn", &[]);
    reading("{expression: body}", "properties.ssn", &[]);
    reading(looped, "properties.items[*].ssn", &[]);
    reading("{path: 'items[*]'}", "items[*].ssn", &[]);
    reading("{path: 'items[*].sku'}", "items[0].sku", &[]);
    reading(dynamic, "properties.ssn", &[]);
    let refused = |field: &str, parameter: &str, redact: &str, read: &str| {
        let message = format!(
            "removes `body.{redact}`, but spec.mappings[0].action.usersIdentify.properties.{field} \
             reads `body.{read}`; a removed value cannot be read; redact something else or change \
             the reader"
        );
        reading(parameter, redact, &[("spec.retention.redact[0]", &message)]);
    };
    refused("path", whole, "properties", "properties");
    refused("path", "{path: 'items[0].sku'}", "items[*]", "items[0].sku");
    refused("expression", looped, "properties.items", "properties.items");
    refused("expression", dynamic, "properties", "properties");
    refused("expression", dynamic, "traits.choice", "traits.choice");
}

#[test]
fn paths_expressions_and_values_are_read() {
    check(
        "  eventTypePath: 'a['
  mappings:
    - {name: a, eventType: t, when: '1 +', action: {usersDelete: {id: {path: '$.userId'}}}}
    - {name: b, eventType: t, action: {usersDelete: {id: {value: 12345678901234567890123}}}}
    - {name: c, eventType: t, action: {usersDelete: {id: {path: preprocess.gone}}}}
",
        &[
            (
                "spec.eventTypePath",
                "`a[` is no path: at character 3, expected a quoted key, a number of at most 9 \
                 digits, or `*`, found the end",
            ),
            ("spec.mappings[0].when", "`1 +` is no expression: at character 4, it ends too early"),
            (
                "spec.mappings[0].action.usersDelete.id.path",
                "`$.userId` is no path: at character 1, no `$` stands for the event here: write \
                 `properties.x`, not `$.properties.x` (a key `$` of the body is `body.$`)",
            ),
            (
                "spec.mappings[1].action.usersDelete.id.value",
                "has a number with more digits than are kept; write it as a string",
            ),
            (
                "spec.mappings[2].action.usersDelete.id.path",
                "reads `preprocess.gone`, which spec.preprocess does not define before it",
            ),
        ],
    );
}

#[test]
fn literal_values_that_could_never_be_sent_are_refused() {
    let action =
        |action: &str| format!("  mappings: [{{name: a, eventType: t, action: {{{action}}}}}]\n");
    check(
        &action("usersDelete: {id: {value: null}}"),
        &[("spec.mappings[0].action.usersDelete.id", "the value is null")],
    );
    check(
        &action("workflowsTrigger: {workflow: w, recipients: {path: a}, data: {value: text}}"),
        &[(
            "spec.mappings[0].action.workflowsTrigger.data",
            "the value is a string, expected an object",
        )],
    );
}

#[test]
fn preprocess_values_are_defined_before_they_are_read() {
    check(
        "  preprocess:
    - {name: a, expression: preprocess.b}
    - {name: b, expression: preprocess.a}
  idempotency: {keyPath: preprocess.c}
",
        &[
            (
                "spec.preprocess[0].expression",
                "reads `preprocess.b`, which spec.preprocess does not define before it",
            ),
            (
                "spec.idempotency.keyPath",
                "reads `preprocess.c`, which spec.preprocess does not define before it; it defines \
                 a and b",
            ),
        ],
    );
}

#[test]
fn manifests_and_the_domain_know_the_same_actions_and_fields() {
    let crd = serde_json::to_value(crate::crd()).unwrap();
    let action = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mappings\
                  /items/properties/action/properties";
    let fields = |names: Vec<&str>| -> BTreeSet<String> {
        names.into_iter().map(crate::action::snake_case).collect()
    };
    let in_manifests: BTreeMap<String, [BTreeSet<String>; 2]> = crd
        .pointer(action)
        .unwrap()
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, schema)| {
            let all = schema["properties"].as_object().unwrap().keys().map(String::as_str);
            let required = schema["required"].as_array().unwrap().iter();
            let required = required.filter_map(serde_json::Value::as_str).collect();
            (crate::action::snake_case(name), [fields(all.collect()), fields(required)])
        })
        .collect();
    let in_the_domain: BTreeMap<String, [BTreeSet<String>; 2]> = ActionType::ALL
        .iter()
        .map(|kind| {
            let all = kind.fields().iter();
            let required = kind.fields().iter().filter(|it| it.required);
            let names = [all.map(|it| it.name).collect(), required.map(|it| it.name).collect()];
            (kind.as_str().to_owned(), names.map(fields))
        })
        .collect();
    assert_eq!(in_manifests, in_the_domain);
}

#[test]
fn no_secret_is_printed() {
    let text = format!("{:?}", compiled(VERIFIED));
    assert!(!text.contains("first") && !text.contains("102, 105"), "{text}");
}
