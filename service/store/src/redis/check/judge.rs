//! What the facts mean. Pure: the same facts, the same findings, worst first.

#[cfg(test)]
mod tests;

use super::{
    Code, Durability, Finding, Severity,
    facts::{Cluster, Facts, Kept, Seen},
};

/// With more of its memory in use a server is given nothing new: 85 %.
pub(super) const FULL: (u64, u64) = (85, 100);

/// Clocks may differ by this much, in milliseconds.
const CLOCK: u64 = 1000;
/// From here on windows and retention are visibly wrong.
const CLOCK_BAD: u64 = 60_000;

/// All slots of a cluster.
const SLOTS: u64 = 16_384;

/// A bucket of keys has at most 88 fields of 9 bytes on average, and seldom more than 128.
const LISTPACK: (u64, u64) = (128, 64);

/// Everything that should be otherwise, errors first.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(cluster) = &facts.cluster {
        whole(cluster, &mut findings);
    }
    apart(facts, &mut findings);
    for server in &facts.servers {
        let mut own = Vec::new();
        match &server.seen {
            Ok(seen) => one(seen, facts.cluster.is_some(), &mut own),
            Err(trouble) => own.push(Finding::of(trouble)),
        }
        let at = Some(server.at.clone());
        findings.extend(own.into_iter().map(|finding| Finding { at: at.clone(), ..finding }));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What a write that was answered has behind it.
#[must_use]
pub(super) fn durability(facts: &Facts) -> Durability {
    let of = |kept: &Kept| match (kept.aof, kept.fsync.as_deref(), kept.pauses) {
        (Some(false), ..) | (_, Some("everysec" | "no"), _) | (.., Some(true)) => {
            Durability::Relaxed
        }
        (Some(true), Some("always"), Some(false)) => Durability::Synced,
        _ => Durability::Unknown,
    };
    let mut all = Durability::Synced;
    for server in &facts.servers {
        let own = server.seen.as_ref().map_or(Durability::Unknown, |seen| of(&seen.kept));
        all = match (all, own) {
            (Durability::Relaxed, _) | (_, Durability::Relaxed) => Durability::Relaxed,
            (Durability::Unknown, _) | (_, Durability::Unknown) => Durability::Unknown,
            _ => Durability::Synced,
        };
    }
    if facts.servers.is_empty() { Durability::Unknown } else { all }
}

fn finding(
    severity: Severity,
    code: Code,
    wrong: impl Into<String>,
    change: impl Into<String>,
) -> Finding {
    Finding { code, severity, at: None, wrong: wrong.into(), change: change.into() }
}

fn error(code: Code, wrong: impl Into<String>, change: impl Into<String>) -> Finding {
    finding(Severity::Error, code, wrong, change)
}

fn warning(code: Code, wrong: impl Into<String>, change: impl Into<String>) -> Finding {
    finding(Severity::Warning, code, wrong, change)
}

fn whole(cluster: &Cluster, findings: &mut Vec<Finding>) {
    if let Some(assigned) = cluster.assigned
        && assigned < SLOTS
    {
        findings.push(error(
            Code::ClusterSlots,
            format!(
                "{} of {SLOTS} slots have no server, sources in them no store",
                SLOTS - assigned
            ),
            "redis-cli --cluster fix HOST:PORT",
        ));
    }
    if cluster.serves == Some(false) {
        findings.push(error(
            Code::ClusterState,
            "the cluster says that it does not serve (cluster_state:fail)",
            "start the masters that are missing, or a replica of each; see CLUSTER NODES",
        ));
    }
}

/// Two servers' clocks may differ more from one another than either does from ours.
fn apart(facts: &Facts, findings: &mut Vec<Finding>) {
    let clocks = || facts.servers.iter().filter_map(|it| it.seen.as_ref().ok()?.clock);
    let (Some(first), Some(last)) = (clocks().min(), clocks().max()) else { return };
    let apart = last.abs_diff(first);
    // With one server, or one of two at our time, it is said where that server is judged.
    if first < 0 && last > 0 && apart > CLOCK {
        findings.push(clock(apart, "the clocks of two servers differ by"));
    }
}

fn clock(apart: u64, what: &str) -> Finding {
    let severity = if apart > CLOCK_BAD { Severity::Error } else { Severity::Warning };
    finding(
        severity,
        Code::Clock,
        format!(
            "{what} {}.{} s: windows, leases and times of retries are off by that",
            apart / 1000,
            apart % 1000 / 100
        ),
        "let NTP or chrony set the clocks of all machines",
    )
}

fn one(seen: &Seen, as_cluster: bool, findings: &mut Vec<Finding>) {
    if let Some(version) = seen.version.filter(|version| !version.is_supported()) {
        findings.push(error(
            Code::Version,
            format!("{version} is too old"),
            "run Redis 7.0, Valkey 7.2, or newer",
        ));
    }
    if seen.in_cluster == Some(true) && !as_cluster {
        findings.push(error(
            Code::ClusterAddress,
            "it is one of a cluster, and the address is for a server alone",
            "--store redis-cluster://HOST:PORT,HOST:PORT (rediss-cluster:// with TLS)",
        ));
    }
    if seen.is_replica == Some(true) {
        findings.push(error(
            Code::Replica,
            "it is a replica, which takes no writes",
            "give the address of its master, or of a name that follows it",
        ));
    }
    memory(seen, findings);
    kept(&seen.kept, findings);
    default_user(seen, findings);
    if let (Some(replicas @ 1..), Some(0)) = (seen.replicas, seen.min_replicas) {
        findings.push(warning(
            Code::MinReplicas,
            format!(
                "{replicas} replica{} may be behind: when one takes over, what it did not get is lost, and a \
                 master cut off from it takes writes that are lost, too",
                if replicas == 1 { "" } else { "s" }
            ),
            "CONFIG SET min-replicas-to-write 1",
        ));
    }
    if let Some(difference) = seen.clock
        && difference.unsigned_abs() > CLOCK
    {
        let way = if difference > 0 { "ahead of" } else { "behind" };
        findings.push(clock(difference.unsigned_abs(), &format!("its clock is {way} ours by")));
    }
    listpack(seen, findings);
    unseen(seen, findings);
}

fn memory(seen: &Seen, findings: &mut Vec<Finding>) {
    if let Some(policy) = seen.policy.as_deref().filter(|policy| *policy != "noeviction") {
        findings.push(error(
            Code::Eviction,
            format!("maxmemory-policy is {policy}: when memory is short, accepted events vanish"),
            "CONFIG SET maxmemory-policy noeviction",
        ));
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    match (seen.used, seen.max) {
        (_, Some(0)) => {
            let enough = seen.machine.map_or(1 << 30, |machine| machine / 10 * 6);
            findings.push(warning(
                Code::Maxmemory,
                // The rest is for writing the append-only file anew, which may take as much again.
                "no maxmemory: instead of refusing events in time it grows until the system kills it; \
                 give it 60 % of what it may use",
                format!("CONFIG SET maxmemory {}mb", mib(enough)),
            ));
        }
        (Some(used), Some(max)) if is_full(used, max) => findings.push(error(
            Code::Memory,
            format!(
                "{} of {} MiB of memory are used: above {} % nothing new is accepted, and it answers \
                 503; give it more, or keep less (retention)",
                mib(used),
                mib(max),
                FULL.0
            ),
            format!("CONFIG SET maxmemory {}mb", mib(used / 10 * 16)),
        )),
        _ => {}
    }
}

/// Whether so much is used that nothing new is accepted.
pub(super) fn is_full(used: u64, max: u64) -> bool {
    max > 0 && u128::from(used) * u128::from(FULL.1) > u128::from(max) * u128::from(FULL.0)
}

fn kept(kept: &Kept, findings: &mut Vec<Finding>) {
    if kept.aof == Some(false) {
        findings.push(warning(
            Code::AofOff,
            "Durability=Relaxed: no append-only file, so all since the last snapshot is lost when it ends",
            "CONFIG SET appendonly yes",
        ));
        return;
    }
    if kept.works == Some(false) {
        findings.push(error(
            Code::AofFailing,
            "the append-only file cannot be written, so nothing is accepted",
            "give its disk room, or repair it; see the server's log",
        ));
    }
    let lost = match kept.fsync.as_deref() {
        Some("everysec") => Some("up to two seconds"),
        Some("no") => Some("half a minute or more"),
        _ => None,
    };
    if let (Some(lost), Some(fsync)) = (lost, &kept.fsync) {
        findings.push(warning(
            Code::Fsync,
            format!(
                "Durability=Relaxed: appendfsync is {fsync}, so {lost} of accepted events are lost when the \
                 machine loses power"
            ),
            "CONFIG SET appendfsync always",
        ));
    }
    if kept.pauses == Some(true) {
        findings.push(warning(
            Code::FsyncRewrite,
            "Durability=Relaxed: no-appendfsync-on-rewrite is yes, so nothing is synced while the \
             append-only file is written anew",
            "CONFIG SET no-appendfsync-on-rewrite no",
        ));
    }
}

/// The first Valkey measured that no longer judges what it reads from its append-only file by the rights
/// of `default`. Redis mended it, too (redis/redis#14541), in a release that was not measured.
const LOADS_ALL: (u32, u32, u32) = (9, 1, 2);
/// Measured Redis releases, which do, are before this one.
const UNKNOWN: (u32, u32, u32) = (7, 1, 0);

fn default_user(seen: &Seen, findings: &mut Vec<Finding>) {
    let loads_all = seen.version.is_some_and(|it| it.valkey && it.number >= LOADS_ALL);
    let unknown = seen.version.is_some_and(|it| !it.valkey && it.number >= UNKNOWN);
    if seen.default_may_write == Some(false) && seen.kept.aof != Some(false) && !loads_all {
        findings.push(finding(
            if unknown { Severity::Warning } else { Severity::Error },
            Code::DefaultUser,
            "the user `default` has not all rights: many releases, when they read their append-only file at \
             a start, leave out all transactions that those do not cover, which is nearly everything; the \
             user may stay off",
            "ACL SETUSER default ~* &* +@all, and the same in its file of users or redis.conf",
        ));
    }
}

fn listpack(seen: &Seen, findings: &mut Vec<Finding>) {
    let Some((entries, value)) = seen.listpack else { return };
    let small = [
        ("hash-max-listpack-entries", entries, LISTPACK.0),
        ("hash-max-listpack-value", value, LISTPACK.1),
    ];
    let small: Vec<_> = small.iter().filter(|(_, found, least)| found < least).collect();
    if small.is_empty() {
        return;
    }
    let found: Vec<_> = small.iter().map(|(name, found, _)| format!("{name} is {found}")).collect();
    let set: Vec<_> = small.iter().map(|(name, _, least)| format!("{name} {least}")).collect();
    findings.push(warning(
        Code::Listpack,
        format!("{}: a key takes three times the memory", found.join(", ")),
        format!("CONFIG SET {}", set.join(" ")),
    ));
}

/// What would have been judged, had it been seen.
fn unseen(seen: &Seen, findings: &mut Vec<Finding>) {
    let kept = &seen.kept;
    let aof = kept.aof != Some(false);
    let facts = [
        ("the version", seen.version.is_some()),
        ("its role", seen.is_replica.is_some()),
        ("memory in use", seen.used.is_some() && seen.max.is_some()),
        ("maxmemory-policy", seen.policy.is_some()),
        ("appendonly", kept.aof.is_some()),
        ("appendfsync", kept.fsync.is_some() || !aof),
        ("no-appendfsync-on-rewrite", kept.pauses.is_some() || !aof),
        ("min-replicas-to-write", seen.min_replicas.is_some() || seen.replicas == Some(0)),
        ("hash-max-listpack-*", seen.listpack.is_some()),
        ("the rights of the user `default`", seen.default_may_write.is_some() || !aof),
        ("its clock", seen.clock.is_some()),
    ];
    let missing: Vec<_> = facts.iter().filter(|(_, seen)| !seen).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        findings.push(finding(
            Severity::Note,
            Code::Unseen,
            format!("cannot be seen: {}", missing.join(", ")),
            "give the user +info +config|get +acl|dryrun +time, or look at the service's own settings",
        ));
    }
}
