//! Judges a history of deliveries: what a destination was asked, against what was accepted and what
//! the program says became of it. Pure; who makes histories lives with the tests.

use std::collections::{BTreeMap, BTreeSet};

/// Everything there is to judge.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Events that were answered 202, in each lane in the order in which they were.
    pub accepted: Vec<Accepted>,
    /// The mappings that each of them has an action of.
    pub mappings: Vec<String>,
    /// The actions of all events that the program has, duplicates aside.
    pub actions: Vec<Action>,
    /// How often events were sent again that the program knew already, by messageId: each time runs
    /// what had died of them once more, at the end of its lane.
    pub repeats: BTreeMap<String, usize>,
    /// What the destination read, in that order.
    pub requests: Vec<Request>,
    /// What the directory knows in the end: by user, the messageIds that it has heard of, and the
    /// one that it heard of last.
    pub profiles: BTreeMap<String, (BTreeSet<String>, String)>,
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its messageId.
    pub message: String,
    /// Its user, which is its lane.
    pub lane: String,
}

/// What makes an action this one and no other: the messageId of its event, and its mapping.
pub type Name = (String, String);

/// An action as the program tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Which.
    pub name: Name,
    /// Its idempotency key.
    pub key: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Where it goes.
    pub to: To,
    /// What became of it.
    pub end: End,
    /// What the program says of its attempts. Not judged, but shown with what is wrong.
    pub story: String,
}

/// The two kinds of destinations that a history knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The one whose requests are recorded.
    Endpoint,
    /// The program's own directory.
    Directory,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Carried out.
    Delivered,
    /// Given up.
    Dead {
        /// The bounded code.
        code: String,
        /// The same in words.
        reason: String,
    },
    /// Anything else, as the program names it.
    Open(String),
}

/// A request that the destination read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Milliseconds since the beginning. Not judged.
    pub at: u128,
    /// How often the program had been killed before.
    pub life: usize,
    /// What its body says it is about.
    pub name: Name,
    /// The header `Idempotency-Key`.
    pub key: String,
    /// The header `webhook-id`.
    pub webhook_id: String,
    /// The body.
    pub body: Vec<u8>,
    /// What was done with it.
    pub said: Said,
}

/// How the destination answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// 2xx.
    Done,
    /// An answer after which the action is dead with this code.
    Dead(&'static str),
    /// An answer, or none, after which it has to be tried again.
    Again,
}

/// What is wrong with a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Its event was accepted, and the program does not have it.
    Lost(Name),
    /// The program has an action, or made a request, of what was not accepted; or has it twice.
    NotAccepted(Name),
    /// Neither delivered nor dead.
    Unfinished(Name, String),
    /// Dead without a reason.
    NoReason(Name),
    /// Said to be delivered; the destination's last answer says otherwise.
    NotDelivered(Name),
    /// Said to be dead; the destination's answers say otherwise.
    NotDead(Name),
    /// Attempted before the one that stands before it in its lane was settled.
    Overtaken {
        /// The one that was first.
        first: Name,
        /// The one that did not wait.
        by: Name,
    },
    /// Attempted again by the same process, which had its final answer.
    Repeated(Name),
    /// An attempt carried another key than its action has.
    OtherKey(Name),
    /// An attempt carried other bytes than the first, or than were stored.
    OtherBytes(Name),
    /// Two actions have one key.
    SharedKey(Name),
    /// Said to be delivered to the directory, which has not heard of it.
    NotInDirectory(Name),
    /// The directory ended with another event of this user than its last one.
    Stale(String),
}

/// Everything that is wrong.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let lanes: BTreeMap<&str, &str> =
        history.accepted.iter().map(|it| (&*it.message, &*it.lane)).collect();
    let mut requests = BTreeMap::<&Name, Vec<(usize, &Request)>>::new();
    for (at, request) in history.requests.iter().enumerate() {
        requests.entry(&request.name).or_default().push((at, request));
    }
    let (mut known, mut keys) = (BTreeMap::new(), BTreeSet::new());
    for action in &history.actions {
        let fresh = known.insert(&action.name, action).is_none();
        if !fresh || !lanes.contains_key(&*action.name.0) {
            wrong.push(Violation::NotAccepted(action.name.clone()));
        }
        if !keys.insert(&action.key) {
            wrong.push(Violation::SharedKey(action.name.clone()));
        }
        let made = requests.get(&action.name).map_or(&[][..], Vec::as_slice);
        judge_end(history, action, made, lanes.get(&*action.name.0), &mut wrong);
        let repeats = history.repeats.get(&action.name.0).copied().unwrap_or_default();
        judge_attempts(action, made, repeats, &mut wrong);
    }
    for name in requests.keys().filter(|name| !known.contains_key(**name)) {
        wrong.push(Violation::NotAccepted((*name).clone()));
    }
    for Accepted { message, .. } in &history.accepted {
        let names = history.mappings.iter().map(|mapping| (message.clone(), mapping.clone()));
        wrong.extend(names.filter(|name| !known.contains_key(name)).map(Violation::Lost));
    }
    judge_order(history, &requests, &mut wrong);
    let last: BTreeMap<_, _> = history.accepted.iter().map(|it| (&it.lane, &it.message)).collect();
    for (user, (_, newest)) in &history.profiles {
        if last.get(user) != Some(&newest) {
            wrong.push(Violation::Stale(user.clone()));
        }
    }
    wrong
}

