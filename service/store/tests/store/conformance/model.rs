//! Random interleavings against a model that is simple enough to be believed.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use proptest::prelude::*;
use segment_source_core::event::{ActionId, EventId};
use segment_source_store::{Accepted, Leased, Revival, Settled, Settlement, Unplanned};

use crate::harness::{
    Fixture, HOUR, LEASE, NewEventExt as _, WINDOW, ack, action, event, plan, queue, reject, retry,
    source,
};

#[derive(Clone, Debug)]
enum Step {
    /// Of a user, with a key.
    Accept(u8, u8),
    Plan(usize),
    Take(usize),
    /// Of the open leases, the n-th.
    Ack(usize),
    Reject(usize),
    Retry(usize, u64),
    Defer(usize, u64),
    /// Of the dead, the n-th.
    Revive(usize),
    Release(usize),
    Pass(Duration),
    ClockBack(Duration),
    Reopen,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8, 0..12_u8).prop_map(|(user, key)| Step::Accept(user, key)),
        4 => (1..4_usize).prop_map(Step::Plan),
        6 => (1..4_usize).prop_map(Step::Take),
        5 => (0..9_usize).prop_map(Step::Ack),
        2 => (0..9_usize).prop_map(Step::Reject),
        2 => (0..9_usize, 0..3_u64).prop_map(|(lease, delay)| Step::Retry(lease, delay)),
        2 => (0..9_usize, 0..3_u64).prop_map(|(lease, delay)| Step::Defer(lease, delay)),
        1 => (0..3_usize).prop_map(Step::Revive),
        1 => (0..9_usize).prop_map(Step::Release),
        2 => (1..40_u64).prop_map(|seconds| Step::Pass(Duration::from_secs(seconds))),
        1 => (20..30_u32).prop_map(|hours| Step::Pass(hours * HOUR)),
        1 => Just(Step::ClockBack(Duration::from_secs(5))),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ]
}

/// What should be in the store.
#[derive(Default)]
struct Model {
    claims: HashMap<u8, (u64, EventId)>,
    unplanned: VecDeque<(EventId, u8)>,
    lanes: HashMap<u8, VecDeque<ActionId>>,
    user: HashMap<EventId, u8>,
    leases: Vec<Leased>,
    not_before: HashMap<ActionId, u64>,
    dead: Vec<ActionId>,
    newest: Option<EventId>,
}

impl Model {
    fn lane(&mut self, action: ActionId) -> &mut VecDeque<ActionId> {
        self.lanes.entry(self.user[&action.event]).or_default()
    }

    fn end_expired(&mut self, now: u64) {
        self.leases.retain(|lease| now < lease.expires);
    }

    fn lease(&mut self, n: usize) -> Option<Leased> {
        (n < self.leases.len()).then(|| self.leases.remove(n))
    }
}

async fn run(steps: Vec<Step>) {
    let mut fixture = Fixture::new().await;
    let mut model = Model::default();
    for step in steps {
        fixture = walk(fixture, &mut model, step).await;
    }
    drain(&fixture, &mut model).await;
}

