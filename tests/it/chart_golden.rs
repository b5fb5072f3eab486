//! The charts as a whole: what they render, byte for byte, and that Helm takes them as they are in
//! a checkout and as a package.

use std::fs;

use segment_source_tests::{
    chart::{Answer, available, chart, everything, golden, helm, names, parse, render, render_as},
    process::root,
};
use serde_json::Value;

/// Without the definition: it has a test of its own, and is long.
fn without_definition(values: &str) -> String {
    format!("{values}\ncrds: {{install: false}}\n")
}

#[track_caller]
fn rendered(answer: Answer) -> String {
    assert!(answer.success, "{}", answer.err);
    answer.out
}

#[test]
fn the_defaults() {
    if available() {
        golden("single.yaml", &rendered(render(&without_definition(""))));
    }
}

#[test]
fn mode_distributed() {
    if available() {
        golden("distributed.yaml", &rendered(render(&without_definition("mode: distributed"))));
    }
}

#[test]
fn mode_distributed_with_a_redis() {
    if available() {
        let values = "mode: distributed\nredis: {existingSecret: events}";
        golden("redis.yaml", &rendered(render(&without_definition(values))));
    }
}

#[test]
fn everything_that_can_be_on() {
    if available() {
        let answer = render_as("hooks", "prod", &without_definition(&everything()));
        golden("everything.yaml", &rendered(answer));
    }
}

#[test]
fn twice_is_the_same() {
    if !available() {
        return;
    }
    for values in ["", "mode: distributed", &everything()] {
        let once = rendered(render(values));
        assert_eq!(once, rendered(render(values)));
    }
}

/// What depends on the cluster or on chance would look to GitOps tools like a change.
#[test]
fn templates_call_nothing_that_varies() {
    let templates = fs::read_dir(chart("segment-source").join("templates")).expect("a folder");
    let mut seen = 0;
    for template in templates {
        let path = template.expect("a file").path();
        let text = fs::read_to_string(&path).expect("text");
        for word in ["lookup", "rand", "gen", "derivePassword", "uuidv4", "now", "Capabilities"] {
            for before in ["{{ ", "{{- ", "(", "| ", "= ", ".", "if "] {
                let call = format!("{before}{word}");
                assert!(!text.contains(&call), "{} has `{call}`", path.display());
            }
        }
        seen += 1;
    }
    assert!(seen > 10, "{seen} templates");
}

#[test]
fn helm_finds_nothing_to_complain_of() {
    if !available() {
        return;
    }
    for name in ["segment-source", "segment-source-crds"] {
        let folder = chart(name);
        let folder = folder.to_str().expect("UTF-8");
        let sets: &[&str] = match name {
            "segment-source" => &[
                "",
                "mode: distributed",
                "redis: {existingSecret: events}",
                "watchNamespaces: [\"*\"]",
                &everything(),
            ],
            _ => &[""],
        };
        for values in sets {
            let answer = helm(&["lint", "--strict", folder, "--values", "-"], values);
            assert!(answer.success, "{name}: {}{}\n{values}", answer.out, answer.err);
        }
    }
}

#[test]
fn a_package_renders_what_the_checkout_renders() {
    if !available() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let into = folder.path().to_str().expect("UTF-8");
    let from = chart("segment-source");
    let answer = helm(&["package", from.to_str().expect("UTF-8"), "--destination", into], "");
    assert!(answer.success, "{}", answer.err);
    let version = env!("CARGO_PKG_VERSION");
    let package = folder.path().join(format!("segment-source-{version}.tgz"));
    let package = package.to_str().expect("UTF-8");
    let packed = helm(&["template", "segment-source", package, "--namespace", "prod"], "");
    assert_eq!(rendered(packed), rendered(render("")));
}

#[test]
fn the_definition_is_the_generated_one_and_stays() {
    if !available() {
        return;
    }
    let file = root().join("crds/segmentsources.segment-source.dev.yaml");
    let text = fs::read_to_string(file).expect("the definition is there");
    let copy = chart("segment-source-crds/files/segmentsources.segment-source.dev.yaml");
    assert!(
        fs::read_to_string(&copy).unwrap_or_default() == text,
        "{} is not a copy of crds/segmentsources.segment-source.dev.yaml",
        copy.display()
    );
    let mut generated: Value = serde_saphyr::from_str(&text).expect("YAML");
    whole_numbers(&mut generated);
    if generated["metadata"]["annotations"].is_null() {
        generated["metadata"]["annotations"] = Value::Object(serde_json::Map::new());
    }
    let annotations = &mut generated["metadata"]["annotations"];
    annotations["helm.sh/resource-policy"] = "keep".into();
    annotations["argocd.argoproj.io/sync-options"] = "Prune=false,Delete=false".into();

    let own = chart("segment-source-crds");
    let own = helm(&["template", "any", own.to_str().expect("UTF-8")], "");
    assert_eq!(parse(&rendered(own)), [generated.clone()]);
    // And as a part of the other chart, unless it is switched off.
    let with = parse(&rendered(render("")));
    let found: Vec<_> = with.iter().filter(|it| it["kind"] == generated["kind"]).collect();
    assert_eq!(found, [&generated]);
    let without = parse(&rendered(render(&without_definition(""))));
    assert_eq!(without.len() + 1, with.len(), "{:?}", names(&without));
}

/// The generated file writes bounds as `1.0`, Helm as `1`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(fields) => fields.values_mut().for_each(whole_numbers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|it| it.fract() == 0.0) {
                *value = (whole as i64).into();
            }
        }
        _ => {}
    }
}

#[test]
fn versions_move_together() {
    let version = env!("CARGO_PKG_VERSION");
    for name in ["segment-source", "segment-source-crds"] {
        let text = fs::read_to_string(chart(name).join("Chart.yaml")).expect("a chart");
        let meta: Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!((&meta["version"], &meta["appVersion"]), (&version.into(), &version.into()));
        for dependency in meta["dependencies"].as_array().into_iter().flatten() {
            assert_eq!(dependency["version"], version);
        }
    }
}