fn judge_end(
    history: &History,
    action: &Action,
    made: &[(usize, &Request)],
    lane: Option<&&str>,
    wrong: &mut Vec<Violation>,
) {
    let name = || action.name.clone();
    let last = made.last().map(|(_, request)| request.said);
    match (&action.end, action.to) {
        (End::Open(state), _) => wrong.push(Violation::Unfinished(name(), state.clone())),
        (End::Dead { code, reason }, _) if code.is_empty() || reason.is_empty() => {
            wrong.push(Violation::NoReason(name()));
        }
        (End::Dead { code, .. }, To::Endpoint) => {
            let told = match code.as_str() {
                // Attempts that were broken off before they were read are not known here.
                "max_age" => made.iter().any(|(_, request)| request.said == Said::Again),
                code => matches!(last, Some(Said::Dead(said)) if said == code),
            };
            if !told {
                wrong.push(Violation::NotDead(name()));
            }
        }
        // The directory takes everything that these histories send.
        (End::Dead { .. }, To::Directory) => wrong.push(Violation::NotDead(name())),
        (End::Delivered, To::Endpoint) => {
            if last != Some(Said::Done) {
                wrong.push(Violation::NotDelivered(name()));
            }
        }
        (End::Delivered, To::Directory) => {
            // Of what was not accepted that much is said already.
            let Some(lane) = lane else { return };
            let heard = history.profiles.get(*lane);
            if !heard.is_some_and(|(heard, _)| heard.contains(&action.name.0)) {
                wrong.push(Violation::NotInDirectory(name()));
            }
        }
    }
}

fn judge_attempts(
    action: &Action,
    made: &[(usize, &Request)],
    repeats: usize,
    wrong: &mut Vec<Violation>,
) {
    let name = || action.name.clone();
    if made.iter().any(|(_, it)| it.key != action.key || it.webhook_id != action.key) {
        wrong.push(Violation::OtherKey(name()));
    }
    let holds =
        |body: &[u8]| body.windows(action.payload.len().max(1)).any(|it| it == action.payload);
    if let Some((_, first)) = made.first()
        && (!holds(&first.body) || made.iter().any(|(_, it)| it.body != first.body))
    {
        wrong.push(Violation::OtherBytes(name()));
    }
    // By a process that had the final answer, and was not told to.
    let (mut after_done, mut after_death) = (0, 0);
    for ((_, before), (_, after)) in made.iter().zip(&made[made.len().min(1)..]) {
        match before.said {
            Said::Done if before.life == after.life => after_done += 1,
            Said::Dead(_) if before.life == after.life => after_death += 1,
            _ => {}
        }
    }
    if after_done > 0 || after_death > repeats {
        wrong.push(Violation::Repeated(name()));
    }
}

/// In each lane, all attempts of an action come before all of the next one: it is attempted while it
/// is not settled, and the next one only when it is.
fn judge_order(
    history: &History,
    requests: &BTreeMap<&Name, Vec<(usize, &Request)>>,
    wrong: &mut Vec<Violation>,
) {
    let mut mappings = BTreeSet::new();
    requests.keys().for_each(|name| _ = mappings.insert(&name.1));
    for mapping in mappings {
        // By lane, the latest attempt so far.
        let mut latest = BTreeMap::<&str, (usize, &Name)>::new();
        for Accepted { message, lane } in &history.accepted {
            let name = (message.clone(), mapping.clone());
            let Some((&name, made)) = requests.get_key_value(&name) else { continue };
            // What is run once more after its death stands elsewhere in its lane.
            let died = |(_, request): &(usize, &Request)| matches!(request.said, Said::Dead(_));
            let end = match history.repeats.get(message) {
                Some(_) => made.iter().position(died).unwrap_or(made.len() - 1),
                None => made.len() - 1,
            };
            let ((first, _), (last, _)) = (&made[0], &made[end]);
            match latest.get(&**lane) {
                Some((before, other)) if before > first => {
                    let (first, by) = ((*other).clone(), name.clone());
                    wrong.push(Violation::Overtaken { first, by });
                }
                _ => {}
            }
            let entry = latest.entry(lane).or_insert((*last, name));
            if *last >= entry.0 {
                *entry = (*last, name);
            }
        }
    }
}
