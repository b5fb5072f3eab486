//! The checker of delivery histories finds each kind of violation, and nothing in a history that is
//! right: small histories by hand. Real ones are made by `deliver_history`.

use std::collections::BTreeMap;

use segment_source_tests::history::{
    Accepted, Action, End, History, Name, Request, Said, To, Violation, check,
};

fn name(message: &str) -> Name {
    (message.to_owned(), "crm".to_owned())
}

fn action(message: &str, end: End) -> Action {
    let payload = format!("{{\"last\":\"{message}\"}}").into_bytes();
    let key = format!("key-of-{message}");
    Action { name: name(message), key, payload, to: To::Endpoint, end, story: String::new() }
}

fn request(life: usize, message: &str, said: Said) -> Request {
    let Action { name, key, payload, .. } = action(message, End::Delivered);
    let body = [&b"{\"data\":"[..], &payload, b"}"].concat();
    Request { at: 0, life, name, webhook_id: key.clone(), key, body, said }
}

fn dead(code: &str) -> End {
    End::Dead { code: code.to_owned(), reason: "in words".to_owned() }
}

/// Two lanes: in one `a`, `b` (which failed once, was answered, and repeated after a kill) and `c`
/// (dead); in the other `d`, which failed for too long. And `a` in the directory.
fn right() -> History {
    let accepted = [("a", "ada"), ("d", "bob"), ("b", "ada"), ("c", "ada")];
    let accepted =
        accepted.map(|(message, lane)| Accepted { message: message.into(), lane: lane.into() });
    History {
        accepted: accepted.into(),
        mappings: vec!["crm".into()],
        actions: vec![
            action("a", End::Delivered),
            action("b", End::Delivered),
            action("c", dead("rejected")),
            action("d", dead("max_age")),
            Action {
                name: ("a".into(), "people".into()),
                key: "other".into(),
                payload: b"{}".to_vec(),
                to: To::Directory,
                end: End::Delivered,
                story: String::new(),
            },
        ],
        repeats: BTreeMap::new(),
        requests: vec![
            request(0, "a", Said::Done),
            request(0, "d", Said::Again),
            request(0, "b", Said::Again),
            request(0, "b", Said::Done),
            request(1, "b", Said::Done),
            request(1, "d", Said::Again),
            request(1, "c", Said::Dead("rejected")),
        ],
        profiles: [("ada".to_owned(), (["a".to_owned()].into(), "c".to_owned()))].into(),
    }
}

#[test]
fn a_history_that_is_right_has_no_violation() {
    assert_eq!(check(&right()), []);
    assert_eq!(check(&History::default()), []);
}

#[test]
fn what_died_is_run_again_when_its_event_is_repeated() {
    let mut history = right();
    history.accepted.push(Accepted { message: "e".into(), lane: "ada".into() });
    history.profiles.values_mut().for_each(|it| it.1 = "e".into());
    history.actions[2].end = End::Delivered;
    history.actions.push(action("e", End::Delivered));
    history.requests.extend([request(1, "e", Said::Done), request(1, "c", Said::Done)]);
    let (c, e) = (name("c"), name("e"));
    let overtaken = Violation::Overtaken { first: c.clone(), by: e };
    assert_eq!(check(&history), [Violation::Repeated(c.clone()), overtaken]);
    history.repeats.insert("c".into(), 1);
    assert_eq!(check(&history), []);
    // Once for each repeat, and never after a success.
    history.requests.push(request(1, "c", Said::Done));
    assert_eq!(check(&history), [Violation::Repeated(c)]);
}

#[test]
fn every_kind_of_violation_is_found_alone() {
    type Case = (fn(&mut History), Vec<Violation>);
    let (a, b, c, d) = (name("a"), name("b"), name("c"), name("d"));
    let cases: Vec<Case> = vec![
        (
            |it| it.accepted.push(Accepted { message: "e".into(), lane: "bob".into() }),
            vec![Violation::Lost(name("e"))],
        ),
        (
            |it| it.actions.push(action("e", dead("max_age"))),
            vec![Violation::NotAccepted(name("e")), Violation::NotDead(name("e"))],
        ),
        (
            |it| it.requests.push(request(1, "e", Said::Done)),
            vec![Violation::NotAccepted(name("e"))],
        ),
        (
            |it| it.actions[0].end = End::Open("PENDING".into()),
            vec![Violation::Unfinished(a.clone(), "PENDING".into())],
        ),
        (|it| it.actions[2].end = dead(""), vec![Violation::NoReason(c.clone())]),
        // The only answer of 200 is missing, or is not the last.
        (|it| _ = it.requests.remove(0), vec![Violation::NotDelivered(a.clone())]),
        (|it| it.requests[4].said = Said::Again, vec![Violation::NotDelivered(b.clone())]),
        (|it| it.requests[6].said = Said::Dead("redirect"), vec![Violation::NotDead(c.clone())]),
        (|it| it.requests[6].said = Said::Done, vec![Violation::NotDead(c.clone())]),
        (|it| it.requests.retain(|it| it.name != name("d")), vec![Violation::NotDead(d.clone())]),
        (
            |it| it.requests.swap(0, 2),
            vec![Violation::Overtaken { first: a.clone(), by: b.clone() }],
        ),
        // Its repeat comes after the next one of the lane.
        (
            |it| it.requests.push(request(1, "b", Said::Done)),
            vec![
                Violation::Repeated(b.clone()),
                Violation::Overtaken { first: b.clone(), by: c.clone() },
            ],
        ),
        (|it| it.requests[4].life = 0, vec![Violation::Repeated(b.clone())]),
        (|it| it.requests[3].key.push('x'), vec![Violation::OtherKey(b.clone())]),
        (|it| it.requests[3].webhook_id.push('x'), vec![Violation::OtherKey(b.clone())]),
        (|it| it.requests[3].body.push(b' '), vec![Violation::OtherBytes(b.clone())]),
        // All attempts alike, and not what was stored.
        (|it| it.requests[0].body = b"{}".to_vec(), vec![Violation::OtherBytes(a.clone())]),
        (
            |it| it.actions[4].key = "key-of-a".into(),
            vec![Violation::SharedKey(("a".into(), "people".into()))],
        ),
        (|it| it.profiles.clear(), vec![Violation::NotInDirectory(("a".into(), "people".into()))]),
        (
            |it| it.profiles.values_mut().for_each(|it| it.1 = "b".into()),
            vec![Violation::Stale("ada".into())],
        ),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut history = right();
        change(&mut history);
        assert_eq!(check(&history), expected, "case {number}");
    }
}
