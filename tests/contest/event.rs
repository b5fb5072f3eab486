//! What is sent: which event is of which kind, which requests are repeats or badly signed, and the
//! bytes of each. All of it follows from a number, so that nothing has to be remembered.

use segment_source_tests::template::{EVENT, RUN, Signature, Template, USER};
use serde_json::Value;

/// Different users.
const USERS: u64 = 10_000;
/// Bytes of an event.
const SIZE: usize = 1024;
/// What a messageId begins with; the run and the number of the event follow.
pub(crate) const MARK: &[u8] = b"contest-";

/// What the job makes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identify,
    Order,
    /// Nothing is delivered of it. Which of the three other calls it is: 0, 1 or 2.
    Other(u8),
}

impl Kind {
    pub(crate) fn is_delivered(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// How often each kind of event and of request is among those that are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Of 20 events.
    pub(crate) identifies: u64,
    /// Of 20 events.
    pub(crate) orders: u64,
    /// Of 1,000 requests.
    pub(crate) bad: u64,
    /// Of 1,000 requests.
    pub(crate) repeats: u64,
    /// Of 1,000 first attempts at the endpoint: answered 503.
    pub(crate) refused: u64,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    New,
    Repeat,
    Bad,
}

/// A request of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The number of the event; a repeat has that of the event it repeats.
    pub(crate) event: u64,
    pub(crate) kind: Kind,
    pub(crate) wanted: Wanted,
    /// The status of the answer; see [`UNSENT`] and [`UNANSWERED`].
    pub(crate) status: u16,
    signature: Signature,
}

/// It was not sent.
pub(crate) const UNSENT: u16 = 0;
/// No answer came.
pub(crate) const UNANSWERED: u16 = 1;

impl Slot {
    /// Whether an event was accepted by this request.
    pub(crate) fn acked(&self) -> bool {
        self.wanted != Wanted::Bad && (200..300).contains(&self.status)
    }

    /// Whether it was answered, and not as it has to be.
    pub(crate) fn is_wrong(&self) -> bool {
        let answered = self.status > UNANSWERED;
        answered && !self.acked() && !(self.wanted == Wanted::Bad && self.status == 401)
    }
}

/// Spreads numbers evenly (the finalizer of splitmix64).
pub(crate) fn spread(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Mix {
    fn kind(&self, event: u64) -> Kind {
        let drawn = (spread(event) >> 32) % 20;
        if drawn < self.identifies {
            Kind::Identify
        } else if drawn < self.identifies + self.orders {
            Kind::Order
        } else {
            Kind::Other((event % 3) as u8)
        }
    }

    fn wanted(&self, number: u64) -> Wanted {
        match spread(number) % 1000 {
            drawn if drawn < self.bad => Wanted::Bad,
            drawn if drawn < self.bad + self.repeats => Wanted::Repeat,
            _ => Wanted::New,
        }
    }

    /// Whether the endpoint refuses the first attempt to deliver this event.
    pub(crate) fn is_refused(&self, event: u64) -> bool {
        spread(!event) % 1000 < self.refused
    }
}

/// The bytes of events of one run.
pub(crate) struct Events {
    /// Two that are delivered, three that are not.
    templates: [Template; 5],
    pub(crate) run: u64,
}

impl Events {
    pub(crate) fn new(path: &str, secret: &str, run: u64) -> anyhow::Result<Self> {
        let templates = [
            r#""type":"identify","traits":{"email":"user-{user}@example.com","name":"Ada {n}","plan":"pro","createdAt":"2025-11-03T08:00:00.000Z"}"#,
            r#""type":"track","event":"Order Completed","properties":{"order_id":"o-{n}","revenue":39.95,"currency":"USD","products":[{"sku":"A-100","quantity":2},{"sku":"B-7","quantity":1}]}"#,
            r#""type":"track","event":"Product Viewed","properties":{"sku":"A-100","position":3,"url":"https://shop.example.com/a-100"}"#,
            r#""type":"page","name":"Home","properties":{"title":"Home","url":"https://shop.example.com/","referrer":""}"#,
            r#""type":"screen","name":"Basket","properties":{"items":3,"variation":"b"}"#,
        ];
        let template = |own: &str| Template::new(path, secret, &body(own));
        let [a, b, c, d, e] = templates.map(template);
        Ok(Self { templates: [a?, b?, c?, d?, e?], run })
    }

    /// The requests of a load with their signatures, which take longer than sending them. `first` is
    /// the number of its first event; repeats are of what was sent `back` requests before.
    pub(crate) fn plan(&mut self, mix: &Mix, first: u64, count: u64, back: u64) -> Vec<Slot> {
        let mut slots = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for number in first..first + count {
            let mut wanted = mix.wanted(number);
            let mut event = number;
            if wanted == Wanted::Repeat {
                event = number.saturating_sub(back);
                if event < first || mix.wanted(event) != Wanted::New {
                    (event, wanted) = (number, Wanted::New);
                }
            }
            let kind = mix.kind(event);
            let mut signature = self.filled(kind, event).signature();
            if wanted == Wanted::Bad {
                signature[number as usize % 20] ^= 1;
            }
            slots.push(Slot { event, kind, wanted, status: UNSENT, signature });
        }
        slots
    }

    /// The whole request.
    pub(crate) fn request(&mut self, slot: &Slot) -> &[u8] {
        self.filled(slot.kind, slot.event).signed(&slot.signature)
    }

    /// The event as JSON.
    pub(crate) fn event(&mut self, kind: Kind, event: u64) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(self.filled(kind, event).event())?)
    }

    fn filled(&mut self, kind: Kind, event: u64) -> &mut Template {
        let at = match kind {
            Kind::Identify => 0,
            Kind::Order => 1,
            Kind::Other(other) => 2 + usize::from(other),
        };
        let template = &mut self.templates[at];
        template.fill(self.run, event, spread(event ^ self.run) % USERS);
        template
    }
}

/// The body of an event with what makes it this one, [`SIZE`] bytes when its numbers are filled in.
fn body(own: &str) -> String {
    let mark = String::from_utf8_lossy(MARK);
    let start = format!(
        r#"{{"messageId":"{mark}{RUN}-{EVENT}","userId":"user-{USER}","anonymousId":"b7c0e9a4-1f7e-4a61-9a1e-2f0d5f6d7e88","timestamp":"2026-03-02T10:15:30.220Z","sentAt":"2026-03-02T10:15:30.300Z","channel":"server",{own},"context":{{"ip":"203.0.113.7","locale":"en-GB","library":{{"name":"@segment/analytics-node","version":"3.1.0"}},"userAgent":""#
    );
    let end = r#""}}"#;
    // As long as what the template puts there.
    let (long, short) = ("0".repeat(16), "0".repeat(8));
    let filled = start.replace(RUN, &long).replace(EVENT, &long).replace(USER, &short);
    let room = SIZE.saturating_sub(filled.len() + end.len());
    format!("{start}{}{end}", "x".repeat(room))
}
