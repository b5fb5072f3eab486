//! One process: its sockets, its parts and how they are joined. [`start`] is the table of contents;
//! what a part does lives in its own crate.

mod authenticate;
mod connection;
mod grpc;
mod ingests;
mod listeners;
mod names;
mod platform_token;
mod reach;
mod security;
mod store;

use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context;
use prometheus_client::registry::Registry;
use segment_source_destinations::{
    Guard, HttpClient, delivery::Deliverer, directory::DirectoryService, queue::QueueService,
};
use segment_source_edge::{Edge, Peers, Settings};
use segment_source_ingest::{AdminService, IngestService, Planner, Retention, Suspension};
use segment_source_rpc::Access;
use segment_source_runtime::{
    health::{Pages, Readiness},
    metrics,
    process::{self, Process},
    tasks::Tasks,
    tls::Security,
};
use segment_source_store::{Clock, SystemClock};
use tokio::{net::TcpListener, sync::watch, task::spawn_blocking};
use tracing::info;

pub use self::listeners::Addresses;
use self::{connection::Incoming, ingests::Ingests, listeners::Listeners, security::Own};
use crate::{
    args::{Role, Serve, Source},
    config::{self, Folder, Live, Operator, Provider, folder, operator},
};

/// Serves until a signal; the log says why when it cannot.
///
/// # Errors
/// When the system refuses signal handlers.
pub async fn run(args: Serve) -> anyhow::Result<ExitCode> {
    process::run(async { Ok(start(&args).await?.process) }).await
}

/// What ends together; in the order in which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Takes no more requests and finishes those under way.
    Edge,
    /// gRPC: finishes what was submitted and gives open leases back.
    Services,
    /// Finishes the plans under way, and lets go of no more of the logs.
    Planner,
    /// Finishes the deliveries under way, as far as there is time, and gives back the rest.
    Delivery,
    /// Stops following the configuration.
    Configuration,
    /// Syncs and closes.
    Store,
    /// Says to the last that the process lives and is not ready.
    Health,
}

/// A process that serves, and where it listens.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) process: Process<Stage>,
    pub(crate) addresses: Addresses,
}

/// Binds, opens, joins and starts what the role needs.
///
/// # Errors
/// Says what is in the way (an address, the store's folder, the configuration) and what to do.
pub(crate) async fn start(args: &Serve) -> anyhow::Result<Running> {
    let listeners = Listeners::bind(args).await?;
    let addresses = listeners.addresses()?;
    let mut parts = Parts::new(listeners.admin);
    let own = parts.follow_identity(args).await?;
    let live = parts.follow_configuration(args, &own).await?;
    let access = parts.follow_access(args, &live).await?;
    let grpc = listeners.grpc.map(|listener| (listener, own.listen(), access));
    let to_ingest = match args.role {
        Role::Edge => Some(parts.reach_ingests(args, &own)),
        Role::Ingest => {
            parts.open_ingest(args, &live, None, grpc).await?;
            None
        }
        Role::All => {
            let (channel, incoming) = connection::in_memory();
            parts.open_ingest(args, &live, Some(incoming), grpc).await?;
            Some(watch::channel(Peers::from([("in this process".to_owned(), channel)])).1)
        }
    };
    if let (Some(peers), Some(http)) = (to_ingest, listeners.http) {
        parts.serve_edge(args, &live, peers, http);
    }
    announce(args.role, addresses);
    Ok(Running { process: parts.into_process(args.drain), addresses })
}

/// The one line that says where the process listens; programs read it.
fn announce(role: Role, addresses: Addresses) {
    let text = |address: Option<std::net::SocketAddr>| {
        address.map(|address| address.to_string()).unwrap_or_default()
    };
    info!(
        role = role.name(),
        http = text(addresses.http),
        grpc = text(addresses.grpc),
        admin = addresses.admin.to_string(),
        "listening"
    );
}

/// What a process is put together from.
struct Parts {
    tasks: Tasks<Stage>,
    readiness: Readiness,
    registry: Registry,
    /// One for all: what one part wrote, others compare with their now.
    clock: SystemClock,
    /// Where the pages find the registry once it is complete.
    published: Arc<OnceLock<Registry>>,
}

