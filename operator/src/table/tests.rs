//! What replicas are told by the table, and what it makes of their answers. No stream is opened here.

use std::sync::Arc;

use segment_source_proto::config::v1::{
    Processing, SecretValue, Source, Verification, source_state, watch_response::Response,
};

use super::{Held, Hello, Progress, Published, Roles, Session, Stale, Table};
use crate::{dirty::Dirty, name::Name};

fn name(name: &str) -> Name {
    Name::new("prod", name)
}

fn source(name: &str, generation: i64, secret: &str) -> Held {
    let secrets = vec![SecretValue { value: secret.as_bytes().to_vec().into() }];
    Held::Loaded(Box::new(Source {
        namespace: "prod".to_owned(),
        name: name.to_owned(),
        generation,
        schema_level: 1,
        verification: Some(Verification { secrets, ..Verification::default() }),
        processing: Some(Processing::default()),
    }))
}

struct Rig {
    table: Arc<Table>,
    dirty: Arc<Dirty>,
}

impl Rig {
    fn new(sources: &[&str]) -> Self {
        let dirty = Arc::new(Dirty::default());
        let table = Arc::new(Table::new(dirty.clone()));
        for source in sources {
            table.exists(&name(source), "u");
        }
        table.all_listed();
        Self { table, dirty }
    }

    fn publish(&self, source_name: &str, held: Held) -> Published {
        self.table.publish(&name(source_name), "u", &held)
    }

    fn connect(&self, roles: &[i32]) -> Session {
        let roles = Roles::of(roles).unwrap();
        self.table.open(7, Hello { replica: "pod-0".to_owned(), roles })
    }

    fn dirty(&self) -> Vec<String> {
        let mut names: Vec<String> = self.dirty.take().into_iter().map(|it| it.name).collect();
        names.sort();
        names
    }
}

/// Everything a replica is told now, a word each.
fn told(session: &mut Session) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(response) = session.next().unwrap() {
        told.push(match response.response.unwrap() {
            Response::Opened(opened) => {
                let names: Vec<String> = opened.sources.into_iter().map(|it| it.name).collect();
                let unread = opened.unread_namespaces.join(" ");
                let unread = if unread.is_empty() { unread } else { format!("; not {unread}") };
                format!("opened {}: {}{unread}", opened.epoch, names.join(" "))
            }
            Response::State(state) => match state.state.unwrap() {
                source_state::State::Loaded(source) => format!(
                    "{} {}g{}{}{}",
                    state.version,
                    source.name,
                    source.generation,
                    if source.verification.is_some() { " v" } else { "" },
                    if source.processing.is_some() { " p" } else { "" },
                ),
                source_state::State::NotLoaded(it) => {
                    format!("{} {}: {}", state.version, state.source.unwrap().name, it.reason)
                }
            },
            Response::Removed(it) => format!("{} -{}", it.version, it.source.unwrap().name),
            Response::Synced(synced) => format!("synced {}", synced.version),
        });
    }
    told
}

const EDGE: i32 = 1;
const INGEST: i32 = 2;

#[test]
fn a_replica_hears_names_then_states_then_that_it_knows_all() {
    let rig = Rig::new(&["app", "web"]);
    rig.publish("web", source("web", 1, "s"));
    rig.publish("app", Held::NotLoaded("no".into()));
    let mut both = rig.connect(&[EDGE, INGEST]);
    assert_eq!(told(&mut both), ["opened 7: app web", "1 webg1 v p", "2 app: no", "synced 2"]);
    assert_eq!(told(&mut rig.connect(&[EDGE]))[1], "1 webg1 v");
    assert_eq!(told(&mut rig.connect(&[INGEST]))[1], "1 webg1 p");
    // And then what changes; of several changes, the last.
    rig.publish("web", source("web", 2, "s"));
    rig.publish("web", source("web", 3, "s"));
    rig.table.remove(&name("app"));
    assert_eq!(told(&mut both), ["4 webg3 v p", "5 -app"]);
    assert_eq!(told(&mut both), [""; 0]);
}

#[test]
fn a_replica_knows_all_once_every_name_has_a_state_or_is_gone() {
    let rig = Rig::new(&["app", "web"]);
    let mut replica = rig.connect(&[EDGE]);
    assert_eq!(told(&mut replica), ["opened 7: app web"]);
    rig.publish("web", source("web", 1, "s"));
    assert_eq!(told(&mut replica), ["1 webg1 v"]);
    rig.table.remove(&name("app"));
    assert_eq!(told(&mut replica), ["2 -app", "synced 2"]);
    assert_eq!(told(&mut rig.connect(&[EDGE])), ["opened 7: web", "1 webg1 v", "synced 1"]);
    assert_eq!(told(&mut Rig::new(&[]).connect(&[EDGE])), ["opened 7: ", "synced 0"]);
}

