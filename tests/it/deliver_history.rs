//! Faults of an endpoint at random and kill -9 of the program, many rounds on one store: every
//! accepted action is delivered or dead with a reason, in order, with one key and the same bytes.
//! Here histories are made ([`crate::history_endpoint`] is the faulty endpoint), and violations are
//! planted in a real one; `segment_source_tests::history` judges them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use segment_source_proto::admin::v1::{self, GetEventRequest, action::State};
use segment_source_tests::{
    history::{Accepted, Action, End, History, Request, Said, To, Violation, check},
    http::{self, Connection},
    server::{Server, signed, target},
    sign::track,
    site::Site,
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    directory_flow,
    history_endpoint::{Endpoint, Program},
};

const ROUNDS: usize = 110;
const USERS: usize = 16;
/// Users whose actions are answered 503 for good; each has one event, from the first round.
const HOPELESS: [&str; 2] = ["hopeless-1", "hopeless-2"];
/// What is left when there are no more faults is settled by then: two waits at their longest, and
/// `maxAge` of what was first tried in the last round.
const PATIENCE: Duration = Duration::from_secs(150);

fn spec(url: &str) -> Value {
    let mapping = |name: &str, destination: &str| {
        json!({
            "name": name,
            "eventType": "track/Signed Up",
            "destination": destination,
            "action": {"usersIdentify": {
                "id": {"path": "body.userId"},
                "properties": {"path": "body.properties"},
            }},
        })
    };
    json!({
        "mappings": [mapping("to-crm", "crm"), mapping("to-people", "people")],
        "destinations": [
            {"name": "crm", "http": {"url": url, "format": "Action"}},
            {"name": "people", "directory": {}},
        ],
        "delivery": {"maxAge": "1m"},
    })
}

/// Where the seed comes from: the environment, to run a history again, or the system.
fn seed() -> u64 {
    let given = std::env::var("HISTORY_SEED").ok();
    given.map_or_else(|| fastrand::u64(..), |given| given.parse().expect("HISTORY_SEED: a number"))
}

