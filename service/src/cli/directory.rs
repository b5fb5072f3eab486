//! `directory`: reads what identify events and their like made of users, objects, tenants,
//! subscriptions and audiences.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use segment_source_core::source::SourceId;
use segment_source_proto::directory::v1::{
    Entity, GetRequest, Key, Kind, ListRequest, SourceName, directory_client::DirectoryClient,
};
use serde::Serialize;

use super::{
    client::{AtSource, Connection, explain},
    print,
    view::{self, Json},
};
use crate::args::Output;

/// What to read.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints one user, tenant or object.
    Get(Get),
    /// Prints entries of one kind, in the order of their keys.
    List(List),
}

/// Flags of `directory get`.
#[derive(Debug, ClapArgs)]
pub struct Get {
    #[command(flatten)]
    at: AtSource,
    /// What it is.
    #[arg(value_name = "KIND")]
    kind: Single,
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,
    /// The collection of an object.
    #[arg(long, value_name = "NAME", default_value = "")]
    collection: String,
}

/// Flags of `directory list`.
#[derive(Debug, ClapArgs)]
pub struct List {
    #[command(flatten)]
    at: AtSource,
    /// What they are.
    #[arg(value_name = "KIND", default_value = "users")]
    kind: Several,
    /// Only objects of this collection, or subscriptions to such.
    #[arg(long, value_name = "NAME", default_value = "")]
    collection: String,
    /// Only subscriptions to this object of the collection.
    #[arg(long, value_name = "ID", default_value = "", requires = "collection")]
    object: String,
    /// Only members of this audience.
    #[arg(long, value_name = "KEY", default_value = "")]
    audience: String,
    /// How many at the most.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Single {
    User,
    Tenant,
    Object,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Several {
    Users,
    Objects,
    Tenants,
    Subscriptions,
    Members,
}

/// An entry as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct EntityView {
    /// Such as `user u1` or `object teams/t1`.
    entry: String,
    key: KeyView,
    properties: Json,
    /// Only its id is known.
    missing: bool,
    revision: u64,
    updated: String,
}

#[derive(Debug, Serialize)]
struct KeyView {
    kind: String,
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    collection: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    audience: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tenant: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    recipient: String,
}

/// Runs it.
///
/// # Errors
/// When the server cannot be reached, or does not know the source or the entry.
pub async fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Get(args) => get(args, output).await,
        Command::List(args) => list(args, output).await,
    }
}

async fn get(args: Get, output: Output) -> anyhow::Result<ExitCode> {
    if matches!(args.kind, Single::Object) == args.collection.is_empty() {
        bail!("--collection names the collection of an object, and of nothing else");
    }
    let source = args.at.source().await?;
    let kind = match args.kind {
        Single::User => Kind::User,
        Single::Tenant => Kind::Tenant,
        Single::Object => Kind::Object,
    };
    let key = Key { kind: kind.into(), id: args.id, collection: args.collection, ..Key::default() };
    let mut directory = args.at.server.directory().await?;
    entity(&mut directory, &source, key).await?.print(output)?;
    Ok(ExitCode::SUCCESS)
}

/// One entry.
///
/// # Errors
/// When there is none, or the call fails.
pub(super) async fn entity(
    directory: &mut DirectoryClient<Connection>,
    source: &SourceId,
    key: Key,
) -> anyhow::Result<EntityView> {
    let request = GetRequest { source: Some(name(source)), key: Some(key) };
    let answer = directory.get(request).await.map_err(explain)?.into_inner();
    Ok(EntityView::new(answer.entity.unwrap_or_default()))
}

async fn list(args: List, output: Output) -> anyhow::Result<ExitCode> {
    let source = args.at.source().await?;
    let mut directory = args.at.server.directory().await?;
    let kind = match args.kind {
        Several::Users => Kind::User,
        Several::Objects => Kind::Object,
        Several::Tenants => Kind::Tenant,
        Several::Subscriptions => Kind::Subscription,
        Several::Members => Kind::Member,
    };
    let mut request = ListRequest {
        source: Some(name(&source)),
        kind: kind.into(),
        collection: args.collection,
        object: args.object,
        audience: args.audience,
        ..ListRequest::default()
    };
    let mut left = args.max;
    while left > 0 {
        request.page_size = left.min(LARGEST_PAGE);
        let page = directory.list(request.clone()).await.map_err(explain)?.into_inner();
        left = left.saturating_sub(u32::try_from(page.entities.len()).unwrap_or(u32::MAX));
        for entity in page.entities {
            EntityView::new(entity).print(output)?;
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if left == args.max && output == Output::Text {
        print::line(&format!("the directory of {source} has none of these"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Of the API.
const LARGEST_PAGE: u32 = 1000;

fn name(source: &SourceId) -> SourceName {
    SourceName { namespace: source.namespace().to_owned(), name: source.name().to_owned() }
}

impl EntityView {
    /// An entry of the wire.
    pub(super) fn new(entity: Entity) -> Self {
        let Entity { key, properties_json, revision, updated, missing, .. } = entity;
        let key = key.unwrap_or_default();
        let kind = view::value_name(key.kind().as_str_name(), "KIND_");
        let recipient = key.recipient.unwrap_or_default();
        let recipient = path([&recipient.collection, &recipient.id]);
        let named = path([&key.collection, &key.audience, &key.tenant, &key.id, &recipient]);
        Self {
            entry: format!("{kind} {named}"),
            key: KeyView {
                kind,
                id: key.id,
                collection: key.collection,
                audience: key.audience,
                tenant: key.tenant,
                recipient,
            },
            properties: Json::new(&properties_json),
            missing,
            revision,
            updated: view::time(updated.as_ref()),
        }
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let known = match self.missing {
            true => "not identified yet".to_owned(),
            false => print::one_line(self.properties.text()),
        };
        format!("{}  {known}", self.entry)
    }

    fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Json => print::json(self)?,
            Output::Text => print::line(&format!("{}  {}", self.updated, self.line()))?,
        }
        Ok(())
    }
}

/// The parts that there are.
fn path<const N: usize>(parts: [&String; N]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.map(|part| part.as_str()).collect::<Vec<_>>().join("/")
}