impl Parts {
    /// Answers health questions at once, whatever the rest takes.
    fn new(admin: TcpListener) -> Self {
        let (mut tasks, readiness) = (Tasks::default(), Readiness::default());
        let published = Arc::new(OnceLock::new());
        let pages = Pages::new(&readiness, published.clone());
        let stop = tasks.stop_of(Stage::Health);
        tasks.spawn(Stage::Health, "the health listener", async move {
            Ok(pages.serve(admin, stop).await?)
        });
        Self {
            tasks,
            readiness,
            registry: metrics::registry(),
            clock: SystemClock::default(),
            published,
        }
    }
}

impl Parts {
    /// Reads the certificate of this process and follows it.
    async fn follow_identity(&mut self, args: &Serve) -> anyhow::Result<Own> {
        let (own, follower) = Own::open(args).await?;
        if let Some(follower) = follower {
            let stop = self.tasks.stop_of(Stage::Configuration);
            self.tasks.spawn(Stage::Configuration, "the certificate", async move {
                follower.run(stop).await;
                Ok(())
            });
        }
        Ok(own)
    }

    /// Takes what configuration there is and follows it; ready once there is something to serve.
    async fn follow_configuration(&mut self, args: &Serve, own: &Own) -> anyhow::Result<Live> {
        let latch = self.readiness.latch("configuration");
        let provider = provider(args, own, self.clock.clock(), &mut self.registry).await?;
        let (live, publisher) = config::publish(provider.snapshots(), args.role);
        let applied = live.applied.clone();
        let (mut read, stop) = (live.read.clone(), self.tasks.stop_of(Stage::Configuration));
        self.tasks.spawn(Stage::Configuration, "the configuration", async move {
            let ready = async {
                if read.wait_for(|read| *read).await.is_ok() {
                    latch.set(true);
                }
            };
            tokio::join!(provider.run(applied, stop.clone()), publisher.run(stop), ready);
            Ok(())
        });
        Ok(live)
    }

    /// The tokens that are known: those of the configuration, and the platform's in its file.
    async fn follow_access(&mut self, args: &Serve, live: &Live) -> anyhow::Result<Access> {
        let platform = match &args.platform_token {
            Some(file) => {
                let (token, follower) = platform_token::open(file).await?;
                let stop = self.tasks.stop_of(Stage::Configuration);
                let following = follower.run(stop);
                self.tasks.spawn(Stage::Configuration, "the platform token", following);
                token
            }
            None => watch::channel(None).1,
        };
        Ok(Access::new(live.clients.clone(), platform))
    }

    /// The ingests elsewhere that are ready, and readiness that follows them.
    fn reach_ingests(&mut self, args: &Serve, own: &Own) -> watch::Receiver<Peers> {
        let latch = self.readiness.latch("ingest");
        let (ingests, peers) = Ingests::new(args.ingest.clone(), own.dial(), latch);
        let stop = self.tasks.stop_of(Stage::Services);
        self.tasks.spawn(Stage::Services, "the watch of the ingests", async move {
            ingests.follow(stop).await;
            Ok(())
        });
        peers
    }

