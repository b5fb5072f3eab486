//! Facts and what they mean, by whole values.

use super::{durability, judge};
use crate::redis::check::{
    Code, Durability, Finding, Health, Severity,
    facts::{Cluster, Facts, Kept, Seen, Server},
    parse::Version,
};

/// A server as it should be, 40 % full.
fn sound() -> Seen {
    Seen {
        version: Some(Version { valkey: false, number: (7, 0, 15) }),
        in_cluster: Some(false),
        is_replica: Some(false),
        replicas: Some(0),
        min_replicas: Some(0),
        used: Some(40 << 20),
        max: Some(100 << 20),
        machine: Some(1000 << 20),
        policy: Some("noeviction".into()),
        kept: Kept {
            aof: Some(true),
            works: Some(true),
            fsync: Some("always".into()),
            pauses: Some(false),
        },
        listpack: Some((512, 64)),
        default_may_write: Some(true),
        clock: Some(12),
    }
}

fn alone(seen: Seen) -> Facts {
    Facts { servers: vec![Server { at: "a:1".into(), seen: Ok(seen) }], cluster: None }
}

fn found(severity: Severity, code: Code, wrong: &str, change: &str) -> Finding {
    let at = Some("a:1".to_owned());
    Finding { code, severity, at, wrong: wrong.into(), change: change.into() }
}

/// What is found when one thing is otherwise.
fn check(change: impl FnOnce(&mut Seen), expected: &[Finding]) {
    let mut seen = sound();
    change(&mut seen);
    assert_eq!(judge(&alone(seen)), expected);
}

#[test]
fn nothing_is_wrong_with_a_sound_server() {
    check(|_| {}, &[]);
    assert_eq!(durability(&alone(sound())), Durability::Synced);
}

#[test]
fn what_loses_data_or_does_not_work_is_an_error() {
    use Severity::Error;
    check(
        |seen| seen.version = Some(Version { valkey: false, number: (6, 2, 14) }),
        &[found(
            Error,
            Code::Version,
            "Redis 6.2.14 is too old",
            "run Redis 7.0, Valkey 7.2, or newer",
        )],
    );
    check(
        |seen| seen.policy = Some("allkeys-lru".into()),
        &[found(
            Error,
            Code::Eviction,
            "maxmemory-policy is allkeys-lru: when memory is short, accepted events vanish",
            "CONFIG SET maxmemory-policy noeviction",
        )],
    );
    check(
        |seen| seen.is_replica = Some(true),
        &[found(
            Error,
            Code::Replica,
            "it is a replica, which takes no writes",
            "give the address of its master, or of a name that follows it",
        )],
    );
    check(
        |seen| seen.in_cluster = Some(true),
        &[found(
            Error,
            Code::ClusterAddress,
            "it is one of a cluster, and the address is for a server alone",
            "--store redis-cluster://HOST:PORT,HOST:PORT (rediss-cluster:// with TLS)",
        )],
    );
    check(
        |seen| seen.kept.works = Some(false),
        &[found(
            Error,
            Code::AofFailing,
            "the append-only file cannot be written, so nothing is accepted",
            "give its disk room, or repair it; see the server's log",
        )],
    );
}

#[test]
fn memory_has_a_limit_and_room() {
    check(|seen| seen.used = Some(85 << 20), &[]);
    let expected = found(
        Severity::Error,
        Code::Memory,
        "86 of 100 MiB of memory are used: above 85 % nothing new is accepted, and it answers 503; give it \
         more, or keep less (retention)",
        "CONFIG SET maxmemory 138mb",
    );
    check(|seen| seen.used = Some(86 << 20), &[expected]);
    let expected = found(
        Severity::Warning,
        Code::Maxmemory,
        "no maxmemory: instead of refusing events in time it grows until the system kills it; give it 60 % \
         of what it may use",
        "CONFIG SET maxmemory 600mb",
    );
    check(|seen| seen.max = Some(0), &[expected]);
}

