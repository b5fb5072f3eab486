//! Writes the reference page of the manifest, `docs/segmentsource.md`, from the CRD's schema, so
//! that page and `kubectl explain` say the same. What does not belong to the schema is in the head.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};

use crate::{
    crd, pattern,
    schema::{child, list},
};

const HEAD: &str = "# SegmentSource

Every field of a manifest, as `kubectl explain segsrc.spec` tells it too. This page is made from the
schema of the CRD, which the API server, `segment-source validate` and the folder configuration hold
manifests against; do not edit it. [examples/](examples/) has whole manifests, and
[paths.md](paths.md) explains paths and expressions.

No field has a default that is written into what you applied: an absent field stays absent, and its
description says what that means. Null means absent too, but server-side apply refuses it.
";

/// What occurs in many places is told once.
const SECRET: &str = "Secret reference";
const PARAMETER: &str = "Parameter";

/// The whole page.
fn page() -> String {
    let root = crd().spec.versions.remove(0).schema.and_then(|it| it.open_api_v3_schema);
    let root = root.unwrap_or_default();
    let mut page = Page { text: HEAD.to_owned(), shared: Vec::new() };
    page.rules(&root);
    let fields = root.properties.unwrap_or_default();
    for name in ["spec", "status"] {
        page.object(name, name, &fields[name]);
    }
    let mut told = 0;
    while let Some((title, schema)) = page.shared.get(told).cloned() {
        page.object(title, "", &schema);
        told += 1;
    }
    page.text
}

struct Page {
    text: String,
    /// Of each title the first one found.
    shared: Vec<(&'static str, JSONSchemaProps)>,
}

impl Page {
    /// The table of an object's fields, and then those of the objects in it.
    fn object(&mut self, title: &str, path: &str, schema: &JSONSchemaProps) {
        let none = String::new();
        let description = schema.description.as_ref().unwrap_or(&none);
        let _ = write!(self.text, "\n## {title}\n\n");
        let about = match title {
            SECRET => "One key of a Secret in the source's namespace.",
            PARAMETER => "Where a field's value comes from: exactly one of the three.",
            _ => description,
        };
        let _ = writeln!(self.text, "{about}");
        self.rules(schema);
        let Some(fields) = &schema.properties else {
            return;
        };
        self.text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
        let mut inner = Vec::new();
        for (name, field) in fields {
            let required = schema.required.iter().flatten().any(|it| it == name);
            let required = if required { ", required" } else { "" };
            let (kind, object) = self.kind(&child(path, name), field);
            inner.extend(object);
            let meaning = field.description.as_deref().unwrap_or_default();
            let meaning = meaning.replace('|', "\\|").replace("\n\n", "<br>");
            let _ = writeln!(self.text, "| `{name}` | {kind}{required} | {meaning} |");
        }
        for (path, schema) in inner {
            self.object(&path, &path, &schema);
        }
    }

    /// What holds between the fields of an object.
    fn rules(&mut self, schema: &JSONSchemaProps) {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            let message = rule.message.as_deref().unwrap_or_default();
            let _ = write!(self.text, "\nRule: {message}.\n");
        }
    }

    /// What a field holds, and the object to be told of further down.
    fn kind(
        &mut self,
        path: &str,
        schema: &JSONSchemaProps,
    ) -> (String, Option<(String, JSONSchemaProps)>) {
        if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
            let (kind, object) = self.kind(&format!("{path}[]"), item);
            let count = bounds(schema.min_items, schema.max_items, "entries");
            let unique = match schema.x_kubernetes_list_type.as_deref() {
                Some("map") => format!(
                    ", unique by `{}`",
                    schema.x_kubernetes_list_map_keys.iter().flatten().next().unwrap_or(&kind)
                ),
                Some("set") => ", all different".to_owned(),
                _ => String::new(),
            };
            return (format!("list of {kind}{count}{unique}"), object);
        }
        let Some(fields) = &schema.properties else {
            return (scalar(schema), None);
        };
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let title = match names[..] {
            ["key", "name"] => SECRET,
            ["expression", "path", "value"] => PARAMETER,
            _ => {
                let object = Some((path.to_owned(), schema.clone()));
                return (format!("[object](#{})", anchor(path)), object);
            }
        };
        if !self.shared.iter().any(|(known, _)| *known == title) {
            self.shared.push((title, schema.clone()));
        }
        (format!("[{}](#{})", title.to_lowercase(), anchor(title)), None)
    }
}

fn scalar(schema: &JSONSchemaProps) -> String {
    if let Some(allowed) = &schema.enum_ {
        let allowed: Vec<String> =
            allowed.iter().filter_map(|it| Some(format!("`{}`", it.0.as_str()?))).collect();
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        return list(&allowed, "or");
    }
    let kind = match (schema.type_.as_deref(), schema.pattern.as_deref(), schema.format.as_deref())
    {
        (Some("integer"), ..) => {
            let (min, max) = (schema.minimum, schema.maximum);
            return match (min, max) {
                (Some(min), Some(max)) => format!("whole number from {min} to {max}"),
                _ => "whole number".to_owned(),
            };
        }
        (Some("boolean"), ..) => "true or false",
        (Some("object"), ..) => "`{}`",
        (Some("string"), Some(pattern::LABEL), _) => "DNS label",
        (Some("string"), Some(pattern::HEADER), _) => "header name",
        (Some("string"), Some(pattern::DURATION), _) => "duration",
        (Some("string"), Some(pattern::URL | pattern::BASE_URL), _) => "URL",
        (Some("string"), Some(pattern::QUANTITY), _) => "quantity",
        (Some("string"), _, Some("date-time")) => "time",
        (Some(other), ..) => other,
        (None, ..) => "anything",
    };
    format!("{kind}{}", bounds(schema.min_length, schema.max_length, "characters"))
}

fn bounds(min: Option<i64>, max: Option<i64>, unit: &str) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(", {min} to {max} {unit}"),
        (None, Some(max)) => format!(", at most {max} {unit}"),
        _ => String::new(),
    }
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ' ');
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn the_committed_page_is_what_the_schema_says() {
    crate::crd::tests::golden("docs/segmentsource.md", &page());
}
