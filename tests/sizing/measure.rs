//! The steps, against a Redis of their own, through the store as the program has it.

use std::time::Duration;

use anyhow::Context as _;
use segment_source_core::{
    event::{Event, Verdict, Verification},
    source::{DestinationId, SourceId},
};
use segment_source_store::{
    Accepted, NewAction, NewEvent, PlannedEvent, Receipt, Settlement, Store, redis,
};
use segment_source_tests::redis::{Redis, Setup};

use crate::report::Sizes;

/// Events given to the store at once.
const BATCH: u64 = 256;
/// Sources, so that all partitions have some.
const SOURCES: u64 = 64;
const BODY: usize = 1024;
const PAYLOAD: usize = 512;
const LEASE: Duration = Duration::from_secs(60);

pub(crate) async fn all(keys: u64, events: u64) -> anyhow::Result<Sizes> {
    let mut sizes = Sizes::default();
    keys_of(keys, &mut sizes).await?;
    actions_of(events, &mut sizes).await?;
    Ok(sizes)
}

/// A server and a store on it.
struct Place {
    redis: Redis,
    store: Store,
    made: u64,
}

impl Place {
    async fn new() -> anyhow::Result<Self> {
        let redis = Redis::start(Setup { fsync: None, ..Setup::default() }).await;
        let target = redis.url().parse()?;
        let store = redis::Store::open(&target, redis::Options::default()).await?.into();
        Ok(Self { redis, store, made: 0 })
    }