/// Posts events of one user, one after the other, each until it is accepted as Segment does.
async fn post_all(
    mut to: watch::Receiver<SocketAddr>,
    user: String,
    messages: Vec<String>,
) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    for message in messages {
        let mut event = track(&message, &user, "Signed Up");
        event["properties"] = json!({"last": message, "heard": {&*message: true}});
        let request = signed(&target("web"), &event.to_string());
        loop {
            let address = *to.borrow_and_update();
            if let Some((status, text)) = post(address, &request).await {
                assert!(matches!(status, 202 | 503), "{message} was answered {status}: {text}");
                if status == 202 {
                    break;
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        accepted.push(Accepted { message, lane: user.clone() });
    }
    accepted
}

async fn post(address: SocketAddr, request: &http::Request) -> Option<(u16, String)> {
    let calling = async { Connection::open(address).await.ok()?.call(request).await.ok() };
    let reply = tokio::time::timeout(Duration::from_secs(10), calling).await.ok()??;
    Some((reply.status, reply.text()))
}

/// Starts the program; it may call loopback.
async fn start(site: &Site, program: &Program) -> SocketAddr {
    let server = site.launch().flag("allow-destination", "127.0.0.0/8").start().await;
    let address = server.http;
    *program.lock().expect("no panic while locked") = Some(server);
    address
}

/// What the program says of each accepted event, once all its actions have ended; and how often it
/// has heard of each again.
async fn told(server: &Server, accepted: &[Accepted]) -> (Vec<Action>, BTreeMap<String, usize>) {
    let end = Instant::now() + PATIENCE;
    let mut admin = server.admin().await;
    let mut ended = BTreeMap::new();
    // Repeats may run again what had ended: a last look reads everything anew.
    let mut last = false;
    loop {
        let (mut open, mut repeats) = (Vec::new(), BTreeMap::new());
        for event in server.events("web").await {
            if !event.duplicate_of.is_empty() {
                *repeats.entry(event.key).or_default() += 1;
                continue;
            }
            if ended.contains_key(&event.event_id) {
                continue;
            }
            let request = GetEventRequest { event_id: event.event_id.clone() };
            let found = admin.get_event(request).await.expect("the event is known").into_inner();
            let actions: Vec<_> =
                found.actions.into_iter().map(|it| action(&event.key, it)).collect();
            if actions.len() == 2 && !actions.iter().any(|it| matches!(it.end, End::Open(_))) {
                ended.insert(event.event_id, actions);
            } else {
                open.extend(actions);
            }
        }
        let all = ended.len() == accepted.len();
        if all && last || Instant::now() > end {
            // What is still open, or missing, is the checker's to find.
            return (ended.into_values().flatten().chain(open).collect(), repeats);
        }
        last = all;
        if all {
            ended.clear();
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn action(message: &str, it: v1::Action) -> Action {
    let end = match it.state() {
        State::Delivered => End::Delivered,
        State::Dead => End::Dead { code: it.reason_code, reason: it.reason },
        other => End::Open(other.as_str_name().to_owned()),
    };
    let to = if it.destination == "crm" { To::Endpoint } else { To::Directory };
    let story = format!("{:#?}", it.history);
    let name = (message.to_owned(), it.mapping);
    Action { story, name, key: it.idempotency_key, payload: it.payload_json.to_vec(), to, end }
}

/// What the directory knows of each user.
async fn profiles(
    server: &Server,
    accepted: &[Accepted],
) -> BTreeMap<String, (BTreeSet<String>, String)> {
    let users: BTreeSet<_> = accepted.iter().map(|it| &it.lane).collect();
    let mut profiles = BTreeMap::new();
    for user in users {
        let key = directory_flow::user(user);
        let Some(entity) = directory_flow::get(server, key).await else { continue };
        let known: Value = serde_json::from_slice(&entity.properties_json).expect("JSON");
        let heard = known["heard"].as_object().expect("an object").keys().cloned().collect();
        let last = known["last"].as_str().expect("a messageId").to_owned();
        profiles.insert(user.clone(), (heard, last));
    }
    profiles
}

/// Rounds of events, faults and kills, and what came of them; and how often each fault hit.
async fn make(seed: u64) -> (History, BTreeMap<&'static str, usize>) {
    let mut draw = fastrand::Rng::with_seed(seed);
    let endpoint = Endpoint::start(draw.fork()).await;
    let site = Site::with_web(spec(&endpoint.url()));
    let program: Program = Arc::new(Mutex::new(None));
    let (address, to) = watch::channel(start(&site, &program).await);
    let mut accepted = Vec::new();
    let mut numbers = BTreeMap::<String, usize>::new();
    for round in 0..ROUNDS {
        let mut posting = JoinSet::new();
        let mut users: Vec<_> = (0..draw.usize(2..6)).map(|_| draw.usize(0..USERS)).collect();
        users.sort_unstable();
        users.dedup();
        let mut users: Vec<String> = users.into_iter().map(|user| format!("user-{user}")).collect();
        if round == 0 {
            users.extend(HOPELESS.map(str::to_owned));
        }
        for user in users {
            let count = if HOPELESS.contains(&&*user) { 1 } else { draw.usize(1..4) };
            let next = numbers.entry(user.clone()).or_default();
            let messages = (*next..*next + count).map(|n| format!("{seed:x}-{user}-{n}")).collect();
            *next += count;
            posting.spawn(post_all(to.clone(), user, messages));
        }
        let moment = Duration::from_millis(draw.u64(0..150));
        match draw.u32(0..100) {
            0..30 => {
                sleep(moment).await;
                let server = program.lock().expect("no panic while locked").take();
                server.expect("it runs").kill();
                endpoint.hit("kill -9 at a random moment");
            }
            30..50 => {
                if endpoint.trapped(&program).await {
                    endpoint.hit("kill -9 after an answer of 200");
                }
            }
            _ => sleep(moment).await,
        }
        if program.lock().expect("no panic while locked").is_none() {
            endpoint.next_life().await;
            address.send_replace(start(&site, &program).await);
        }
        while let Some(posted) = posting.join_next().await {
            accepted.extend(posted.expect("everything is accepted in the end"));
        }
    }
    endpoint.be_kind();
    let server = program.lock().expect("no panic while locked").take().expect("it runs");
    let (actions, repeats) = told(&server, &accepted).await;
    let profiles = profiles(&server, &accepted).await;
    let (requests, mut hits) = endpoint.end();
    let repeated = requests.iter().enumerate().filter(|(at, request)| {
        let mut later = requests[at + 1..].iter();
        request.said == Said::Done && later.any(|it| it.name == request.name)
    });
    hits.insert("answered 200, killed before that was settled", repeated.count());
    let mappings = vec!["to-crm".to_owned(), "to-people".to_owned()];
    hits.insert("event sent again after a kill", repeats.values().sum());
    (History { accepted, mappings, actions, repeats, requests, profiles }, hits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_accepted_action_is_delivered_or_dead_in_order_through_faults_and_kills() {
    let (seed, begun) = (seed(), Instant::now());
    let mut out = std::io::stderr();
    _ = writeln!(out, "history with HISTORY_SEED={seed}");
    let (history, mut hits) = make(seed).await;
    for action in &history.actions {
        let what = match &action.end {
            End::Delivered if action.to == To::Directory => "= delivered to the directory",
            End::Delivered => "= delivered to the endpoint",
            End::Dead { code, .. } if code == "rejected" => "= dead: rejected",
            End::Dead { code, .. } if code == "redirect" => "= dead: redirect",
            End::Dead { code, .. } if code == "max_age" => "= dead: max_age",
            _ => "= something else",
        };
        *hits.entry(what).or_default() += 1;
    }
    let (events, requests) = (history.accepted.len(), history.requests.len());
    let seconds = begun.elapsed().as_secs_f32();
    _ = writeln!(out, "{ROUNDS} rounds, {events} events, {requests} requests in {seconds:.0} s");
    for (what, count) in &hits {
        _ = writeln!(out, "{count:>6} x {what}");
    }
    let never = |fault: &&&str| hits.get(**fault).is_none_or(|count| *count == 0);
    let never: Vec<_> = Endpoint::FAULTS.iter().filter(never).collect();
    assert!(never.is_empty(), "did not happen: {never:?}; HISTORY_SEED={seed}");
    assert!(hits["= dead: max_age"] >= HOPELESS.len(), "{hits:?}");
    let wrong = check(&history);
    assert!(wrong.is_empty(), "HISTORY_SEED={seed}: {wrong:#?}\n{}", story(&history, &wrong));
    planted(&history);
}

/// Everything about the actions that something is wrong with.
fn story(history: &History, wrong: &[Violation]) -> String {
    let wrong = format!("{wrong:?}");
    let mut text = String::new();
    for action in history.actions.iter().filter(|it| wrong.contains(&format!("{:?}", it.name))) {
        let Action { name, end, story, .. } = action;
        text += &format!("{name:?}: {end:?}, attempts {story}\n");
        for request in history.requests.iter().filter(|it| it.name == *name) {
            let Request { at, life, said, .. } = request;
            text += &format!("  at {at} ms in life {life}: {said:?}\n");
        }
    }
    text
}

/// The checker finds what is made wrong in a history that was right, and nothing else.
fn planted(history: &History) {
    let at = |name: &(String, String)| {
        let places = history.requests.iter().enumerate().filter(|(_, it)| it.name == *name);
        places.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let named = |message: &String| (message.clone(), "to-crm".to_owned());
    let of = |name: &(String, String)| history.actions.iter().position(|it| it.name == *name);
    let plant = |what: &str, change: &dyn Fn(&mut History), expected: &[Violation]| {
        let mut wrong = history.clone();
        change(&mut wrong);
        assert_eq!(check(&wrong), expected, "{what}");
    };
    // Delivered by one request each, one after the other in their lane.
    let mut all = Vec::new();
    for it in &history.accepted {
        match *at(&named(&it.message)) {
            [only] if history.requests[only].said == Said::Done => all.push((it, only)),
            _ => {}
        }
    }
    let lane = |name: &(String, String)| {
        history.accepted.iter().find(|it| it.message == name.0).map(|it| &it.lane)
    };
    let alone = |of: &String, from: usize, to: usize| {
        history.requests[from + 1..to].iter().all(|it| lane(&it.name) != Some(of))
    };
    let ((first, earlier), (second, later)) = all
        .iter()
        .flat_map(|one| all.iter().map(move |two| (*one, *two)))
        .find(|((one, before), (two, after))| {
            one.lane == two.lane && before < after && alone(&one.lane, *before, *after)
        })
        .expect("a lane has two actions in a row that went well");
    let [first, second] = [first, second].map(|it| named(&it.message));
    let overtaken = [Violation::Overtaken { first: first.clone(), by: second.clone() }];
    plant("two are swapped", &|it| it.requests.swap(earlier, later), &overtaken);
    plant(
        "a delivery is lost",
        &|it| _ = it.requests.remove(earlier),
        &[Violation::NotDelivered(first.clone())],
    );
    let action = of(&first).expect("an action");
    plant(
        "an action is lost",
        &|it| {
            it.actions.remove(action);
            it.requests.remove(earlier);
        },
        &[Violation::Lost(first.clone())],
    );
    plant(
        "an action never ends",
        &|it| it.actions[action].end = End::Open("STATE_PENDING".into()),
        &[Violation::Unfinished(first.clone(), "STATE_PENDING".into())],
    );
    plant(
        "nobody has sent it",
        &|it| it.accepted.retain(|it| it.message != first.0),
        &[
            Violation::NotAccepted(first.clone()),
            Violation::NotAccepted((first.0.clone(), "to-people".into())),
        ],
    );
    let (repeat, name) = history
        .requests
        .iter()
        .enumerate()
        .find_map(|(here, it)| (at(&it.name)[0] < here).then(|| (here, it.name.clone())))
        .expect("something was repeated");
    plant(
        "a repeat has other bytes",
        &|it| *it.requests[repeat].body.last_mut().expect("a body") ^= 1,
        &[Violation::OtherBytes(name.clone())],
    );
    plant(
        "a repeat has another key",
        &|it| it.requests[repeat].key.push('0'),
        &[Violation::OtherKey(name)],
    );
}
