//! Waits for the definition of SegmentSource, in a schema this program can work with. Does IO.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, CustomResourceExt as _};
use segment_source_crds::{CRD_SCHEMA, SCHEMA_ANNOTATION, SegmentSource};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{metrics::ApiErrors, pauses::in_time};

/// How often it is looked at until it is right.
const PAUSE: Duration = Duration::from_secs(2);

/// Waits until it is there and right; says what is in the way whenever that changes.
pub(crate) async fn established(client: Client, errors: ApiErrors) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let name = SegmentSource::crd_name();
    let mut said = None;
    loop {
        let problem = match in_time(api.get_opt(name)).await {
            Ok(Ok(found)) => problem(found.as_ref()),
            Err(slow) => {
                errors.count("customresourcedefinitions");
                Some(format!("cannot read the CustomResourceDefinition {name}: {slow}"))
            }
            Ok(Err(error)) => {
                errors.count("customresourcedefinitions");
                Some(format!("cannot read the CustomResourceDefinition {name}: {error}"))
            }
        };
        let Some(problem) = problem else {
            info!(name, "the definition is there");
            return;
        };
        if said.as_ref() != Some(&problem) {
            warn!("{problem}");
            said = Some(problem);
        }
        sleep(PAUSE).await;
    }
}

/// What is wrong with the definition, and what to do about it.
fn problem(found: Option<&CustomResourceDefinition>) -> Option<String> {
    let name = SegmentSource::crd_name();
    let install = "install or upgrade the chart segment-source-crds, or apply \
                   crds/segmentsources.segment-source.dev.yaml of this version";
    let Some(found) = found else {
        return Some(format!("the CustomResourceDefinition {name} is missing; {install}"));
    };
    let annotations = found.metadata.annotations.iter().flatten();
    let schema = annotations.filter(|(key, _)| *key == SCHEMA_ANNOTATION).map(|(_, it)| it).next();
    let number = schema.and_then(|it| it.parse().ok()).unwrap_or(0u32);
    if number < CRD_SCHEMA {
        return Some(format!(
            "the CustomResourceDefinition {name} has schema {number} (annotation \
             {SCHEMA_ANNOTATION}), and this operator needs {CRD_SCHEMA}; {install}"
        ));
    }
    let conditions = found.status.iter().flat_map(|it| it.conditions.iter().flatten());
    let established =
        conditions.into_iter().any(|it| it.type_ == "Established" && it.status == "True");
    (!established).then(|| format!("the CustomResourceDefinition {name} is not established yet"))
}

#[cfg(test)]
mod tests {
    use segment_source_crds::crd;
    use serde_json::json;

    use super::{CustomResourceDefinition, problem};

    #[test]
    fn a_definition_must_be_there_new_enough_and_established() {
        fn check(found: Option<&CustomResourceDefinition>, expected: Option<&str>) {
            let problem = problem(found);
            match (&problem, expected) {
                (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{problem}"),
                (found, expected) => assert_eq!(found.as_deref(), expected),
            }
        }
        check(None, Some("is missing; install"));
        let mut crd = crd();
        check(Some(&crd), Some("is not established yet"));
        let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
        crd.status = serde_json::from_value(established).unwrap();
        check(Some(&crd), None);
        crd.metadata.annotations = Some([("segment-source.dev/schema".into(), "1".into())].into());
        check(Some(&crd), Some("has schema 1 "));
        crd.metadata.annotations = None;
        check(Some(&crd), Some("has schema 0 "));
    }
}
