//! A stand-in for Knock that answers over HTTP: what Knock takes it takes and answers as Knock does,
//! and it fails as it is told. Which requests are right is `contract`'s.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde_json::{Value, json};

use super::{Contract, Taken};
use crate::sink::{Answer, Asked, Sink};

/// The API key that it takes first; made up.
pub const KEY: &str = "not-a-real-knock-key";

/// What becomes of a request that is right.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is taken, and answered as Knock answers.
    Usual,
    /// It is taken, and this is answered instead.
    Unheard(Answer),
    /// It is not taken, and this is answered.
    Fault(Answer),
}

impl Fate {
    /// It is not taken; Knock says so in an error with this code.
    #[must_use]
    pub fn error(status: u16, code: &str) -> Self {
        Self::error_with(status, code, "")
    }

    /// As [`Fate::error`], with more header lines (each ending in CR LF).
    #[must_use]
    pub fn error_with(status: u16, code: &str, headers: &str) -> Self {
        Self::Fault(error(status, code, "told so by the test", headers))
    }

    /// It is not taken, and only the status says so.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Fault(Answer::status(status))
    }
}

type Script = Arc<dyn Fn(&Asked, &Taken) -> Fate + Send + Sync>;

/// The stand-in; it ends when it is dropped, and fails the test then if it was asked what Knock
/// would not take.
pub struct Knock {
    sink: Sink,
    state: Arc<Mutex<State>>,
}

struct State {
    contract: Contract,
    api_keys: Vec<String>,
    script: Script,
    taken: Vec<Taken>,
    /// By Idempotency-Key: what was asked under it, and the answer once it was taken.
    keys: HashMap<String, (String, Vec<u8>, Option<String>)>,
    violations: Vec<String>,
}

impl Knock {
    /// One that takes everything that is right and comes with [`KEY`].
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            contract: Contract::read(),
            api_keys: vec![KEY.to_owned()],
            script: Arc::new(|_, _| Fate::Usual),
            taken: Vec::new(),
            keys: HashMap::new(),
            violations: Vec::new(),
        }));
        let judge = Arc::clone(&state);
        let sink = Sink::with(None, move |asked| lock(&judge).answer(asked)).await;
        Self { sink, state }
    }

    /// The `baseUrl` of a destination.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.sink.url("/v1")
    }

    /// Right requests fare as this says from now on.
    pub fn fate(&self, script: impl Fn(&Asked, &Taken) -> Fate + Send + Sync + 'static) {
        lock(&self.state).script = Arc::new(script);
    }

    /// The next right requests fare like this, one after the other; those after them as usual.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        let left = Mutex::new(fates.into_iter().collect::<VecDeque<_>>());
        self.fate(move |_, _| {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            left.pop_front().unwrap_or(Fate::Usual)
        });
    }

    /// From now on these API keys are right, and no other ones.
    pub fn take_keys(&self, keys: &[&str]) {
        lock(&self.state).api_keys = keys.iter().map(|&key| key.to_owned()).collect();
    }

    /// What it has taken so far, in order.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        lock(&self.state).taken.clone()
    }

    /// What was wrong with requests since this was last asked, for tests in which that is right.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).violations)
    }
}

impl Deref for Knock {
    type Target = Sink;

    fn deref(&self) -> &Sink {
        &self.sink
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let violations = self.violations();
        // A panic while panicking would hide the first one.
        assert!(
            violations.is_empty() || thread::panicking(),
            "Knock would not take what it was asked:\n{}",
            violations.join("\n")
        );
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let taken = match self.judge(asked) {
            Ok(taken) => taken,
            Err(why) => {
                let answer = error(422, "invalid_params", &why, "");
                self.violations.push(format!("{} {}: {why}", asked.method, asked.target));
                return answer;
            }
        };
        let bearer = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if !self.api_keys.iter().any(|key| key == bearer) {
            return error(401, "authentication_required", "this API key is not known", "");
        }
        let (script, replayed) = (Arc::clone(&self.script), self.replayed(&taken));
        match script(asked, &taken) {
            Fate::Fault(answer) => answer,
            Fate::Unheard(answer) => {
                self.take(taken, replayed);
                answer
            }
            Fate::Usual => self.take(taken, replayed),
        }
    }

    /// By Knock's document, and by what it says about Idempotency-Key: with the same one comes the
    /// same request.
    fn judge(&mut self, asked: &Asked) -> Result<Taken, String> {
        let taken = self.contract.judge_asked(asked)?;
        if let Some(key) = &taken.idempotency_key {
            let fresh = (asked.target.clone(), asked.body.clone(), None);
            let (target, body, _) = self.keys.entry(key.clone()).or_insert(fresh);
            if (&*target, &*body) != (&asked.target, &asked.body) {
                return Err("Idempotency-Key: came with another request before".to_owned());
            }
        }
        Ok(taken)
    }

    /// What was answered when the same key was taken before.
    fn replayed(&self, taken: &Taken) -> Option<String> {
        let (_, _, answer) = self.keys.get(taken.idempotency_key.as_ref()?)?;
        answer.clone()
    }

    fn take(&mut self, taken: Taken, replayed: Option<String>) -> Answer {
        if let Some(body) = replayed {
            let headers = "idempotent-replayed: true\r\noriginal-x-request-id: first\r\n";
            return reply(taken.status, headers, body);
        }
        let body = match taken.operation.as_str() {
            "triggerWorkflow" => json!({"workflow_run_id": format!("run-{}", self.taken.len())}),
            _ if taken.status == 204 => Value::Null,
            "addSubscriptionsForObject" | "deleteSubscriptionsForObject" => json!([]),
            _ => json!({"id": taken.ids.values().next_back()}),
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if let Some(key) = &taken.idempotency_key
            && let Some((_, _, answer)) = self.keys.get_mut(key)
        {
            *answer = Some(body.clone());
        }
        let status = taken.status;
        self.taken.push(taken);
        reply(status, "", body)
    }
}

/// As Knock tells its errors.
fn error(status: u16, code: &str, message: &str, headers: &str) -> Answer {
    let kind = if status == 401 { "authentication_error" } else { "invalid_request_error" };
    let body = json!({"code": code, "message": message, "status": status, "type": kind});
    reply(status, headers, body.to_string())
}

fn reply(status: u16, headers: &str, body: String) -> Answer {
    let mut headers = headers.to_owned();
    if !body.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(headers, "content-type: application/json\r\n");
    }
    Answer::Reply { status, headers, body }
}
