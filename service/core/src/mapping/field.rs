//! Which fields each action has: the one table that manifests, rendering and documentation follow.

use super::ActionType;

/// One field of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSpec {
    /// Knock's name, in `snake_case`.
    pub name: &'static str,
    /// What it takes and how it is written.
    pub kind: Kind,
    /// Whether a mapping must have it, and an event must give it a value.
    pub required: bool,
}

/// What a field takes, and what becomes of it in the payload. An id is a string that is not empty,
/// or a number, which becomes a string by its literal text; an empty string counts as no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An id.
    Id,
    /// An id that is part of the configuration rather than of the event: manifests have it as a
    /// literal.
    Key,
    /// A string, or a number, which becomes a string by its literal text.
    Text,
    /// A boolean.
    Flag,
    /// An object, verbatim.
    Object,
    /// An object whose entries become fields of the payload. A name that the mapping gives as a
    /// field of its own (so always `id` and `collection` where they are required) is skipped.
    Properties,
    /// An id, or an object with an `id`.
    Tenant,
    /// An id, or an object with an `id` (a user to identify) and perhaps a `collection` (then it is
    /// an object to set).
    Recipient,
    /// A list of 1 to 1,000 of [`Kind::Recipient`], or a single one; becomes a list.
    Recipients,
    /// As [`Kind::Recipients`], for actions that only take references: a user is written as its
    /// id, an object as `collection` and `id`. When mapped it must have a value, because without it
    /// a cancellation would reach everybody.
    References,
    /// A list of 1 to 1,000 members, or a single one. A member is an id, an object with an `id`, or
    /// an object with a `user` of these two kinds and perhaps a `tenant`; becomes a list of objects
    /// with `user` and perhaps `tenant`, and nothing else.
    Members,
    /// An id of at most 1,024 bytes as JSON; becomes the `tenant` of each member that has none, and
    /// is no field of the payload.
    MemberTenant,
}

impl ActionType {
    /// Its fields, in the order in which the payload has them.
    #[must_use]
    pub const fn fields(self) -> &'static [FieldSpec] {
        match self {
            Self::UsersIdentify => USERS_IDENTIFY,
            Self::UsersDelete | Self::TenantsDelete => &[ID],
            Self::ObjectsSet => OBJECTS_SET,
            Self::ObjectsDelete => &[COLLECTION, ID],
            Self::TenantsSet => TENANTS_SET,
            Self::ObjectsSubscribe => OBJECTS_SUBSCRIBE,
            Self::ObjectsUnsubscribe => OBJECTS_UNSUBSCRIBE,
            Self::AudiencesAddMember => AUDIENCES_ADD_MEMBER,
            Self::AudiencesRemoveMember => AUDIENCES_REMOVE_MEMBER,
            Self::WorkflowsCancel => WORKFLOWS_CANCEL,
            Self::WorkflowsTrigger => WORKFLOWS_TRIGGER,
        }
    }
}

const ID: FieldSpec = required("id", Kind::Id);
const COLLECTION: FieldSpec = required("collection", Kind::Id);

const USERS_IDENTIFY: &[FieldSpec] = &[
    ID,
    optional("name", Kind::Text),
    optional("email", Kind::Text),
    optional("phone_number", Kind::Text),
    optional("avatar", Kind::Text),
    optional("locale", Kind::Text),
    optional("timezone", Kind::Text),
    optional("created_at", Kind::Text),
    optional("channel_data", Kind::Object),
    optional("preferences", Kind::Object),
    optional("properties", Kind::Properties),
];

const OBJECTS_SET: &[FieldSpec] = &[
    COLLECTION,
    ID,
    optional("name", Kind::Text),
    optional("locale", Kind::Text),
    optional("timezone", Kind::Text),
    optional("channel_data", Kind::Object),
    optional("preferences", Kind::Object),
    optional("properties", Kind::Properties),
];

const TENANTS_SET: &[FieldSpec] = &[
    ID,
    optional("name", Kind::Text),
    optional("settings", Kind::Object),
    optional("channel_data", Kind::Object),
    optional("properties", Kind::Properties),
];

const OBJECTS_SUBSCRIBE: &[FieldSpec] = &[
    COLLECTION,
    ID,
    required("recipients", Kind::Recipients),
    optional("properties", Kind::Object),
];

const OBJECTS_UNSUBSCRIBE: &[FieldSpec] =
    &[COLLECTION, ID, required("recipients", Kind::References)];

const AUDIENCES_ADD_MEMBER: &[FieldSpec] = &[
    required("audience", Kind::Key),
    required("members", Kind::Members),
    optional("tenant", Kind::MemberTenant),
    optional("create_audience", Kind::Flag),
];

const AUDIENCES_REMOVE_MEMBER: &[FieldSpec] = &[
    required("audience", Kind::Key),
    required("members", Kind::Members),
    optional("tenant", Kind::MemberTenant),
];

const WORKFLOWS_CANCEL: &[FieldSpec] = &[
    required("workflow", Kind::Key),
    required("cancellation_key", Kind::Id),
    optional("recipients", Kind::References),
];

const WORKFLOWS_TRIGGER: &[FieldSpec] = &[
    required("workflow", Kind::Key),
    required("recipients", Kind::Recipients),
    optional("data", Kind::Object),
    optional("actor", Kind::Recipient),
    optional("tenant", Kind::Tenant),
    optional("cancellation_key", Kind::Id),
];

const fn required(name: &'static str, kind: Kind) -> FieldSpec {
    FieldSpec { name, kind, required: true }
}

const fn optional(name: &'static str, kind: Kind) -> FieldSpec {
    FieldSpec { name, kind, required: false }
}
