//! The twelve actions: their names and the order in which they run.

use std::{fmt, str::FromStr};

/// What an action does, by Knock's names. Sorts in the order in which the actions of one event
/// run: recipients exist before they are subscribed, subscriptions before workflows start, and
/// what is cancelled is cancelled before something new starts under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActionType {
    /// Makes or updates a user.
    UsersIdentify,
    /// Deletes a user.
    UsersDelete,
    /// Makes or updates an object.
    ObjectsSet,
    /// Deletes an object.
    ObjectsDelete,
    /// Makes or updates a tenant.
    TenantsSet,
    /// Deletes a tenant.
    TenantsDelete,
    /// Subscribes recipients to an object.
    ObjectsSubscribe,
    /// Ends subscriptions of recipients to an object.
    ObjectsUnsubscribe,
    /// Adds users to an audience.
    AudiencesAddMember,
    /// Removes users from an audience.
    AudiencesRemoveMember,
    /// Cancels what a trigger with the same cancellation key started.
    WorkflowsCancel,
    /// Starts a workflow for recipients.
    WorkflowsTrigger,
}

/// Text that names no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no action type; there are: {known}", known = known())]
pub struct UnknownActionType(String);

impl ActionType {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 12] = [
        Self::UsersIdentify,
        Self::UsersDelete,
        Self::ObjectsSet,
        Self::ObjectsDelete,
        Self::TenantsSet,
        Self::TenantsDelete,
        Self::ObjectsSubscribe,
        Self::ObjectsUnsubscribe,
        Self::AudiencesAddMember,
        Self::AudiencesRemoveMember,
        Self::WorkflowsCancel,
        Self::WorkflowsTrigger,
    ];

    /// The name on the wire and in logs, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsersIdentify => "users_identify",
            Self::UsersDelete => "users_delete",
            Self::ObjectsSet => "objects_set",
            Self::ObjectsDelete => "objects_delete",
            Self::TenantsSet => "tenants_set",
            Self::TenantsDelete => "tenants_delete",
            Self::ObjectsSubscribe => "objects_subscribe",
            Self::ObjectsUnsubscribe => "objects_unsubscribe",
            Self::AudiencesAddMember => "audiences_add_member",
            Self::AudiencesRemoveMember => "audiences_remove_member",
            Self::WorkflowsCancel => "workflows_cancel",
            Self::WorkflowsTrigger => "workflows_trigger",
        }
    }
}

impl fmt::Display for ActionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ActionType {
    type Err = UnknownActionType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|action| action.as_str() == text);
        found.ok_or_else(|| UnknownActionType(text.chars().take(100).collect()))
    }
}

fn known() -> String {
    ActionType::ALL.map(ActionType::as_str).join(", ")
}
