//! The CustomResourceDefinition, generated from the types, and the test that keeps the committed
//! YAML equal to it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::CustomResourceExt as _;

use crate::SegmentSource;

/// Which schema [`crd`] has; to be raised whenever the CRD changes. An operator does not work with
/// a CRD of a lower number: the API server would drop fields it does not know.
pub const CRD_SCHEMA: u32 = 2;

/// Annotation of the CRD that tells the [`CRD_SCHEMA`] it was made with.
pub const SCHEMA_ANNOTATION: &str = "segment-source.dev/schema";

/// What `kubectl apply` needs before the first SegmentSource.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    let mut crd = SegmentSource::crd();
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert(SCHEMA_ANNOTATION.to_owned(), CRD_SCHEMA.to_string());
    crd
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::crd;

    #[test]
    fn the_committed_crd_is_what_the_types_say() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("segmentsources.segment-source.dev.yaml");
        let generated = serde_saphyr::to_string(&crd()).unwrap();
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &generated).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap_or_default() == generated,
            "crds/segmentsources.segment-source.dev.yaml is not what the types say; run \
             `UPDATE_GOLDEN=1 cargo test -p segment-source-crds` and commit the file"
        );
        let read_back: serde_json::Value = serde_saphyr::from_str(&generated).unwrap();
        assert_eq!(read_back, serde_json::to_value(crd()).unwrap());
    }

    #[test]
    fn the_schema_has_no_defaults_and_no_unsigned_formats() {
        let text = serde_json::to_string(&crd()).unwrap();
        assert_eq!((text.contains("\"default\":"), text.contains("\"uint")), (false, false));
    }
}
