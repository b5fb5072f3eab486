//! The endpoint of the history test: answers at random, records every request with what was done
//! about it, and kills the program right after an answer when it is told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use segment_source_tests::{
    history::{Request, Said},
    server::Server,
    sink::{Answer, Asked, Hook, Sink},
    wait::eventually,
};
use tokio::time::{Instant, sleep};

/// The program while it runs.
pub(crate) type Program = Arc<Mutex<Option<Server>>>;

/// How long an answer is waited for to kill the program after.
const TRAP: Duration = Duration::from_secs(1);

/// The endpoint.
pub(crate) struct Endpoint {
    sink: Sink,
    state: Arc<Mutex<State>>,
}

struct State {
    draw: fastrand::Rng,
    kind: bool,
    begun: Instant,
    life: usize,
    requests: Vec<Request>,
    hits: BTreeMap<&'static str, usize>,
    /// To be killed after the next answer.
    trap: Option<Program>,
}

impl Endpoint {
    /// All faults of a history; those of the endpoint are its own.
    pub(crate) const FAULTS: [&str; 17] = [
        "500",
        "503 with Retry-After",
        "503 for good",
        "429 with Retry-After",
        "408",
        "closed before reading",
        "closed after reading",
        "garbage",
        "slow",
        "400",
        "301",
        "endless body",
        "kill -9 at a random moment",
        "kill -9 after an answer of 200",
        "answered 200, killed before that was settled",
        "event sent again after a kill",
        "= delivered to the directory",
    ];

    /// One that draws its answers from here.
    pub(crate) async fn start(draw: fastrand::Rng) -> Self {
        let state = Arc::new(Mutex::new(State {
            draw,
            kind: false,
            begun: Instant::now(),
            life: 0,
            requests: Vec::new(),
            hits: BTreeMap::new(),
            trap: None,
        }));
        let answering = state.clone();
        let sink = Sink::with(None, move |asked| lock(&answering).answer(asked)).await;
        let hanging_up = state.clone();
        sink.hang_up(move || lock(&hanging_up).hangs_up());
        Self { sink, state }
    }

    /// Where it takes actions.
    pub(crate) fn url(&self) -> String {
        self.sink.url("/in")
    }

    /// A fault has hit.
    pub(crate) fn hit(&self, what: &'static str) {
        lock(&self.state).hit(what);
    }

    /// Kills the program right after an answer of 200; `false` when there was none to be given.
    pub(crate) async fn trapped(&self, program: &Program) -> bool {
        lock(&self.state).trap = Some(program.clone());
        let end = Instant::now() + TRAP;
        while Instant::now() < end && lock(&self.state).trap.is_some() {
            sleep(Duration::from_millis(2)).await;
        }
        if lock(&self.state).trap.take().is_some() {
            return false;
        }
        let gone =
            || async { program.lock().expect("no panic while locked").is_none().then_some(()) };
        eventually("the program is killed", gone).await;
        true
    }

    /// The program was killed; what it has sent before is read, and it may be started again.
    pub(crate) async fn next_life(&self) {
        self.sink.quiet().await;
        lock(&self.state).life += 1;
    }

    /// No more faults, but for those who are answered 503 for good.
    pub(crate) fn be_kind(&self) {
        lock(&self.state).kind = true;
    }

    /// Everything that was asked, in this order, and how often each fault hit.
    pub(crate) fn end(&self) -> (Vec<Request>, BTreeMap<&'static str, usize>) {
        let state = lock(&self.state);
        (state.requests.clone(), state.hits.clone())
    }
}

impl State {
    fn hit(&mut self, what: &'static str) {
        *self.hits.entry(what).or_default() += 1;
    }

    fn hangs_up(&mut self) -> bool {
        let hangs_up = !self.kind && self.draw.u32(0..100) < 3;
        if hangs_up {
            self.hit("closed before reading");
        }
        hangs_up
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let body = asked.json();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let hopeless = text(&body["data"]["id"]).starts_with("hopeless");
        let (answer, said) = match (hopeless, self.kind, self.trap.take()) {
            (true, _, trap) => {
                self.trap = trap;
                self.hit("503 for good");
                (Answer::status(503), Said::Again)
            }
            (_, _, Some(program)) => {
                let kill = move || {
                    let server = program.lock().expect("no panic while locked").take();
                    server.into_iter().for_each(|mut server| server.kill());
                };
                (Answer::Then(Hook(Arc::new(kill))), Said::Done)
            }
            (_, true, None) => (Answer::status(200), Said::Done),
            (_, false, None) => self.drawn(),
        };
        self.requests.push(Request {
            at: (asked.at - self.begun).as_millis(),
            life: self.life,
            name: (text(&body["data"]["last"]), text(&body["mapping"])),
            key: asked.header("idempotency-key").to_owned(),
            webhook_id: asked.header("webhook-id").to_owned(),
            body: asked.body.clone(),
            said,
        });
        answer
    }

    fn drawn(&mut self) -> (Answer, Said) {
        let later = || "retry-after: 1\r\n".to_owned();
        let elsewhere = || "location: /elsewhere\r\n".to_owned();
        let (what, answer, said) = match self.draw.u32(0..100) {
            0..5 => ("500", Answer::status(500), Said::Again),
            5..8 => ("503 with Retry-After", Answer::Status(503, later()), Said::Again),
            8..11 => ("429 with Retry-After", Answer::Status(429, later()), Said::Again),
            11..15 => ("408", Answer::status(408), Said::Again),
            15..19 => ("closed after reading", Answer::Close, Said::Again),
            19..22 => ("garbage", Answer::Garbage, Said::Again),
            22..28 => {
                let time = Duration::from_millis(self.draw.u64(50..400));
                ("slow", Answer::Slow(time), Said::Done)
            }
            28..32 => ("400", Answer::status(400), Said::Dead("rejected")),
            32..35 => ("301", Answer::Status(301, elsewhere()), Said::Dead("redirect")),
            35..37 => ("endless body", Answer::Endless, Said::Done),
            _ => return (Answer::status(200), Said::Done),
        };
        self.hit(what);
        (answer, said)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
