//! The published vectors, the standard interpreter beside ours, and hostile input.

use std::{collections::BTreeMap, panic, thread};

use proptest::prelude::*;
use serde::Deserialize;

use super::{EvaluationError, Expression, MAX_STEPS, Scope};
use crate::{
    event::Document,
    json::{self, Value},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    documents: BTreeMap<String, Source>,
    expressions: Vec<Vector>,
    refused: Vec<Refused>,
    reads: Vec<Reads>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    body: String,
    #[serde(default)]
    headers: Option<String>,
    #[serde(default)]
    preprocess: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    expression: String,
    document: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    extends: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    expression: String,
    error: String,
    #[serde(default)]
    position: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reads {
    expression: String,
    paths: Vec<String>,
}

fn vectors() -> Vectors {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/expressions.yaml");
    serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn value(text: &str) -> Value {
    json::read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn document(source: &Source) -> Document {
    let part = |text: &Option<String>| value(text.as_deref().unwrap_or("{}"));
    Document {
        body: value(&source.body),
        headers: part(&source.headers),
        preprocess: part(&source.preprocess),
    }
}

fn with_body(body: Value) -> Document {
    Document { body, headers: value("{}"), preprocess: value("{}") }
}

fn compile(text: &str) -> Expression {
    Expression::compile(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn published_expressions_have_their_values() {
    let vectors = vectors();
    assert!(vectors.expressions.len() >= 40);
    for vector in vectors.expressions {
        let document = document(&vectors.documents[&vector.document]);
        let result = compile(&vector.expression).evaluate(&Scope::new(&document));
        match (result, &vector.value, &vector.error) {
            (Ok(value), Some(expected), None) => {
                assert_eq!(&value.to_string(), expected, "{}", vector.expression);
            }
            (Err(error), None, Some(part)) => {
                assert!(error.to_string().contains(part), "{}: {error}", vector.expression);
            }
            (result, ..) => panic!("{}: {result:?}", vector.expression),
        }
    }
}

#[test]
fn published_refusals_name_the_place() {
    for vector in vectors().refused {
        let error = Expression::compile(&vector.expression).expect_err(&vector.expression);
        assert!(error.to_string().contains(&vector.error), "{error}");
        if vector.position.is_some() {
            assert_eq!(error.position(), vector.position, "{error}");
        }
    }
}

#[test]
fn published_reads_are_complete() {
    for vector in vectors().reads {
        let paths = compile(&vector.expression).reads();
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(paths, vector.paths, "{}", vector.expression);
    }
}

/// The interpreter of the `cel` crate gives the same value to every published expression that
/// does not extend the standard, and an error where we give one.
#[test]
fn the_standard_interpreter_agrees() {
    let vectors = vectors();
    for vector in vectors.expressions {
        let document = document(&vectors.documents[&vector.document]);
        let ours = compile(&vector.expression).evaluate(&Scope::new(&document)).ok();
        let theirs = standard(&vector.expression, &document);
        // Where only JSON sets the limit (keys, infinities), the standard has a value.
        let json_only = vector.error.as_deref().is_some_and(|error| {
            error.contains("the key of an object") || error.contains("JSON can hold")
        });
        match (ours, theirs) {
            (Some(_), _) if vector.extends => {}
            (None, Some(_)) if json_only => {}
            (Some(ours), Some(theirs)) if !vector.extends => {
                assert!(same(&ours, &theirs), "{}: {ours} or {theirs:?}", vector.expression);
            }
            (None, None) => {}
            (ours, theirs) => panic!("{}: {ours:?} or {theirs:?}", vector.expression),
        }
    }
}

fn standard(text: &str, document: &Document) -> Option<cel::Value> {
    let mut context = cel::Context::default();
    context.add_variable_from_value("body", theirs(&document.body));
    context.add_variable_from_value("headers", theirs(&document.headers));
    context.add_variable_from_value("preprocess", theirs(&document.preprocess));
    cel::Program::compile(text).unwrap().execute(&context).ok()
}

fn theirs(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(text) => match (text.parse(), text.parse()) {
            (Ok(int), _) => cel::Value::Int(int),
            (_, Ok(uint)) => cel::Value::UInt(uint),
            _ => cel::Value::Float(text.parse().unwrap()),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(theirs).collect::<Vec<_>>().into(),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| (key.clone(), theirs(value)));
            entries.collect::<std::collections::HashMap<_, _>>().into()
        }
    }
}

fn same(ours: &Value, theirs: &cel::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, cel::Value::Null) => true,
        (Value::Bool(ours), cel::Value::Bool(theirs)) => ours == theirs,
        (Value::Number(ours), cel::Value::Int(theirs)) => **ours == *theirs.to_string(),
        (Value::Number(ours), cel::Value::UInt(theirs)) => **ours == *theirs.to_string(),
        (Value::Number(ours), cel::Value::Float(theirs)) => ours.parse() == Ok(*theirs),
        (Value::String(ours), cel::Value::String(theirs)) => *ours == **theirs,
        (Value::Array(ours), cel::Value::List(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs.iter()).all(|(ours, theirs)| same(ours, theirs))
        }
        (Value::Object(ours), cel::Value::Map(theirs)) => {
            ours.len() == theirs.map.len()
                && ours.iter().all(|(key, ours)| {
                    theirs
                        .map
                        .get(&cel::objects::Key::from(key.as_str()))
                        .is_some_and(|theirs| same(ours, theirs))
                })
        }
        _ => false,
    }
}

#[test]
fn what_holds_is_true_or_false() {
    let document = with_body(value(r#"{"a":true,"b":"true","c":false}"#));
    let holds = |text| compile(text).holds(&Scope::new(&document));
    assert_eq!(holds("body.a"), Ok(true));
    assert_eq!(holds("body.c"), Ok(false));
    assert_eq!(holds("body.a && !body.c"), Ok(true));
    assert_eq!(
        holds("body.b"),
        Err(EvaluationError::Result("it must be true or false, and is a string".to_owned()))
    );
    assert_eq!(holds("body.d"), Err(EvaluationError::Missing("body.d".to_owned())));
}

/// On the 2 MiB that tokio gives its workers, in an unoptimised build: compile, evaluate, drop.
#[test]
fn no_expression_overflows_the_stack() {
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let mut texts = vec![
        "[[body]] == [[body]]".to_owned(),
        nested("!(", "body == body", ")", 31),
        nested("[", "body", "]", 32),
        format!("{}true", "!".repeat(1_020)),
        format!("{}1", "-".repeat(1_023)),
        format!("1{}", "+1".repeat(511)),
        format!("1{}", "+1".repeat(98)),
        format!("1{}", "<1".repeat(511)),
        format!("{}1", "true?1:".repeat(145)),
        format!("{}1", "true?1:".repeat(90)),
        nested("true?", "1", ":1", 146),
        format!("body{}", ".a".repeat(510)),
        format!("body{}", ".a".repeat(98)),
        format!("has(body{})", ".a".repeat(98)),
        format!("body{}", "[0]".repeat(339)),
        format!("body{}", ".size()".repeat(98)),
        format!("true{}", "||false".repeat(145)),
        format!("[{}]", "1,".repeat(510)),
        "(".repeat(1_024),
        "[".repeat(1_024),
        "{".repeat(1_024),
        ")".repeat(1_024),
        "\"".repeat(1_024),
        "'''(((".repeat(170),
        "r'\\'".repeat(200) + &"(".repeat(200),
        "@#%`\\".repeat(200),
    ];
    for (open, inner, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{\"a\":", "1", "}"),
        ("size(", "\"\"", ")"),
        ("!(", "true", ")"),
        ("(true?1:", "1", ")"),
        ("[1][", "0", "]"),
        ("(1+", "1", ")"),
        ("body[", "0", "]"),
        ("[1].map(x,", "1", ")"),
    ] {
        texts.extend([31, 32, 33, 100].map(|times| nested(open, inner, close, times)));
    }
    let deep = nested("{\"a\":", "1", "}", 128);
    let run = move || {
        let document = with_body(value(&deep));
        for text in texts {
            let text: String = text.chars().take(super::MAX_CHARACTERS).collect();
            if let Ok(expression) = Expression::compile(&text) {
                let _ = expression.evaluate(&Scope::new(&document));
            }
        }
    };
    thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn limits_are_where_they_are_said_to_be() {
    let refusal = |text: &str| Expression::compile(text).map(|_| ()).unwrap_err().to_string();
    assert!(Expression::compile(&format!("\"{}\"", "é".repeat(1_022))).is_ok());
    assert!(refusal(&format!("\"{}\"", "é".repeat(1_023))).contains("1024 characters"));
    assert!(refusal(&"x".repeat(1_000_000)).len() < 500);
    assert!(Expression::compile(&format!("{}1{}", "(".repeat(32), ")".repeat(32))).is_ok());
    let error = refusal(&format!("{}1{}", "(".repeat(33), ")".repeat(33)));
    assert!(error.contains("at character 33, brackets are nested more than 32 deep"), "{error}");
    assert!(Expression::compile(&format!("\"{}\"", "(".repeat(900))).is_ok());
    assert!(Expression::compile(&format!("1{}", "+1".repeat(99))).is_ok());
    assert!(refusal(&format!("1{}", "+1".repeat(100))).contains("more than 100 deep"));
    assert!(refusal(&format!("{}1", "true?1:".repeat(100))).contains("nested too deep"));
    let error = refusal("\"é\" + nope");
    assert!(error.contains("at character 7, there is no `nope`"), "{error}");
}

/// What costs much is stopped, and not hidden by `||` or by a loop that tolerates errors.
#[test]
fn work_is_bounded_whatever_the_event() {
    let items = Value::Array(vec![Value::from("x"); 100_000]);
    let text = Value::from("a".repeat(8 << 20).as_str());
    let number = Value::Number("1".repeat(8 << 20).into());
    let zeros = Value::from("0".repeat(8 << 20).as_str());
    let fields = [("items", items), ("text", text), ("number", number), ("zeros", zeros)];
    let wide = Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).into());
    let document = with_body(wide);
    let scope = Scope::new(&document);
    for text in [
        "body.items.all(x, body.items.all(y, x == y))",
        "body.items.exists(x, body.items.exists(y, x != y)) || true",
        "body.items.all(x, body.items == body.items) || true",
        "body.items.map(x, body.items)",
        "body.items.map(x, body.text)",
        "[body.text + body.text].map(a, a + a).map(a, a + a).map(a, a + a)",
        "body.text + body.text + body.text + body.text",
        "body.items.map(x, body.text.contains(\"b\"))",
        "body.items.all(x, body.text.matches(\"^(a|b)*c\") || true)",
        "body.items.filter(x, x in body.items || x in body.items).map(x, x + x + x + x)",
        "body.items.map(x, [x, x, x, x, x, x, x, x, x, x, x])",
        "body.items.map(x, body.items + body.items).size()",
        "body.items.all(x, body.text <= body.text)",
        "body.items.all(x, body.number > 1)",
        "body.items.all(x, body.number != 1)",
        "body.items.all(x, body.number * 2.0 > 1.0)",
        "body.items.all(x, -body.number < 0.0)",
        "body.items.all(x, double(body.number) > 0.0)",
        "body.items.all(x, int(body.zeros) == 0)",
        "body.items.all(x, double(body.zeros) == 0.0)",
        "body.items.exists(x, body[body.text] == 1)",
        "body.items.exists(x, body.text in body)",
        "body.items.exists(x, body.items[body.number] == 1)",
    ] {
        let result = compile(text).evaluate(&scope);
        assert_eq!(result, Err(EvaluationError::TooMuchWork), "{text}");
    }
    assert!(EvaluationError::TooMuchWork.to_string().contains(&MAX_STEPS.to_string()));
    // One pass over as many elements, and a search in the long text, are fine.
    for text in ["body.items.exists(x, x == \"y\")", "body.text.endsWith(\"b\")"] {
        assert_eq!(compile(text).holds(&scope), Ok(false), "{text}");
    }
}

#[test]
fn a_result_is_nested_no_deeper_than_json_may_be() {
    let nested = |n: usize| value(&format!("{}{}", "[".repeat(n), "]".repeat(n)));
    let document = with_body(nested(127));
    assert!(compile("[body]").evaluate(&Scope::new(&document)).is_ok());
    let error = compile("[[body]]").evaluate(&Scope::new(&document)).unwrap_err();
    assert!(error.to_string().contains("nested deeper than 128"), "{error}");
}

#[test]
fn messages_hold_nothing_of_the_event() {
    let document = with_body(value(r#"{"s":"secret","n":31337,"k":{"secret":1},"l":["secret"]}"#));
    for text in [
        "body.s + 1",
        "body.s < 1",
        "body.k[body.s + body.s]",
        "body.l[body.n]",
        "int(body.s)",
        "bool(body.s)",
        "body.l.map(x, x.y)",
        "body.n.contains(\"a\")",
        "body.s ? 1 : 2",
        "body.s.z",
        "{body.n: 1}",
        "{body.s: 1, body.s: 2}",
        "body.n * 9223372036854775807",
    ] {
        let error = compile(text).evaluate(&Scope::new(&document)).unwrap_err().to_string();
        assert!(!error.contains("secret") && !error.contains("31337"), "{text}: {error}");
    }
}

#[test]
fn expressions_are_shared_between_threads() {
    fn shared<T: Send + Sync + panic::UnwindSafe>() {}
    shared::<Expression>();
    shared::<Scope<'_>>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,60}") {
        let _ = Expression::compile(&text);
    }

    /// Generated expressions mean what they mean to the standard interpreter.
    #[test]
    fn generated_expressions_agree_with_the_standard(text in expression_like()) {
        let document = with_body(value(r#"{"i":3,"j":-2,"d":1.5,"s":"ab","t":true,"n":null,
            "l":[1,2,"ab"],"o":{"s":"x"}}"#));
        // The standard knows no bound on nested loops; any other refusal is a failure.
        let expression = Expression::compile(&text).map_err(|error| error.to_string());
        prop_assume!(!matches!(&expression, Err(error) if error.contains("loops are nested")));
        prop_assert!(expression.is_ok(), "{}: {:?}", text, expression.err());
        let ours = expression.and_then(|ours| {
            ours.evaluate(&Scope::new(&document)).map_err(|error| error.to_string())
        });
        match (ours, standard(&text, &document)) {
            (Ok(ours), Some(theirs)) => {
                prop_assert!(same(&ours, &theirs), "{}: {} or {:?}", text, ours, theirs);
            }
            // The interpreter appends an object's keys to a list; the language has no such `+`.
            (Err(error), Some(_)) if error.contains("`+` does not take a list and an object") => {}
            (Err(error), Some(theirs)) => {
                prop_assert!(false, "{}: {} or {:?}", text, error, theirs);
            }
            // Mixed arithmetic has a value here alone.
            (_, None) => {}
        }
    }
}

fn expression_like() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "body\\.[ijdstnlo]",
        "body\\.o\\.[sx]",
        "[0-3]",
        Just("\"ab\"".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("has(body.o.x)".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let binary = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
        ]);
        let each = prop::sample::select(vec!["all", "exists", "exists_one", "filter", "map"]);
        prop_oneof![
            (inner.clone(), binary, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.clone().prop_map(|of| format!("(!{of})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            inner.clone().prop_map(|of| format!("{{\"k\": {of}}}")),
            inner.clone().prop_map(|of| format!("size({of})")),
            (inner.clone(), inner.clone()).prop_map(|(of, index)| format!("{of}[{index}]")),
            (each, inner).prop_map(|(each, of)| format!("body.l.{each}(v, v == {of})")),
        ]
    })
}