#[test]
fn what_is_synced_later_is_relaxed() {
    let relaxed = |change: &dyn Fn(&mut Kept), code, wrong: &str, set: &str| {
        let mut seen = sound();
        change(&mut seen.kept);
        let facts = alone(seen);
        let wrong = format!("Durability=Relaxed: {wrong}");
        assert_eq!(judge(&facts), [found(Severity::Warning, code, &wrong, set)]);
        assert_eq!(durability(&facts), Durability::Relaxed);
    };
    relaxed(
        &|kept| kept.aof = Some(false),
        Code::AofOff,
        "no append-only file, so all since the last snapshot is lost when it ends",
        "CONFIG SET appendonly yes",
    );
    relaxed(
        &|kept| kept.fsync = Some("everysec".into()),
        Code::Fsync,
        "appendfsync is everysec, so up to two seconds of accepted events are lost when the machine loses \
         power",
        "CONFIG SET appendfsync always",
    );
    relaxed(
        &|kept| kept.fsync = Some("no".into()),
        Code::Fsync,
        "appendfsync is no, so half a minute or more of accepted events are lost when the machine loses \
         power",
        "CONFIG SET appendfsync always",
    );
    relaxed(
        &|kept| kept.pauses = Some(true),
        Code::FsyncRewrite,
        "no-appendfsync-on-rewrite is yes, so nothing is synced while the append-only file is \
         written anew",
        "CONFIG SET no-appendfsync-on-rewrite no",
    );
}

#[test]
fn a_restart_loads_everything() {
    let expected = found(
        Severity::Error,
        Code::DefaultUser,
        "the user `default` has not all rights: many releases, when they read their append-only file at a \
         start, leave out all transactions that those do not cover, which is nearly everything; the user may \
         stay off",
        "ACL SETUSER default ~* &* +@all, and the same in its file of users or redis.conf",
    );
    check(|seen| seen.default_may_write = Some(false), std::slice::from_ref(&expected));
    let valkey = |number| Some(Version { valkey: true, number });
    let old = |seen: &mut Seen| {
        (seen.default_may_write, seen.version) = (Some(false), valkey((9, 1, 1)));
    };
    check(old, std::slice::from_ref(&expected));
    let unknown = |seen: &mut Seen| {
        let version = Version { valkey: false, number: (8, 2, 0) };
        (seen.default_may_write, seen.version) = (Some(false), Some(version));
    };
    check(unknown, &[Finding { severity: Severity::Warning, ..expected }]);
    let mended = |seen: &mut Seen| {
        (seen.default_may_write, seen.version) = (Some(false), valkey((9, 1, 2)));
    };
    check(mended, &[]);
}

#[test]
fn replicas_are_waited_for() {
    let expected = found(
        Severity::Warning,
        Code::MinReplicas,
        "2 replicas may be behind: when one takes over, what it did not get is lost, and a master cut off \
         from it takes writes that are lost, too",
        "CONFIG SET min-replicas-to-write 1",
    );
    check(|seen| seen.replicas = Some(2), &[expected]);
    check(|seen| (seen.replicas, seen.min_replicas) = (Some(2), Some(1)), &[]);
}

#[test]
fn clocks_agree() {
    let clock = |severity, wrong: &str| {
        let wrong = format!("{wrong}: windows, leases and times of retries are off by that");
        found(severity, Code::Clock, &wrong, "let NTP or chrony set the clocks of all machines")
    };
    check(|seen| seen.clock = Some(-1000), &[]);
    let ahead = clock(Severity::Warning, "its clock is ahead of ours by 1.5 s");
    check(|seen| seen.clock = Some(1540), &[ahead]);
    let behind = clock(Severity::Error, "its clock is behind ours by 61.0 s");
    check(|seen| seen.clock = Some(-61_000), &[behind]);

    let server = |at: &str, clock| {
        let seen = Ok(Seen { clock: Some(clock), in_cluster: Some(true), ..sound() });
        Server { at: at.into(), seen }
    };
    let cluster = Some(Cluster { serves: Some(true), assigned: Some(16_384) });
    let facts = Facts { servers: vec![server("a:1", -700), server("b:1", 700)], cluster };
    let apart = clock(Severity::Warning, "the clocks of two servers differ by 1.4 s");
    assert_eq!(judge(&facts), [Finding { at: None, ..apart }]);
}

