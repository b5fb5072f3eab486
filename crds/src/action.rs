//! Actions and their parameters as a manifest writes them. Which fields an action type has is told
//! once more by `segment_source_core::mapping`; a test holds the two together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One of the twelve actions; its key is the action's name.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Action {
    /// Makes or updates a user.
    UsersIdentify {
        /// The user's id.
        id: Parameter,
        /// Name for display.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Parameter>,
        /// Address for email.
        #[serde(skip_serializing_if = "Option::is_none")]
        email: Option<Parameter>,
        /// Number for text messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        phone_number: Option<Parameter>,
        /// URL of the user's picture.
        #[serde(skip_serializing_if = "Option::is_none")]
        avatar: Option<Parameter>,
        /// BCP 47, such as `en-GB`.
        #[serde(skip_serializing_if = "Option::is_none")]
        locale: Option<Parameter>,
        /// IANA name, such as `Europe/Berlin`.
        #[serde(skip_serializing_if = "Option::is_none")]
        timezone: Option<Parameter>,
        /// When the user came to be, RFC 3339.
        #[serde(skip_serializing_if = "Option::is_none")]
        created_at: Option<Parameter>,
        /// By channel id.
        #[serde(skip_serializing_if = "Option::is_none")]
        channel_data: Option<Parameter>,
        /// By preference set.
        #[serde(skip_serializing_if = "Option::is_none")]
        preferences: Option<Parameter>,
        /// An object: everything else that is kept of the user.
        #[serde(skip_serializing_if = "Option::is_none")]
        properties: Option<Parameter>,
    },
    /// Deletes a user.
    UsersDelete {
        /// The user's id.
        id: Parameter,
    },
    /// Makes or updates an object.
    ObjectsSet {
        /// The object's collection.
        collection: Parameter,
        /// The object's id.
        id: Parameter,
        /// Name for display.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Parameter>,
        /// BCP 47, such as `en-GB`.
        #[serde(skip_serializing_if = "Option::is_none")]
        locale: Option<Parameter>,
        /// IANA name, such as `Europe/Berlin`.
        #[serde(skip_serializing_if = "Option::is_none")]
        timezone: Option<Parameter>,
        /// By channel id.
        #[serde(skip_serializing_if = "Option::is_none")]
        channel_data: Option<Parameter>,
        /// By preference set.
        #[serde(skip_serializing_if = "Option::is_none")]
        preferences: Option<Parameter>,
        /// An object: everything else that is kept of the object.
        #[serde(skip_serializing_if = "Option::is_none")]
        properties: Option<Parameter>,
    },
    /// Deletes an object.
    ObjectsDelete {
        /// The object's collection.
        collection: Parameter,
        /// The object's id.
        id: Parameter,
    },
    /// Makes or updates a tenant.
    TenantsSet {
        /// The tenant's id.
        id: Parameter,
        /// Name for display.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Parameter>,
        /// An object: branding and preference set.
        #[serde(skip_serializing_if = "Option::is_none")]
        settings: Option<Parameter>,
        /// By channel id.
        #[serde(skip_serializing_if = "Option::is_none")]
        channel_data: Option<Parameter>,
        /// An object: everything else that is kept of the tenant.
        #[serde(skip_serializing_if = "Option::is_none")]
        properties: Option<Parameter>,
    },
    /// Deletes a tenant.
    TenantsDelete {
        /// The tenant's id.
        id: Parameter,
    },
    /// Subscribes recipients to an object.
    ObjectsSubscribe {
        /// The object's collection.
        collection: Parameter,
        /// The object's id.
        id: Parameter,
        /// One recipient or a list.
        recipients: Parameter,
        /// An object that is kept with each subscription.
        #[serde(skip_serializing_if = "Option::is_none")]
        properties: Option<Parameter>,
    },
    /// Ends subscriptions of recipients to an object.
    ObjectsUnsubscribe {
        /// The object's collection.
        collection: Parameter,
        /// The object's id.
        id: Parameter,
        /// One recipient or a list.
        recipients: Parameter,
    },
    /// Adds members to an audience.
    AudiencesAddMember {
        /// Key of the audience, literally.
        #[schemars(length(min = 1, max = 256))]
        audience: String,
        /// One user or a list.
        members: Parameter,
        /// The tenant of the memberships.
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<Parameter>,
        /// Whether a missing audience is made.
        #[serde(skip_serializing_if = "Option::is_none")]
        create_audience: Option<Parameter>,
    },
    /// Removes members from an audience.
    AudiencesRemoveMember {
        /// Key of the audience, literally.
        #[schemars(length(min = 1, max = 256))]
        audience: String,
        /// One user or a list.
        members: Parameter,
        /// The tenant of the memberships.
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<Parameter>,
    },
    /// Triggers a workflow.
    WorkflowsTrigger {
        /// Key of the workflow, literally.
        #[schemars(length(min = 1, max = 256))]
        workflow: String,
        /// One recipient or a list of at most 1,000.
        recipients: Parameter,
        /// An object for the workflow's templates.
        #[serde(skip_serializing_if = "Option::is_none")]
        data: Option<Parameter>,
        /// Who caused it.
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<Parameter>,
        /// On whose behalf.
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<Parameter>,
        /// Names the run, so that it can be cancelled.
        #[serde(skip_serializing_if = "Option::is_none")]
        cancellation_key: Option<Parameter>,
    },
    /// Cancels runs of a workflow.
    WorkflowsCancel {
        /// Key of the workflow, literally.
        #[schemars(length(min = 1, max = 256))]
        workflow: String,
        /// The key the runs were triggered with.
        cancellation_key: Parameter,
        /// One recipient or a list. Absent: all of the run.
        #[serde(skip_serializing_if = "Option::is_none")]
        recipients: Option<Parameter>,
    },
}

/// Where a field's value comes from: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Parameter {
    /// A path into the event, such as `body.userId`; numbers keep their text.
    Path(#[schemars(length(min = 1, max = 256))] String),
    /// Any JSON value, as it is.
    Value(#[schemars(schema_with = "anything")] Value),
    /// CEL over `body`, `headers` and `preprocess`.
    Expression(#[schemars(length(min = 1, max = 1024))] String),
}

fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "description": "Any JSON value, as it is.",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// The name of an action type in a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActionName {
    /// `usersIdentify`
    UsersIdentify,
    /// `usersDelete`
    UsersDelete,
    /// `objectsSet`
    ObjectsSet,
    /// `objectsDelete`
    ObjectsDelete,
    /// `tenantsSet`
    TenantsSet,
    /// `tenantsDelete`
    TenantsDelete,
    /// `objectsSubscribe`
    ObjectsSubscribe,
    /// `objectsUnsubscribe`
    ObjectsUnsubscribe,
    /// `audiencesAddMember`
    AudiencesAddMember,
    /// `audiencesRemoveMember`
    AudiencesRemoveMember,
    /// `workflowsTrigger`
    WorkflowsTrigger,
    /// `workflowsCancel`
    WorkflowsCancel,
}

/// `usersIdentify` as `users_identify`.
pub(crate) fn snake_case(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
