//! Every kind of mistake a manifest can hold before it is compiled, with its message.

use std::sync::LazyLock;

use super::{Document, Manifest, Reader};
use crate::Problem;

/// Made once, as it takes a while without optimisation.
static READER: LazyLock<Reader> = LazyLock::new(Reader::default);

const HEAD: &str = "apiVersion: segment-source.dev/v1alpha1\nkind: SegmentSource\nmetadata: {name: web, namespace: prod}\n";

fn one(text: &str) -> Document {
    let mut documents = READER.read(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0)
}

/// A source whose spec has these lines gives exactly these problems.
#[track_caller]
fn check(spec: &str, expected: &[(&str, &str)]) {
    check_document(&format!("{HEAD}spec:\n{spec}"), expected);
}

#[track_caller]
fn check_document(text: &str, expected: &[(&str, &str)]) {
    let expected: Vec<Problem> = expected.iter().map(|(f, m)| Problem::new(*f, *m)).collect();
    assert_eq!(one(text).content.err().unwrap_or_default(), expected);
}

const VERIFIED: &str = "  verification: {secretRefs: [{name: s, key: k}]}\n";

fn mapping(lines: &str) -> String {
    format!("{VERIFIED}  mappings:\n    - {lines}\n")
}

#[test]
fn both_examples_of_the_design_can_be_read() {
    for text in [include_str!("../../tests/small.yaml"), include_str!("../../tests/full.yaml")] {
        let document = one(text);
        assert_eq!(document.subject.map(|it| it.to_string()).as_deref(), Some("prod/web"));
        let Ok(Manifest::Source(source)) = document.content else {
            panic!("{:?}", document.content);
        };
        // What is written again is what was read: nothing was dropped.
        let written: serde_json::Value = serde_json::to_value(&source).unwrap();
        let read: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(written, read);
    }
}

#[test]
fn unknown_fields_are_named_with_their_path() {
    check(
        "  verfication: {}\n",
        &[
            ("spec.verfication", "unknown field; did you mean `verification`?"),
            ("spec.verification", "is missing"),
        ],
    );
    check(
        &mapping("{name: a, eventType: t, whenn: x, action: {usersDelete: {id: {path: a}}}}"),
        &[("spec.mappings[0].whenn", "unknown field; did you mean `when`?")],
    );
    check(
        &mapping(
            "{name: a, eventType: t, action: {usersDelete: {id: {path: a}, email: {path: b}}}}",
        ),
        &[("spec.mappings[0].action.usersDelete.email", "unknown field; known here: id")],
    );
    check(
        &format!("{VERIFIED}  destinations: [{{name: q, queue: {{size: 3}}}}]\n"),
        &[("spec.destinations[0].queue.size", "unknown field; nothing can be set here")],
    );
    check_document(
        &format!("{HEAD}sepc: {{}}\n"),
        &[
            ("sepc", "unknown field; known here: apiVersion, kind, metadata and spec"),
            ("spec", "is missing"),
        ],
    );
    let labelled = HEAD.replace("name: web", "name: web, lables: {a: b}");
    check_document(
        &format!("{labelled}spec:\n{VERIFIED}"),
        &[("metadata.lables", "unknown field")],
    );
}

#[test]
fn exactly_one_action_and_one_kind_of_parameter() {
    check(
        &mapping(
            "{name: a, eventType: t, action: {usersIdentify: {id: {path: a}}, workflowsTrigger: \
             {workflow: w, recipients: {path: a}}}}",
        ),
        &[(
            "spec.mappings[0].action",
            "exactly one action must be given; found usersIdentify and workflowsTrigger",
        )],
    );
    check(
        &mapping("{name: a, eventType: t, action: {}}"),
        &[("spec.mappings[0].action", "exactly one action must be given; found none")],
    );
    check(
        &mapping("{name: a, eventType: t, action: {userIdentify: {}}}"),
        &[(
            "spec.mappings[0].action.userIdentify",
            "unknown action; did you mean `usersIdentify`?",
        )],
    );
    check(
        &mapping("{name: a, eventType: t, action: {usersDelete: {id: {path: a, value: b}}}}"),
        &[(
            "spec.mappings[0].action.usersDelete.id",
            "exactly one of path, value and expression must be given; found path and value",
        )],
    );
}