#[test]
fn what_goes_and_comes_back_is_told_once() {
    let rig = Rig::new(&["web"]);
    rig.publish("web", source("web", 1, "s"));
    let mut replica = rig.connect(&[EDGE]);
    assert_eq!(told(&mut replica), ["opened 7: web", "1 webg1 v", "synced 1"]);
    rig.table.remove(&name("web"));
    rig.table.exists(&name("web"), "u");
    assert_eq!(told(&mut replica), [""; 0]);
    rig.publish("web", source("web", 1, "s"));
    assert_eq!(told(&mut replica), ["3 webg1 v"]);
}

#[test]
fn what_is_wrong_never_replaces_what_was_good() {
    let rig = Rig::new(&["web"]);
    let (changed, same) =
        (Published { changed: true, rotated: false }, Published { changed: false, rotated: false });
    assert_eq!(rig.publish("gone", source("gone", 1, "s")), same);
    assert_eq!(rig.publish("web", Held::NotLoaded("a".into())), changed);
    assert_eq!(rig.publish("web", Held::NotLoaded("a".into())), same);
    assert_eq!(rig.publish("web", source("web", 2, "s")), changed);
    assert_eq!(rig.publish("web", source("web", 2, "s")), same);
    assert_eq!(rig.publish("web", Held::NotLoaded("b".into())), same);
    let rotated = Published { changed: true, rotated: true };
    assert_eq!(rig.publish("web", source("web", 2, "t")), rotated);
    assert_eq!(rig.publish("web", source("web", 3, "u")), changed);
}

#[test]
fn a_source_is_programmed_when_every_connected_replica_has_it() {
    let rig = Rig::new(&["app", "web"]);
    let progress = |generation| rig.table.progress(&name("web"), generation);
    assert_eq!(progress(1), Progress::Pending);
    rig.publish("web", source("web", 1, "s"));
    assert_eq!((progress(1), progress(2)), (Progress::NoReplicas, Progress::Pending));
    let (mut one, mut two) = (rig.connect(&[EDGE]), rig.connect(&[INGEST]));
    // Nobody has what was not sent.
    one.ack(9);
    assert_eq!(progress(1), Progress::Pending);
    told(&mut one);
    told(&mut two);
    one.ack(1);
    assert_eq!((progress(1), rig.dirty()), (Progress::Pending, vec!["web".to_owned()]));
    two.ack(1);
    assert_eq!((progress(1), rig.dirty()), (Progress::Programmed, vec!["web".to_owned()]));
    // What was reported is no news any more.
    rig.table.settle(&name("web"), true);
    rig.publish("web", source("web", 1, "t"));
    told(&mut one);
    one.ack(2);
    assert_eq!((progress(1), rig.dirty()), (Progress::Pending, vec![]));
    // A new generation is, at once: its answers may come before anything was reported.
    rig.publish("web", source("web", 2, "t"));
    told(&mut one);
    one.ack(3);
    assert_eq!(
        (rig.table.progress(&name("web"), 2), rig.dirty()),
        (Progress::Pending, vec!["web".to_owned()])
    );
    rig.publish("web", source("web", 1, "t"));
    told(&mut one);
    one.ack(4);
    // A replica that goes is waited for no longer.
    rig.dirty();
    drop(two);
    assert_eq!(
        (progress(1), rig.dirty()),
        (Progress::Programmed, vec!["app".into(), "web".into()])
    );
}

#[test]
fn a_refusal_stands_until_there_is_a_newer_state_or_the_replica_goes() {
    let rig = Rig::new(&["web"]);
    rig.publish("web", source("web", 1, "s"));
    let mut replica = rig.connect(&[EDGE]);
    told(&mut replica);
    replica.nack(1, name("web"), "too new".to_owned());
    replica.ack(1);
    let refused = Progress::Refused { replica: "pod-0".into(), reason: "too new".into() };
    assert_eq!((rig.table.progress(&name("web"), 1), rig.table.numbers().refusals), (refused, 1));
    rig.publish("web", source("web", 2, "s"));
    assert_eq!(rig.table.progress(&name("web"), 2), Progress::Pending);
    // An answer to what is past counts for nothing.
    rig.dirty();
    replica.nack(1, name("web"), "too new".to_owned());
    assert_eq!((rig.table.numbers().refusals, rig.dirty()), (0, vec![]));
    assert_eq!(rig.table.numbers().lag, 1);
}

