//! One process: its parts and how they are joined. [`start`] is the table of contents; what a part
//! does lives in its own file.

use std::{
    collections::BTreeSet,
    env,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::join_all;
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use segment_source_runtime::{
    health::{Pages, Readiness},
    metrics::registry,
    net::{bind, host_name},
    process::{self, Process},
    tasks::Tasks,
    tls::{ClientCertificates, Identities, Security, folder, incoming},
};
use tokio::net::TcpListener;
use tracing::info;

use crate::{
    args::Args,
    certificates::{self, Certificates},
    definition,
    dereference::Dereference,
    dirty::Dirty,
    disputes::Disputes,
    index::Index,
    lease::{Candidate, Leadership, Office, Settings},
    memory::Memory,
    metrics::Metrics,
    reconcile::{self, FirstPass, Reconcile},
    report::Report,
    revision::Record,
    serve::ConfigService,
    table::Table,
    watch::{Reading, Revisions, Scope, Secrets, Shelf as _, Shelves, Sources},
};

/// How long connecting to the API server may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection to it may say nothing. A watch of which nothing is to be told is ended by
/// the API server after 290 seconds.
const READ: Duration = Duration::from_secs(300);

/// Works until a signal; the log says why when it cannot.
///
/// # Errors
/// When the system refuses signal handlers.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    process::run(start(&args)).await
}

/// What ends together; in the order in which the operator ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Tells replicas no more, so that they go to the next leader.
    Stream,
    /// Finishes the looks under way.
    Looks,
    /// Stops following the cluster, the identity and the certificates.
    Following,
    /// Gives the Lease back.
    Lease,
    /// Says to the last that the process lives and is not ready.
    Health,
}

/// Everything that parts share.
struct Shared {
    args: Args,
    client: Client,
    namespace: String,
    name: String,
    leadership: Leadership,
    dirty: Arc<Dirty>,
    table: Arc<Table>,
    metrics: Metrics,
    readiness: Readiness,
}

/// Binds, joins and starts all parts.
async fn start(args: &Args) -> anyhow::Result<Process<Stage>> {
    args.check()?;
    let (grpc, admin) = (bind("--grpc", &args.grpc).await?, bind("--admin", &args.admin).await?);
    let (client, namespace) = connect(args).await?;
    let (office, leadership) = Office::new();
    let (dirty, memory) = (Arc::new(Dirty::default()), Arc::new(Memory::default()));
    let table = Arc::new(Table::new(dirty.clone()));
    let mut registry = registry();
    let metrics =
        Metrics::register(&mut registry, leadership.clone(), table.clone(), memory.clone());
    let readiness = Readiness::default();
    let named = args.name.clone().or_else(|| env::var("POD_NAME").ok());
    let (name, args) = (named.unwrap_or_else(host_name), args.clone());
    let shared =
        Shared { args, client, namespace, name, leadership, dirty, table, metrics, readiness };
    info!(
        namespace = shared.namespace,
        name = shared.name,
        grpc = grpc.local_addr()?.to_string(),
        admin = admin.local_addr()?.to_string(),
        "listening"
    );

    let mut tasks = Tasks::default();
    let (own, certificates) = own_identity(&shared, &mut tasks)?;
    serve(&shared, &mut tasks, own, grpc);
    look(&shared, &mut tasks, memory);
    lead(&shared, &mut tasks, certificates, office);
    health(&shared, &mut tasks, admin, registry);
    Ok(Process { tasks, readiness: shared.readiness, drain: shared.args.drain })
}

/// Serves the configuration stream, once there is an identity to serve it with.
fn serve(shared: &Shared, tasks: &mut Tasks<Stage>, own: Own, listener: TcpListener) {
    let stop = tasks.stop_of(Stage::Stream);
    let service = ConfigService::new(
        shared.table.clone(),
        shared.leadership.clone(),
        shared.metrics.nacks.clone(),
        stop.clone(),
    );
    let latch = shared.readiness.latch("identity");
    tasks.spawn(Stage::Stream, "the configuration stream", async move {
        let Some(identities) = stop.run_until_cancelled(own.wait()).await else { return Ok(()) };
        let security = match identities {
            Some(identities) => Security::Tls { identities, clients: ClientCertificates::Required },
            None => Security::Plaintext,
        };
        latch.set(true);
        service.serve(incoming(listener, security)).await
    });
}