    /// Opens the store and starts everything that works with it.
    async fn open_ingest(
        &mut self,
        args: &Serve,
        live: &Live,
        in_memory: Option<Incoming>,
        grpc: Option<(TcpListener, Security, Access)>,
    ) -> anyhow::Result<()> {
        let latch = self.readiness.latch("store");
        let store = self.open_store(args).await?;
        latch.set(true);

        let draining = self.tasks.stop_of(Stage::Services);
        let (sources, registry) = (live.ingest.clone(), &mut self.registry);
        let services = grpc::Services {
            ingest: IngestService::new(store.clone(), sources.clone(), registry, draining.clone()),
            queue: QueueService::new(
                store.clone(),
                live.destinations.clone(),
                registry,
                draining.clone(),
            ),
            directory: DirectoryService::new(
                store.clone(),
                live.destinations.clone(),
                draining.clone(),
            ),
            admin: AdminService::new(store.clone(), sources.clone(), draining.clone()),
        };
        let retention = Retention::new(store.clone(), sources.clone());
        let suspension = Suspension::new(store.clone(), sources.clone());
        let planner = Planner::new(store.clone(), sources, registry);
        // What the store says is due, is due by its clock.
        let clock: Clock = {
            let store = store.clone();
            Arc::new(move || store.now())
        };
        let deliverer = Deliverer::new(
            store.clone(),
            live.destinations.clone(),
            to_destinations(args).await?,
            args.knock_rate.iter().copied().collect(),
            registry,
            clock,
            // Less than the half that its stage may take, unless those before it took very long.
            args.drain / 8,
        );

        if let Some(incoming) = in_memory {
            let ingest = services.ingest.clone();
            let serving = grpc::serve_in_memory(ingest, incoming, draining.clone());
            self.tasks.spawn(Stage::Services, "the in-memory ingest", serving);
        }
        if let Some((listener, security, access)) = grpc {
            let readiness = self.readiness.watch();
            let serving = services.serve(listener, security, access, readiness, draining);
            self.tasks.spawn(Stage::Services, "the gRPC listener", serving);
        }
        let stop = self.tasks.stop_of(Stage::Planner);
        self.tasks.spawn(Stage::Planner, "the planner", async move {
            planner.run(stop).await;
            Ok(())
        });
        let stop = self.tasks.stop_of(Stage::Planner);
        self.tasks.spawn(Stage::Planner, "the retention", async move {
            retention.run(stop).await;
            Ok(())
        });
        let stop = self.tasks.stop_of(Stage::Planner);
        self.tasks.spawn(Stage::Planner, "the suspension", async move {
            suspension.run(stop).await;
            Ok(())
        });
        let stop = self.tasks.stop_of(Stage::Delivery);
        self.tasks.spawn(Stage::Delivery, "the delivery", async move {
            deliverer.run(stop).await;
            Ok(())
        });
        let stop = self.tasks.stop_of(Stage::Store);
        self.tasks.spawn(Stage::Store, "the store", async move {
            stop.cancelled().await;
            store.close().await;
            Ok(())
        });
        Ok(())
    }

    /// Takes webhooks and hands them to the ingests.
    fn serve_edge(
        &mut self,
        args: &Serve,
        live: &Live,
        peers: watch::Receiver<Peers>,
        http: TcpListener,
    ) {
        // Less than the half that its stage may take.
        let settings = Settings { drain: args.drain / 3, ..Settings::default() };
        let edge = Edge::new(settings, live.edge.clone(), peers, &mut self.registry);
        let stop = self.tasks.stop_of(Stage::Edge);
        self.tasks.spawn(Stage::Edge, "the webhook listener", async move {
            Ok(edge.serve(http, stop).await?)
        });
    }

    /// Everything was registered and started.
    fn into_process(self, drain: Duration) -> Process<Stage> {
        // Set once, here.
        let _ = self.published.set(self.registry);
        Process { tasks: self.tasks, readiness: self.readiness, drain }
    }
}

/// Where configuration comes from.
async fn provider(
    args: &Serve,
    own: &Own,
    clock: Clock,
    registry: &mut Registry,
) -> anyhow::Result<Provider> {
    let cache = args.cache_dir();
    match args.config.clone() {
        Source::Folder(folder) => {
            let settings = folder::Settings::new(&folder, &cache);
            let open = move || Folder::open(settings, clock);
            Ok(Provider::Folder(Box::new(spawn_blocking(open).await?)))
        }
        Source::Operator { address, secure } => {
            let identities = own.to_operator(secure)?;
            let (role, replica) = (args.role, args.replica.clone());
            let settings = operator::Settings { address, identities, role, replica, cache };
            let operator = Operator::open(settings, clock, registry).await?;
            Ok(Provider::Operator(Box::new(operator)))
        }
    }
}

/// The client of destinations that are called over HTTP. Making it reads certificates.
async fn to_destinations(args: &Serve) -> anyhow::Result<HttpClient> {
    let guard = Guard::new(args.allow_destination.clone());
    let authorities = args.destination_ca.clone();
    spawn_blocking(move || HttpClient::new(guard, authorities.as_deref()))
        .await?
        .context("cannot reach destinations (--destination-ca)")
}