#[test]
fn removals_are_remembered_for_those_who_have_not_heard_of_them_within_a_bound() {
    let rig = Rig::new(&["web"]);
    rig.publish("web", source("web", 1, "s"));
    let mut slow = rig.connect(&[EDGE]);
    assert_eq!(told(&mut slow).len(), 3);
    for number in 0..10_001 {
        let one = name(&format!("x{number}"));
        rig.table.exists(&one, "u");
        rig.table.remove(&one);
    }
    assert_eq!(slow.next(), Err(Stale::Behind));
    // With nobody connected there is nobody to tell.
    drop(slow);
    let mut next = rig.connect(&[EDGE]);
    assert_eq!(told(&mut next), ["opened 7: web", "1 webg1 v", "synced 1"]);
}

#[test]
fn a_namespace_that_cannot_be_read_holds_up_no_other_and_nothing_is_said_of_it() {
    let rig = Rig::new(&["web"]);
    let other = Name::new("other", "app");
    rig.table.exists(&other, "u");
    rig.publish("web", source("web", 1, "s"));
    assert!(!rig.table.knows_all());
    rig.table.cannot_read("other");
    assert!(rig.table.knows_all() && rig.table.is_unread("other"));
    assert_eq!(rig.table.numbers().unread, 1);
    // What would come of Secrets that nobody can see is not told.
    let held = Held::NotLoaded("no Secret".into());
    assert_eq!(rig.table.publish(&other, "u", &held), Published::default());
    let mut replica = rig.connect(&[EDGE]);
    assert_eq!(told(&mut replica), ["opened 7: app web; not other", "1 webg1 v", "synced 1"]);
    rig.table.exists(&Name::new("other", "late"), "u");
    rig.table.remove(&Name::new("other", "late"));
    assert!(rig.table.knows_all());
    // It is read after all: replicas are to hear all names there are.
    assert!(rig.table.has_read("other") && !rig.table.has_read("other"));
    assert!(!rig.table.knows_all());
    assert_eq!(replica.next(), Err(Stale::Read));
    rig.table.publish(&other, "u", &held);
    assert!(rig.table.knows_all());
    let mut replica = rig.connect(&[EDGE]);
    let all = ["opened 7: app web", "1 webg1 v", "3 app: no Secret", "synced 3"];
    assert_eq!(told(&mut replica), all);
}

#[test]
fn a_replica_that_answered_everything_it_was_told_is_not_behind() {
    let rig = Rig::new(&["app", "web"]);
    rig.publish("web", source("web", 1, "s"));
    rig.publish("app", source("app", 1, "s"));
    let mut slow = rig.connect(&[EDGE]);
    told(&mut slow);
    slow.ack(2);
    assert_eq!(rig.table.numbers().lag, 0);
    rig.table.remove(&name("app"));
    assert_eq!(rig.table.numbers().lag, 1);
    // One that comes later never hears of it.
    let mut late = rig.connect(&[EDGE]);
    assert_eq!(told(&mut late), ["opened 7: web", "1 webg1 v", "synced 1"]);
    late.ack(1);
    assert_eq!(told(&mut slow), ["3 -app"]);
    slow.ack(3);
    assert_eq!(rig.table.numbers().lag, 0);
    rig.publish("web", source("web", 2, "s"));
    assert_eq!(rig.table.numbers().lag, 1);
}

#[test]
fn what_is_made_anew_by_the_same_name_does_not_keep_what_the_other_had() {
    let opened = ["opened 7: web", "1 webg1 v", "synced 1"];
    let replaced = ["2 -web", "3 web: no"];
    for heard in [false, true] {
        let rig = Rig::new(&["web"]);
        rig.publish("web", source("web", 1, "s"));
        let mut replica = rig.connect(&[EDGE]);
        assert_eq!(told(&mut replica), opened);
        // The watch may have told of both, or only of the new one.
        if heard {
            rig.table.remove(&name("web"));
        }
        rig.table.exists(&name("web"), "another");
        rig.table.exists(&name("web"), "another");
        assert!(!rig.table.is_known(&name("web")) && !rig.table.knows_all());
        // Good configuration of the one that is gone does not stand in the way.
        // Nor does what somebody still finds out about it.
        let (late, no) = (source("web", 2, "s"), Held::NotLoaded("no".into()));
        assert_eq!(rig.table.publish(&name("web"), "u", &late), Published::default());
        rig.table.publish(&name("web"), "another", &no);
        assert_eq!(told(&mut replica), replaced);
        assert_eq!(told(&mut rig.connect(&[EDGE])), ["opened 7: web", "3 web: no", "synced 3"]);
    }
    // Who was told the name, and then that it went, still waits for its state.
    let rig = Rig::new(&["web"]);
    let mut replica = rig.connect(&[EDGE]);
    assert_eq!(told(&mut replica), ["opened 7: web"]);
    rig.table.exists(&name("web"), "another");
    assert_eq!(told(&mut replica), ["1 -web"]);
    rig.table.publish(&name("web"), "another", &source("web", 1, "s"));
    assert_eq!(told(&mut replica), ["2 webg1 v", "synced 2"]);
}
