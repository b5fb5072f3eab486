//! Mappings: which events cause which actions.

use std::collections::HashMap;

use segment_source_core::{
    json,
    mapping::{ActionTemplate, ActionType, Parameter as Template, TemplateError},
};
use segment_source_proto::config::v1::{self as wire, parameter::Source};
use serde_json::Value;

use super::{Compiler, processing::defined};
use crate::{
    Action, Mapping, Nulls, Parameter, SegmentSourceSpec, action::snake_case, schema::child,
};

impl Compiler<'_> {
    pub(super) fn mappings(&mut self, spec: &SegmentSourceSpec) -> Vec<wire::Mapping> {
        self.unique("spec.mappings", spec.mappings.iter().map(|it| it.name.as_str()));
        self.no_trigger_beside_cancel(&spec.mappings);
        let mut mappings = Vec::new();
        for (at, mapping) in spec.mappings.iter().enumerate() {
            mappings.push(self.mapping(&format!("spec.mappings[{at}]"), mapping, spec));
        }
        mappings
    }

    fn mapping(
        &mut self,
        field: &str,
        mapping: &Mapping,
        spec: &SegmentSourceSpec,
    ) -> wire::Mapping {
        self.label(&format!("{field}.name"), &mapping.name);
        if let Some(when) = &mapping.when {
            self.expression(&format!("{field}.when"), when, &defined(spec));
        }
        if let Some(name) = &mapping.destination {
            self.destination_exists(&format!("{field}.destination"), name, spec);
        }
        let (action_type, fields) = self.action(&format!("{field}.action"), &mapping.action, spec);
        let destination = self.destination_fits(field, mapping, spec).to_owned();
        let nulls = match mapping.nulls {
            None | Some(Nulls::Omit) => wire::mapping::Nulls::Omit,
            Some(Nulls::Send) => wire::mapping::Nulls::Send,
        };
        wire::Mapping {
            name: mapping.name.clone(),
            event_type: mapping.event_type.clone(),
            when: mapping.when.clone(),
            destination,
            nulls: nulls.into(),
            disabled: mapping.disabled.unwrap_or(false),
            action_type,
            fields,
        }
    }

    /// The action's type and fields in snake_case, in the order of the field table.
    fn action(
        &mut self,
        field: &str,
        action: &Action,
        spec: &SegmentSourceSpec,
    ) -> (String, Vec<wire::Field>) {
        let (name, parameters) = parts(action);
        let action_type = snake_case(&name);
        let field = child(field, &name);
        let before = self.problems.len();
        let mut fields = Vec::new();
        let mut template = Vec::new();
        let mut names = Vec::new();
        for (name, parameter) in parameters {
            let field = child(&field, &name);
            let (source, read) = self.parameter(&field, parameter, spec);
            names.push(name.clone());
            let name = snake_case(&name);
            template.extend(read.map(|read| (name.clone(), read)));
            fields.push(wire::Field {
                name,
                parameter: Some(wire::Parameter { source: Some(source) }),
            });
        }
        match action_type.parse::<ActionType>() {
            Err(_) => self.problem(&field, format!("unknown action `{name}`")),
            // A field that could not be read would be reported as missing.
            Ok(_) if self.problems.len() > before => {}
            Ok(kind) => {
                let place = |name: &str| kind.fields().iter().position(|spec| spec.name == name);
                fields.sort_by_key(|field| place(&field.name));
                if let Err(error) = ActionTemplate::new(kind, template) {
                    self.template_problem(&field, &names, &error);
                }
            }
        }
        (action_type, fields)
    }

    /// The schema has refused most of them before; literals are left.
    fn template_problem(&mut self, field: &str, names: &[String], error: &TemplateError) {
        let text = error.to_string();
        let literal = match error {
            TemplateError::Literal { field, .. } => Some(*field),
            _ => None,
        };
        let name = names.iter().find(|name| Some(snake_case(name).as_str()) == literal);
        match (name, text.split_once(": ")) {
            (Some(name), Some((_, what))) => self.problem(child(field, name), what),
            _ => self.problem(field, text),
        }
    }

    fn parameter(
        &mut self,
        field: &str,
        parameter: Parameter,
        spec: &SegmentSourceSpec,
    ) -> (Source, Option<Template>) {
        match parameter {
            Parameter::Path(text) => {
                let field = child(field, "path");
                let path = self.path(&field, &text);
                if let Some(path) = &path {
                    self.only_defined(&field, std::slice::from_ref(path), &defined(spec));
                }
                (Source::Path(text), path.map(Template::Path))
            }
            Parameter::Expression(text) => {
                let expression =
                    self.expression(&child(field, "expression"), &text, &defined(spec));
                (Source::Expression(text), expression.map(Template::Expression))
            }
            Parameter::Value(value) => {
                if loses_digits(&value) {
                    let message =
                        "has a number with more digits than are kept; write it as a string";
                    self.problem(child(field, "value"), message);
                }
                let text = value.to_string();
                let value = json::read(text.as_bytes())
                    .map_err(|error| self.problem(child(field, "value"), error.to_string()));
                (Source::ValueJson(text), value.ok().map(Template::Value))
            }
        }
    }

    /// Of a cancellation and a trigger of the same workflow by the same event, either may come
    /// first at the receiver, whatever we do.
    fn no_trigger_beside_cancel(&mut self, mappings: &[Mapping]) {
        let mut triggers = HashMap::new();
        let enabled = |(_, mapping): &(usize, &Mapping)| mapping.disabled != Some(true);
        for (at, mapping) in mappings.iter().enumerate().filter(enabled) {
            if let Action::WorkflowsTrigger { workflow, .. } = &mapping.action {
                triggers.entry((&mapping.event_type, workflow)).or_insert(at);
            }
        }
        for (at, mapping) in mappings.iter().enumerate().filter(enabled) {
            if let Action::WorkflowsCancel { workflow, .. } = &mapping.action
                && let Some(trigger) = triggers.get(&(&mapping.event_type, workflow))
            {
                self.problem(
                    format!("spec.mappings[{at}].action.workflowsCancel"),
                    format!(
                        "spec.mappings[{trigger}] triggers workflow `{workflow}` for the same \
                         event type; the cancellation could hit the run just triggered, so use \
                         two event types or two workflows"
                    ),
                );
            }
        }
    }
}

/// An action's name and fields as its manifest writes them; literal text is a value.
fn parts(action: &Action) -> (String, Vec<(String, Parameter)>) {
    let Ok(Value::Object(tagged)) = serde_json::to_value(action) else {
        return Default::default();
    };
    let Some((name, Value::Object(fields))) = tagged.into_iter().next() else {
        return Default::default();
    };
    let parameter = |value: Value| match value {
        Value::String(_) => Some(Parameter::Value(value)),
        tagged => serde_json::from_value(tagged).ok(),
    };
    let fields = fields.into_iter();
    (name, fields.filter_map(|(name, value)| Some((name, parameter(value)?))).collect())
}

/// Whether a number was too large for an integer and lost digits when the manifest was read.
fn loses_digits(value: &Value) -> bool {
    match value {
        Value::Number(number) => {
            number.is_f64() && number.as_f64().is_some_and(|it| it.abs() >= 9_007_199_254_740_992.0)
        }
        Value::Array(items) => items.iter().any(loses_digits),
        Value::Object(fields) => fields.values().any(loses_digits),
        _ => false,
    }
}