#[test]
fn kinds_and_bounds_are_those_of_the_schema() {
    check(
        &mapping("{name: 5, eventType: '', action: {usersDelete: {}}}"),
        &[
            ("spec.mappings[0].action.usersDelete.id", "is missing"),
            ("spec.mappings[0].eventType", "must not be empty"),
            ("spec.mappings[0].name", "must be a string, but is a number; put it in quotes"),
        ],
    );
    let long = "a".repeat(1025);
    check(
        &mapping(&format!(
            "{{name: a, eventType: t, when: {long}, action: {{usersDelete: {{id: {{path: a}}}}}}}}"
        )),
        &[("spec.mappings[0].when", "has 1025 characters; at most 1024 are allowed")],
    );
    check(
        "  verification: {mode: observe, secretRefs: {name: s, key: k}}\n",
        &[
            ("spec.verification.mode", "must be one of Enforce or Observe"),
            ("spec.verification.secretRefs", "must be a list, but is an object"),
        ],
    );
    let refs = "{name: s, key: k},".repeat(5);
    check(
        &format!("  verification: {{secretRefs: [{refs}]}}\n"),
        &[("spec.verification.secretRefs", "has 5 entries; at most 4 are allowed")],
    );
    check(
        &format!("{VERIFIED}  rateLimit: {{eventsPerSecond: 0, burst: 1.5}}\n"),
        &[
            ("spec.rateLimit.burst", "must be a whole number from 1 to 1000000"),
            ("spec.rateLimit.eventsPerSecond", "must be a whole number from 1 to 1000000"),
        ],
    );
}

#[test]
fn texts_that_do_not_match_are_explained() {
    check(
        "  verification: {secretRefs: [{name: Segment, key: a/b}], rotationGrace: 4 hours, batches: \
         {policy: FirstElement, requireHeader: {name: a b, secretRef: {name: s, key: k}}}}
  preprocess: [{name: a-b, expression: '1'}]
  destinations: [{name: crm, http: {url: crm.example}}]
  mappings: [{name: A, eventType: t, action: {usersDelete: {id: {path: userId}}}}]
  retention: {size: 10GB}
",
        &[
            (
                "spec.destinations[0].http.url",
                "is no URL that can be posted to; write `https://` or `http://`, a host and a \
                 path, without spaces, user name and `#`",
            ),
            ("spec.mappings[0].name", super::NOT_A_LABEL),
            (
                "spec.preprocess[0].name",
                "must be letters, digits and `_`, not starting with a digit, as it is read as \
                 `preprocess.<name>`",
            ),
            ("spec.retention.size", "is not an amount of space; write it like `500Mi` or `10Gi`"),
            (
                "spec.verification.batches.requireHeader.name",
                "is not the name of an HTTP header; use letters, digits and `-`",
            ),
            (
                "spec.verification.rotationGrace",
                "is not a duration; write hours, minutes and seconds like `24h` or `1m30s`",
            ),
            (
                "spec.verification.secretRefs[0].key",
                "is not a key of a Secret; use letters, digits, `-`, `_` and `.`",
            ),
            (
                "spec.verification.secretRefs[0].name",
                "is not the name of a Secret; use lower-case letters, digits, `-` and `.`, \
                 starting and ending with a letter or digit",
            ),
        ],
    );
}

#[test]
fn what_is_given_twice_in_a_set_is_refused() {
    check(
        &format!(
            "{VERIFIED}  access: [{{name: a, tokenSecretRef: {{name: s, key: k}}, can: [Read, \
             Submit, Read]}}, {{name: b, tokenSecretRef: {{name: s, key: k}}, can: []}}]\n"
        ),
        &[
            ("spec.access[0].can[2]", "is the same as spec.access[0].can[0]; remove one of them"),
            ("spec.access[1].can", "must have at least one entry"),
        ],
    );
}

#[test]
fn null_means_absent() {
    check("  verification: {mode: null, secretRefs: [{name: s, key: k}]}\n  mappings:\n", &[]);
    check(
        &mapping("{name: a, eventType: null, action: {usersDelete: {id: {value: null}}}}"),
        &[("spec.mappings[0].eventType", "is missing")],
    );
    check(
        &format!("{VERIFIED}  mappings: [null]\n"),
        &[("spec.mappings[0]", "must be an object, but is empty")],
    );
}

#[test]
fn documents_that_are_not_ours() {
    let other = |text: &str| one(text).content.unwrap();
    let ignored = |kind: &str| Manifest::Ignored { kind: kind.to_owned() };
    assert_eq!(other("apiVersion: v1\nkind: ConfigMap\ndata: {a: b}"), ignored("ConfigMap"));
    check_document(
        "apiVersion: v1\nmetadata: {name: a}",
        &[("kind", "is missing; use `SegmentSource` or `Secret`")],
    );
    check_document(
        "apiVersion: segment-source.dev/v1alpha1\nkind: SegmentSources",
        &[("kind", "is not known; use `SegmentSource`")],
    );
    check_document(
        &format!("{}spec:\n{VERIFIED}", HEAD.replace("v1alpha1", "v1")),
        &[(
            "apiVersion",
            "`segment-source.dev/v1` is not known; use `segment-source.dev/v1alpha1`",
        )],
    );
    check_document("just text", &[("", "is not a manifest; it must be an object")]);
    assert_eq!(READER.read("# nothing\n---\n---\n"), Ok(vec![]));
}