/// Where the operator's identity comes from.
enum Own {
    /// It has none: plaintext, which is only allowed on this machine.
    Plaintext,
    Folder(Identities),
    Issued(certificates::Own),
}

impl Own {
    async fn wait(self) -> Option<Identities> {
        match self {
            Self::Plaintext => None,
            Self::Folder(identities) => Some(identities),
            Self::Issued(own) => Some(own.wait().await),
        }
    }
}

/// The operator's identity, and who keeps the Secrets that are filled here.
fn own_identity(
    shared: &Shared,
    tasks: &mut Tasks<Stage>,
) -> anyhow::Result<(Own, Option<Certificates>)> {
    let args = &shared.args;
    let mut own = Own::Plaintext;
    if let Some(folder) = &args.tls {
        let (identities, follower) = folder::open(folder).context("cannot read --tls")?;
        let following = follower.run(tasks.stop_of(Stage::Following));
        tasks.spawn_endless(Stage::Following, "the identity", following);
        own = Own::Folder(identities);
    }
    if args.issue.is_empty() && args.platform_token_secret.is_none() {
        return Ok((own, None));
    }
    let settings = certificates::Settings {
        namespace: shared.namespace.clone(),
        ca_secret: args.ca_secret.clone(),
        issue: args.issue.clone(),
        ca_validity: args.ca_validity,
        certificate_validity: args.certificate_validity,
        token_secret: args.platform_token_secret.clone(),
    };
    let (certificates, issued) = Certificates::new(
        shared.client.clone(),
        settings,
        shared.leadership.clone(),
        shared.metrics.api_errors.clone(),
        shared.metrics.expiries.clone(),
    );
    if args.own_identity().is_some() {
        own = Own::Issued(issued);
    }
    Ok((own, Some(certificates)))
}

/// Follows the cluster and looks at every source that changes.
fn look(shared: &Shared, tasks: &mut Tasks<Stage>, memory: Arc<Memory>) {
    let (client, errors) = (shared.client.clone(), shared.metrics.api_errors.clone());
    let (dirty, table, leadership) =
        (shared.dirty.clone(), shared.table.clone(), shared.leadership.clone());
    let index = Arc::new(Index::default());
    let secrets = Arc::new(Secrets::new(index.clone(), dirty.clone()));
    let revisions = Arc::new(Revisions::new(dirty.clone()));
    let dereference =
        Arc::new(Dereference::new(client.clone(), secrets.clone(), index, errors.clone()));
    let disputes = Arc::new(Disputes::default());
    let forget = (memory.clone(), dereference.clone(), disputes.clone());
    let sources = Arc::new(Sources::new(table.clone(), dirty.clone(), move |name| {
        forget.0.forget(name);
        forget.1.forget(name);
        forget.2.forget(name);
    }));
    let reconcile = Arc::new(Reconcile {
        sources: sources.clone(),
        dereference,
        table: table.clone(),
        dirty: dirty.clone(),
        first_pass: FirstPass::default(),
        memory,
        record: Record::new(client.clone(), revisions.clone(), leadership.clone(), errors.clone()),
        report: Report::new(
            client.clone(),
            shared.name.clone(),
            leadership.clone(),
            shared.metrics.clone(),
            disputes,
        ),
        metrics: shared.metrics.clone(),
        public_url: shared.args.public_url.clone(),
    });

    let scopes = scopes(&shared.args.watch_namespaces, &shared.namespace);
    let (all, again) = (sources.clone(), dirty.clone());
    let reading = Reading::new(&scopes, Shelves::LISTS, table.clone(), move |scope| {
        again.mark(all.names().into_iter().filter(|name| scope.contains(name)));
    });
    let latch = shared.readiness.latch("sources");
    let (settled, marked) = (reading.clone(), dirty.clone());
    let stop = tasks.stop_of(Stage::Looks);
    tasks.spawn(Stage::Looks, "the controller", async move {
        if stop.run_until_cancelled(settled.settled()).await.is_none() {
            return Ok(());
        }
        table.all_listed();
        latch.set(true);
        info!("sources, Secrets and revisions are listed");
        reconcile::run(reconcile, marked, stop).await;
        Ok(())
    });

    let all = sources.clone();
    tasks.spawn_endless(Stage::Following, "the watch for leadership", async move {
        let mut term = None;
        loop {
            // What others have not reported, and what could not be before this term, is to be.
            term = Some(leadership.begun(term).await);
            dirty.mark(all.names());
        }
    });
    let latch = shared.readiness.latch("definition");
    let shelves = Shelves { sources, secrets, revisions };
    tasks.spawn_endless(Stage::Following, "the watches", async move {
        definition::established(client.clone(), errors.clone()).await;
        latch.set(true);
        let follow =
            |scope| shelves.clone().follow(client.clone(), scope, reading.clone(), errors.clone());
        join_all(scopes.into_iter().map(follow)).await;
    });
}

