//! Looking again and again while the program runs: what is wrong is logged when it comes and when it
//! goes, counted in metrics, and told to the store, which accepts nothing while memory is short.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{
    Code, Durability, Finding, Severity,
    facts::{Facts, gather},
    judge::{FULL, durability, is_full, judge},
};
use crate::{
    contract::Clock,
    redis::{
        connect::{Connection, Trouble},
        target::Target,
    },
};

/// How often to look: memory may fill by 100 MB a second, and the reserve is 15 % of it.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How the servers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// All that should be otherwise.
    pub findings: Vec<Finding>,
    /// What a write that was answered has behind it.
    pub durability: Durability,
    /// Bytes used, and bytes that may be, of the server that is fullest; `None`: no server has a
    /// limit that can be seen.
    pub memory: Option<(u64, u64)>,
}

impl Health {
    /// What the facts say.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let memory = facts.servers.iter().filter_map(|server| {
            let seen = server.seen.as_ref().ok()?;
            seen.used.zip(seen.max).filter(|(_, max)| *max > 0)
        });
        // used / max, without fractions.
        let fullest = memory.max_by(|(used, max), (other, limit)| {
            (u128::from(*used) * u128::from(*limit)).cmp(&(u128::from(*other) * u128::from(*max)))
        });
        Self { findings: judge(facts), durability: durability(facts), memory: fullest }
    }

    /// When nothing new may be accepted: bytes free in the fullest server, and bytes that are kept.
    #[must_use]
    pub fn full(&self) -> Option<(u64, u64)> {
        let (used, max) = self.memory.filter(|(used, max)| is_full(*used, *max))?;
        Some((max.saturating_sub(used), max / FULL.1 * (FULL.1 - FULL.0)))
    }

    /// The errors among the findings: with any of them at the start, better do not start.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// As it was, but out of reach.
    fn unreachable(&self, trouble: &Trouble) -> Self {
        let mut findings = vec![Finding::of(trouble)];
        let others = self.findings.iter().filter(|it| it.code != Code::Unreachable);
        findings.extend(others.cloned());
        Self { findings, ..self.clone() }
    }
}

/// Looks every `interval` for as long as somebody has a receiver. The future is the caller's to run;
/// `first` is what was found at the start.
pub fn watch(
    mut connection: Connection,
    target: Target,
    clock: Clock,
    metrics: Metrics,
    first: &Facts,
    interval: Duration,
) -> (watch::Receiver<Health>, impl Future<Output = ()> + Send + 'static) {
    let health = Health::of(first);
    log(&[], &health);
    metrics.show(&health);
    let (sender, receiver) = watch::channel(health);
    let looking = async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                _ = ticks.tick() => {}
            }
            let looked = tokio::select! {
                () = sender.closed() => return,
                looked = gather(&mut connection, &target, &clock) => looked,
            };
            let now = match looked {
                Ok(facts) => Health::of(&facts),
                Err(trouble) => sender.borrow().unreachable(&trouble),
            };
            metrics.show(&now);
            sender.send_if_modified(|health| {
                let changed = *health != now;
                if changed {
                    log(&health.findings, &now);
                    *health = now;
                }
                changed
            });
        }
    };
    (receiver, looking)
}

/// Says what has come and what has gone; figures that change are the same finding.
fn log(before: &[Finding], now: &Health) {
    let key = |finding: &Finding| (finding.code, finding.at.clone());
    let old: BTreeMap<_, _> = before.iter().map(|it| (key(it), it)).collect();
    let new: BTreeMap<_, _> = now.findings.iter().map(|it| (key(it), it)).collect();
    for (_, finding) in new.iter().filter(|(key, _)| !old.contains_key(key)) {
        let (code, durability) = (finding.code.label(), now.durability.label());
        match finding.severity {
            Severity::Error => tracing::error!(code, durability, "store: {finding}"),
            Severity::Warning => tracing::warn!(code, durability, "store: {finding}"),
            Severity::Note => tracing::info!(code, durability, "store: {finding}"),
        }
    }
    for (_, finding) in old.iter().filter(|(key, _)| !new.contains_key(key)) {
        let code = finding.code.label();
        let at = finding.at.as_deref().map(|at| format!(" at {at}")).unwrap_or_default();
        tracing::info!(code, "store: no longer wrong{at}: {code}");
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

/// The metrics of the servers, named `segment_source_store_*`. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    findings: Family<Labels, Gauge>,
    durability: Family<Class, Gauge>,
    used: Gauge,
    max: Gauge,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("segment_source_store");
        registry.register(
            "findings",
            "Servers of the store that should be set up otherwise, by what is wrong; see \
             segment-source doctor",
            metrics.findings.clone(),
        );
        registry.register(
            "durability",
            "1 for the class of what an accepted event has behind it: synced, relaxed or unknown",
            metrics.durability.clone(),
        );
        registry.register(
            "memory_used_bytes",
            "Memory in use by the server of the store that is fullest",
            metrics.used.clone(),
        );
        registry.register(
            "memory_max_bytes",
            "maxmemory of the same server; 0: no server has a limit",
            metrics.max.clone(),
        );
        metrics
    }

    fn show(&self, health: &Health) {
        for code in Code::ALL {
            let count = health.findings.iter().filter(|it| it.code == code).count();
            let gauge = self.findings.get_or_create_owned(&Labels { code: code.label() });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        for class in Durability::ALL {
            let gauge = self.durability.get_or_create_owned(&Class { class: class.label() });
            gauge.set(i64::from(class == health.durability));
        }
        let (used, max) = health.memory.unwrap_or_default();
        self.used.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.max.set(i64::try_from(max).unwrap_or(i64::MAX));
    }
}