#[test]
fn hashes_may_stay_small() {
    let listpack = |wrong: &str, change: &str| {
        let wrong = format!("{wrong}: a key takes three times the memory");
        found(Severity::Warning, Code::Listpack, &wrong, change)
    };
    check(|seen| seen.listpack = Some((128, 64)), &[]);
    let entries =
        listpack("hash-max-listpack-entries is 127", "CONFIG SET hash-max-listpack-entries 128");
    check(|seen| seen.listpack = Some((127, 64)), &[entries]);
    let both = listpack(
        "hash-max-listpack-entries is 0, hash-max-listpack-value is 8",
        "CONFIG SET hash-max-listpack-entries 128 hash-max-listpack-value 64",
    );
    check(|seen| seen.listpack = Some((0, 8)), &[both]);
}

#[test]
fn a_cluster_is_complete_and_serves() {
    let facts = |serves, assigned| Facts {
        servers: vec![Server {
            at: "a:1".into(),
            seen: Ok(Seen { in_cluster: Some(true), ..sound() }),
        }],
        cluster: Some(Cluster { serves, assigned }),
    };
    assert_eq!(judge(&facts(Some(true), Some(16_384))), []);
    let slots = found(
        Severity::Error,
        Code::ClusterSlots,
        "1 of 16384 slots have no server, sources in them no store",
        "redis-cli --cluster fix HOST:PORT",
    );
    let state = found(
        Severity::Error,
        Code::ClusterState,
        "the cluster says that it does not serve (cluster_state:fail)",
        "start the masters that are missing, or a replica of each; see CLUSTER NODES",
    );
    let expected = [slots, state].map(|finding| Finding { at: None, ..finding });
    assert_eq!(judge(&facts(Some(false), Some(16_383))), expected);
}

#[test]
fn what_cannot_be_seen_is_said_and_is_no_error() {
    let note = |what: &str| {
        found(
            Severity::Note,
            Code::Unseen,
            &format!("cannot be seen: {what}"),
            "give the user +info +config|get +acl|dryrun +time, or look at the service's own settings",
        )
    };
    let all = "the version, its role, memory in use, maxmemory-policy, appendonly, appendfsync, \
               no-appendfsync-on-rewrite, min-replicas-to-write, hash-max-listpack-*, the rights of the user `default`, \
               its clock";
    check(|seen| *seen = Seen::default(), &[note(all)]);
    assert_eq!(durability(&alone(Seen::default())), Durability::Unknown);
    // As a managed service does it: INFO, but no CONFIG.
    let managed = |seen: &mut Seen| {
        (seen.min_replicas, seen.listpack) = (None, None);
        (seen.kept.fsync, seen.kept.pauses) = (None, None);
    };
    check(managed, &[note("appendfsync, no-appendfsync-on-rewrite, hash-max-listpack-*")]);
}

#[test]
fn the_fullest_server_decides_whether_anything_is_accepted() {
    let server = |used: u64, max: u64| Server {
        at: format!("{used}:1"),
        seen: Ok(Seen { used: Some(used), max: Some(max), ..sound() }),
    };
    let health = |servers| Health::of(&Facts { servers, cluster: None });
    let all = health(vec![server(10, 0), server(850, 1000), server(900, 2000)]);
    assert_eq!((all.memory, all.full()), (Some((850, 1000)), None));
    let full = health(vec![server(851, 1000), server(900, 2000)]);
    assert_eq!((full.memory, full.full()), (Some((851, 1000)), Some((149, 150))));
    assert_eq!(health(vec![server(10, 0)]).full(), None);
}
