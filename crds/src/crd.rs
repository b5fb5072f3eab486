//! The CustomResourceDefinition, generated from the types, and the test that keeps the committed
//! YAML equal to it.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube_core::CustomResourceExt as _;

use crate::SegmentSource;

/// Which schema [`crd`] has; to be raised whenever the CRD changes. An operator does not work with
/// a CRD of a lower number: the API server would drop fields it does not know.
pub const CRD_SCHEMA: u32 = 3;

/// Annotation of the CRD that tells the [`CRD_SCHEMA`] it was made with.
pub const SCHEMA_ANNOTATION: &str = "segment-source.dev/schema";

/// What `kubectl apply` needs before the first SegmentSource.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = SegmentSource::crd();
    for version in &mut crd.spec.versions {
        let root = version.schema.as_mut().and_then(|it| it.open_api_v3_schema.as_mut());
        if let Some(root) = root {
            each(root, &mut |schema| {
                unwrap_lines(schema);
                prune_null(schema);
            });
        }
    }
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert(SCHEMA_ANNOTATION.to_owned(), CRD_SCHEMA.to_string());
    crd
}

/// Every schema of a schema, itself first.
pub(crate) fn each(schema: &mut JSONSchemaProps, visit: &mut dyn FnMut(&mut JSONSchemaProps)) {
    visit(schema);
    let fields = schema.properties.iter_mut().flat_map(BTreeMap::values_mut);
    let items = schema.items.iter_mut().filter_map(|items| match items {
        JSONSchemaPropsOrArray::Schema(item) => Some(&mut **item),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    });
    fields.chain(items).for_each(|inner| each(inner, visit));
}

/// Comments break their lines where the file is full; `kubectl explain` has its own width.
fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        let paragraphs: Vec<String> = text.split("\n\n").map(|it| it.replace('\n', " ")).collect();
        *text = paragraphs.join("\n\n");
    }
}

/// Where null is no value of its own, the API server drops it, so that it means absent. Fields that
/// may be null keep it, and then it is in the way of enumerations and rules.
fn prune_null(schema: &mut JSONSchemaProps) {
    if schema.x_kubernetes_preserve_unknown_fields != Some(true) {
        schema.nullable = None;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{env, fs, path::Path};

    use super::{CRD_SCHEMA, SCHEMA_ANNOTATION, crd, each};

    /// The committed file is what was generated, or it becomes that when it is asked for.
    #[track_caller]
    pub(crate) fn golden(path: &str, generated: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, generated).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap_or_default() == generated,
            "{path} is not what the types say; run `UPDATE_GOLDEN=1 cargo test -p \
             segment-source-crds` and commit the file"
        );
    }

    #[test]
    fn the_committed_crds_are_what_the_types_say() {
        let generated = serde_saphyr::to_string(&crd()).unwrap();
        let name = "segmentsources.segment-source.dev.yaml";
        golden(&format!("crds/{name}"), &generated);
        golden(&format!("charts/segment-source-crds/files/{name}"), &generated);
        let read_back: serde_json::Value = serde_saphyr::from_str(&generated).unwrap();
        assert_eq!(read_back, serde_json::to_value(crd()).unwrap());
    }

    #[test]
    fn the_crd_tells_its_schema_and_is_small() {
        let crd = crd();
        let annotations = crd.metadata.annotations.clone().unwrap_or_default();
        assert_eq!(annotations.get(SCHEMA_ANNOTATION), Some(&CRD_SCHEMA.to_string()));
        let size = serde_json::to_string(&crd).unwrap().len();
        // `kubectl apply` on the client's side keeps a second copy in an annotation of at most
        // 262,144 bytes.
        assert!(size < 200_000, "{size} bytes");
    }

    #[test]
    fn the_schema_has_no_defaults_and_no_unsigned_formats() {
        let text = serde_json::to_string(&crd()).unwrap();
        assert_eq!((text.contains("\"default\":"), text.contains("\"uint")), (false, false));
    }

    #[test]
    fn every_field_is_described() {
        let mut crd = crd();
        let root = crd.spec.versions[0].schema.as_mut().unwrap();
        let mut undescribed = Vec::new();
        each(root.open_api_v3_schema.as_mut().unwrap(), &mut |schema| {
            for (name, field) in schema.properties.iter().flatten() {
                if field.description.as_ref().is_none_or(|text| text.len() < 8) {
                    undescribed.push(name.clone());
                }
            }
        });
        assert_eq!(undescribed, Vec::<String>::new());
    }
}