/// What is watched.
fn scopes(namespaces: &[String], own: &str) -> Vec<Scope> {
    if namespaces.iter().any(|it| it == "*") {
        return vec![Scope::All];
    }
    let mut names: BTreeSet<&str> =
        namespaces.iter().map(|it| it.trim()).filter(|it| !it.is_empty()).collect();
    if names.is_empty() {
        names.insert(own);
    }
    names.into_iter().map(|name| Scope::Namespace(name.to_owned())).collect()
}

/// Takes part in the election, and does what else only a leader does.
fn lead(
    shared: &Shared,
    tasks: &mut Tasks<Stage>,
    certificates: Option<Certificates>,
    office: Office,
) {
    if let Some(certificates) = certificates {
        tasks.spawn_endless(Stage::Following, "the certificates", certificates.run());
    }
    let settings = Settings {
        namespace: shared.namespace.clone(),
        lease: shared.args.lease.clone(),
        holder: shared.name.clone(),
        duration: shared.args.lease_duration,
    };
    let errors = shared.metrics.api_errors.clone();
    let candidate = Candidate::new(shared.client.clone(), settings, office, errors);
    let stop = tasks.stop_of(Stage::Lease);
    tasks.spawn(Stage::Lease, "the lease", async move {
        candidate.run(stop).await;
        Ok(())
    });
}

/// Answers health questions to the last.
fn health(shared: &Shared, tasks: &mut Tasks<Stage>, admin: TcpListener, registry: Registry) {
    let published = Arc::new(OnceLock::from(registry));
    let pages = Pages::new(&shared.readiness, published);
    let stop = tasks.stop_of(Stage::Health);
    tasks.spawn(Stage::Health, "the health listener", async move {
        Ok(pages.serve(admin, stop).await?)
    });
}

/// The client of the API server, and the namespace this process is in.
async fn connect(args: &Args) -> anyhow::Result<(Client, String)> {
    let mut config = Config::infer().await.context(
        "cannot find the API server: run it in a cluster, or name a kubeconfig in KUBECONFIG",
    )?;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(READ);
    let own = args.namespace.clone().or_else(|| env::var("POD_NAMESPACE").ok());
    let namespace = own.unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("cannot make a client of the API server")?;
    Ok((client, namespace))
}

#[cfg(test)]
mod tests {
    use super::{Scope, scopes};

    #[test]
    fn what_is_watched_is_what_was_said_or_the_own_namespace() {
        let check = |said: &[&str], expected: &[Scope]| {
            let said: Vec<String> = said.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(scopes(&said, "own"), expected, "{said:?}");
        };
        let one = |name: &str| Scope::Namespace(name.to_owned());
        check(&[], &[one("own")]);
        check(&[""], &[one("own")]);
        check(&["b", " a", "b"], &[one("a"), one("b")]);
        check(&["a", "*"], &[Scope::All]);
    }
}