async fn walk(fixture: Fixture, model: &mut Model, step: Step) -> Fixture {
    let now = fixture.now();
    model.end_expired(now);
    match step {
        Step::Accept(user, key) => {
            let sent = event().of_user(&user.to_string()).keyed(&key.to_string());
            let accepted = fixture.accept(sent).await;
            let claim = model.claims.get(&key).filter(|(until, _)| now < *until);
            let entry = match (accepted, claim) {
                (Accepted::New(id), None) => {
                    let until = now + crate::harness::millis(WINDOW);
                    model.claims.insert(key, (until, id));
                    model.unplanned.push_back((id, user));
                    model.user.insert(id, user);
                    id
                }
                (Accepted::Duplicate { entry, original }, Some((_, id))) => {
                    assert_eq!(original, *id);
                    entry
                }
                (accepted, claim) => panic!("{accepted:?}, but the claim is {claim:?}"),
            };
            assert!(model.newest < Some(entry));
            model.newest = Some(entry);
        }
        Step::Plan(limit) => {
            let found = fixture.store.unplanned(&source(), limit).await.unwrap();
            let count = found.len();
            let mut repeat = None;
            let mut events = Vec::new();
            for waiting in found {
                match waiting {
                    Unplanned::Event(id, _) => {
                        events.push(id);
                        repeat = None;
                    }
                    Unplanned::Repeat { entry, original } => {
                        assert!(model.dead.iter().any(|dead| dead.event == original));
                        repeat = Some(entry);
                    }
                }
            }
            let found = events;
            let expected: Vec<_> = model.unplanned.iter().map(|(id, _)| *id).collect();
            assert_eq!(found, expected[..found.len()]);
            assert!(count == limit || found.len() == expected.len());
            let planned = found.iter().map(|id| plan(*id, vec![action("a"), action("b")]));
            fixture.store.plan(&source(), planned.collect()).await.unwrap();
            if let Some(last) = repeat {
                fixture.store.pass_over(&source(), last).await.unwrap();
            }
            for (event, user) in model.unplanned.drain(..found.len()) {
                let ids = [0, 1].map(|index| ActionId { event, run: 0, index });
                model.lanes.entry(user).or_default().extend(ids);
            }
        }
        Step::Take(max) => {
            let taken = fixture.store.take(&queue(), max, LEASE).await.unwrap().leases;
            // What was due once is ready for good.
            model.not_before.retain(|_, due| now < *due);
            let ready = model.lanes.values().filter_map(VecDeque::front).filter(|head| {
                model.leases.iter().all(|lease| lease.action != **head)
                    && !model.not_before.contains_key(*head)
            });
            assert_eq!(taken.len(), max.min(ready.count()));
            for lease in taken {
                assert_eq!(model.lane(lease.action).front(), Some(&lease.action));
                assert!(model.leases.iter().all(|open| open.action != lease.action));
                assert!(!model.not_before.contains_key(&lease.action));
                model.leases.push(lease);
            }
        }
        Step::Ack(n) => {
            if let Some(lease) = model.lease(n) {
                assert_eq!(fixture.settle(&lease, ack()).await, Settled::Done);
                assert_eq!(model.lane(lease.action).pop_front(), Some(lease.action));
            }
        }
        Step::Reject(n) => {
            if let Some(lease) = model.lease(n) {
                assert_eq!(fixture.settle(&lease, reject()).await, Settled::Done);
                assert_eq!(model.lane(lease.action).pop_front(), Some(lease.action));
                model.dead.push(lease.action);
            }
        }
        Step::Retry(n, delay) | Step::Defer(n, delay) => {
            if let Some(lease) = model.lease(n) {
                let delay_by = Duration::from_secs(delay);
                let settlement = match step {
                    Step::Retry(..) => retry(delay_by),
                    _ => Settlement::Defer { delay: delay_by },
                };
                assert_eq!(fixture.settle(&lease, settlement).await, Settled::Done);
                match delay {
                    0 => model.not_before.remove(&lease.action),
                    _ => model.not_before.insert(lease.action, now + delay * 1000),
                };
            }
        }
        Step::Revive(n) => {
            let dead = fixture.store.dead(&source(), None, 1000).await.unwrap();
            let mut found: Vec<_> = dead.into_iter().map(|status| status.id).collect();
            model.dead.sort();
            assert_eq!(found, model.dead);
            if n < found.len() {
                let action = found.swap_remove(n);
                model.dead.retain(|dead| *dead != action);
                let revival = Revival { action, payload: None };
                assert_eq!(fixture.store.revive(vec![revival]).await.unwrap(), [true]);
                model.lane(action).push_back(action);
            }
        }
        Step::Release(n) => {
            if let Some(lease) = model.lease(n) {
                fixture.store.release(vec![lease.token]);
                model.not_before.remove(&lease.action);
            }
        }
        Step::Pass(time) => fixture.pass(time),
        Step::ClockBack(time) => {
            // Whoever takes makes the store look at the clock.
            fixture.take(0).await;
            model.not_before.retain(|_, due| now < *due);
            fixture.set_clock(now - crate::harness::millis(time));
        }
        Step::Reopen => {
            model.leases.clear();
            return fixture.reopen().await;
        }
        Step::Crash => {
            model.leases.clear();
            return fixture.crash().await;
        }
    }
    fixture
}

/// Everything that is owed comes, in order, and nothing else.
async fn drain(fixture: &Fixture, model: &mut Model) {
    fixture.pass(HOUR);
    model.leases.clear();
    loop {
        let taken = fixture.take(9).await;
        if taken.is_empty() {
            break;
        }
        for lease in taken {
            assert_eq!(model.lane(lease.action).pop_front(), Some(lease.action));
            fixture.settle(&lease, ack()).await;
        }
    }
    assert!(model.lanes.values().all(VecDeque::is_empty), "{:?} never came", model.lanes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_does_what_the_model_does(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