    async fn info(&self, section: &str, field: &str) -> anyhow::Result<String> {
        let info: String = self.redis.ask(::redis::cmd("INFO").arg(section)).await;
        let mut lines = info.lines();
        let found = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(found.with_context(|| format!("INFO has no {field}"))?.to_owned())
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of memory are below 2^53")]
    async fn memory(&self) -> anyhow::Result<f64> {
        let used: u64 = self.info("memory", "used_memory").await?.parse()?;
        // What connections and the rewriting of tables take comes and goes.
        let clients: u64 = self.info("memory", "mem_clients_normal").await?.parse()?;
        Ok(used.saturating_sub(clients) as f64)
    }

    /// Seconds of its processor.
    async fn processor(&self) -> anyhow::Result<f64> {
        let user: f64 = self.info("cpu", "used_cpu_user").await?.parse()?;
        let system: f64 = self.info("cpu", "used_cpu_sys").await?.parse()?;
        Ok(user + system)
    }

    fn event(&mut self, body: usize) -> anyhow::Result<NewEvent> {
        self.made += 1;
        let made = self.made;
        let mut receipt = [0; 16];
        receipt[..8].copy_from_slice(&made.to_be_bytes());
        Ok(NewEvent {
            source: SourceId::new("prod", &format!("source-{}", made % SOURCES))?,
            receipt: Receipt(receipt),
            window: Some(Duration::from_hours(24)),
            event: Event {
                event_type: Some("track/order-completed".into()),
                key: Some(format!("ajs-next-{made:032x}")),
                order_key: Some(format!("user:{made}")),
                timestamp: Some("2026-11-25T10:00:00.000Z".into()),
                unmappable: None,
                verification: Verification { verdict: Verdict::VerifiedBody, covered: true },
                element: 0,
                headers: vec![("content-type".into(), "application/json".into())],
                body: vec![b'x'; body].into(),
            },
        })
    }

    async fn accept(
        &mut self,
        count: u64,
        body: usize,
    ) -> anyhow::Result<Vec<(SourceId, Accepted)>> {
        let mut all = Vec::new();
        let mut left = count;
        while left > 0 {
            let batch = left.min(BATCH);
            let events = (0..batch).map(|_| self.event(body)).collect::<Result<Vec<_>, _>>()?;
            let sources: Vec<_> = events.iter().map(|event| event.source.clone()).collect();
            let accepted = self.store.accept(events).await?;
            all.extend(sources.into_iter().zip(accepted));
            left -= batch;
        }
        Ok(all)
    }

    /// Removes everything but claims.
    async fn forget_the_log(&self) {
        let script = "local cursor = '0' repeat local found = redis.call('SCAN', cursor, 'COUNT', 1000) \
                      cursor = found[1] for _, key in ipairs(found[2]) do \
                      if not string.find(key, '}:d:', 1, true) then redis.call('DEL', key) end end \
                      until cursor == '0' return 1";
        let _: u64 = self.redis.ask(::redis::cmd("EVAL").arg(script).arg(0)).await;
    }
}

/// What claims take, at a tenth, a third and all of them.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
async fn keys_of(keys: u64, sizes: &mut Sizes) -> anyhow::Result<()> {
    for part in [keys / 10, keys / 2, keys] {
        let mut place = Place::new().await?;
        let empty = place.memory().await?;
        sizes.redis = format!("Redis {}", place.info("server", "redis_version").await?);
        let mut left = part;
        while left > 0 {
            // In between, so that the log does not fill the memory of the machine.
            let some = left.min(100_000);
            place.accept(some, 2).await?;
            let script = "for _, key in ipairs(redis.call('KEYS', '*}:log:*')) do \
                          redis.call('XTRIM', key, 'MAXLEN', 0) end return 1";
            let _: u64 = place.redis.ask(::redis::cmd("EVAL").arg(script).arg(0)).await;
            left -= some;
        }
        place.forget_the_log().await;
        sizes.key_bytes.push((part, (place.memory().await? - empty) / part as f64));
    }
    Ok(())
}

/// What entries and actions take, and the time of each step.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
async fn actions_of(count: u64, sizes: &mut Sizes) -> anyhow::Result<()> {
    let mut place = Place::new().await?;
    sizes.store_bytes = place.memory().await?;
    let per = |value: f64| value / count as f64;
    let (empty, began) = (place.memory().await?, place.processor().await?);
    let accepted = place.accept(count, BODY).await?;
    let (logged, after) = (place.memory().await?, place.processor().await?);
    sizes.record_bytes = u64::try_from(BODY)? + 130;
    let key = sizes.key_bytes.last().map_or(0.0, |(_, bytes)| *bytes);
    sizes.entry_bytes = per(logged - empty) - sizes.record_bytes as f64 - key;
    sizes.accept_micros = per(after - began) * 1e6;

    let (logged, began) = (place.memory().await?, place.processor().await?);
    let mut by_source = std::collections::BTreeMap::<SourceId, Vec<PlannedEvent>>::new();
    for (source, accepted) in accepted {
        let Accepted::New(event) = accepted else { continue };
        let action = NewAction {
            mapping: "order-completed".into(),
            action_type: "workflows_trigger",
            destination: "default".into(),
            rendered: Ok(vec![b'x'; PAYLOAD].into()),
        };
        let planned =
            PlannedEvent { event, generation: 1, notes: Vec::new(), actions: vec![action] };
        by_source.entry(source).or_default().push(planned);
    }
    for (source, planned) in &by_source {
        // As the planner does, who reads what it plans.
        for planned in planned.chunks(BATCH.try_into()?) {
            place.store.unplanned(source, planned.len()).await?;
            place.store.plan(source, planned.to_vec()).await?;
        }
    }
    let (waiting, after) = (place.memory().await?, place.processor().await?);
    let record = (PAYLOAD + 95) as f64;
    sizes.waiting_bytes = per(waiting - logged) - record;
    sizes.plan_micros = per(after - began) * 1e6;

    let began = place.processor().await?;
    for source in by_source.keys() {
        let queue = DestinationId { source: source.clone(), name: "default".into() };
        loop {
            let leases = place.store.take(&queue, 64, LEASE).await?.leases;
            if leases.is_empty() {
                break;
            }
            let answer = "200 OK".to_owned();
            let acks =
                leases.iter().map(|it| (it.token, Settlement::Ack { answer: answer.clone() }));
            place.store.settle(acks.collect()).await?;
        }
    }
    let after = place.processor().await?;
    sizes.delivered_bytes = per(place.memory().await? - logged) - record;
    sizes.deliver_micros = per(after - began) * 1e6;
    place.store.close().await;
    Ok(())
}