#[test]
fn names_are_labels_and_a_broken_document_keeps_its_name() {
    let text = HEAD.replace("name: web", "name: Web");
    let document = one(&format!("{text}spec:\n{VERIFIED}"));
    assert_eq!(document.subject, None);
    assert_eq!(document.content, Err(vec![Problem::new("metadata.name", super::NOT_A_LABEL)]));
    let broken = one(&format!("{HEAD}spec: []\n"));
    assert_eq!(broken.subject.map(|it| it.to_string()).as_deref(), Some("prod/web"));
    assert_eq!(broken.content, Err(vec![Problem::new("spec", "must be an object, but is a list")]));
    let unnamed = "apiVersion: segment-source.dev/v1alpha1\nkind: SegmentSource\nspec:\n";
    check_document(&format!("{unnamed}{VERIFIED}"), &[("metadata.name", "is missing")]);
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_place() {
    let error = READER.read("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert_eq!((error.line, error.column > 0), (3, true), "{error}");
    let twice = READER.read("a: 1\na: 2\n").unwrap_err();
    assert_eq!(twice.line, 2, "{twice}");
}

#[test]
fn json_with_tabs_is_read() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\"\n}";
    assert_eq!(one(text).content, Ok(Manifest::Ignored { kind: "Pod".to_owned() }));
}

#[test]
fn secrets_are_decoded_and_never_shown() {
    let secret = |text: &str| match one(text).content {
        Ok(Manifest::Secret(secret)) => secret,
        other => panic!("{other:?}"),
    };
    let read = secret(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: prod}\ntype: Opaque\n\
         data: {a: aGVsbG8K, b: eA==}\nstringData: {b: plain}\n",
    );
    assert_eq!((read.namespace.as_str(), read.name.as_str()), ("prod", "s"));
    let data: Vec<(&str, &[u8])> =
        read.data.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect();
    assert_eq!(data, [("a", b"hello\n".as_slice()), ("b", b"plain")]);
    assert_eq!(format!("{read:?}"), "Secret(prod/s, redacted)");

    let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    check_document(
        &format!("{head}data: {{a: 'not base64'}}\nstringdata: {{b: x}}\n"),
        &[
            (
                "stringdata",
                "unknown field; known here: apiVersion, kind, metadata, type, data, stringData and \
             immutable",
            ),
            ("data.a", "is not Base64; use `stringData` for plain text"),
        ],
    );
    check_document(
        &format!("{head}stringData: {{pin: 1234}}\n"),
        &[("stringData.pin", "must be a string; put it in quotes")],
    );
}

#[test]
fn hostile_text_is_refused_and_not_followed() {
    for deep in ["[", "{a: ", "- ", "{\"a\":[", "a:\n "] {
        // Read or refused; but never down to the end of the stack.
        let _ = READER.read(&deep.repeat(100_000));
    }
    let aliases = (1..40).map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1));
    let bomb = format!("a0: &a0 [x]\n{}", aliases.collect::<String>());
    assert!(READER.read(&bomb).is_err());
    assert!(READER.read("a: *unknown").is_err());
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let texts = [
        format!("{HEAD}spec:\n  verification: {{mode: hush-hush, secretRefs: [hush-hush]}}\n"),
        format!("{HEAD}spec: hush-hush\n"),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: hush-hush}\n".to_owned(),
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: hush-hush\n".to_owned(),
        "apiVersion: v1\nkind: Secret\nstringData: {k: 'hush-hush}\n".to_owned(),
        "apiVersion: v1\nkind: Secret\nstringData: {k: \"hush-hush\\q\"}\n".to_owned(),
        "apiVersion: v1\nkind: Secret\nstringData:\n  k: hush: hush-hush\n".to_owned(),
    ];
    for text in texts {
        let said = match READER.read(&text) {
            Ok(documents) => format!("{documents:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!said.contains("hush-hush"), "{said}");
    }
}

#[test]
fn a_syntax_error_speaks_to_whoever_wrote_the_manifest() {
    let said = |text: &str| READER.read(text).unwrap_err().to_string();
    assert_eq!(
        said("apiVersion: v1\nkind: Secret\napiVersion: v1\n"),
        "line 3, column 1: duplicate mapping key `apiVersion` is not allowed here; a line `---` \
         begins another document"
    );
    assert_eq!(
        said("kind: Secret\nmetadata:\n  name: a\n  name: b\n"),
        "line 4, column 3: duplicate mapping key `name` is not allowed here"
    );
    assert_eq!(said("a:\n  : b\n"), "line 2, column 3: null is not allowed here");
    assert_eq!(said("a: [").matches("line 1").count(), 1);
}
