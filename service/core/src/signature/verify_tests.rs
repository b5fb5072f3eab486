//! Verification by whole values, recorded requests and properties.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{
    Batches, Mode, ReceivedRequest, Refusal, RequiredHeader, Rules, Secret, Secrets,
    SignatureHeader, VerifiedRequest,
};
use crate::event::Verdict;

/// Recorded from Segment's published client, with the secret it was given.
const RECORDED_SECRET: &str = "abc123-not-a-real-secret";
const RECORDED: &str = r#"{"order_id":"o-1001","revenue":39.95,"currency":"USD","products":[{"sku":"A-1","price":19.95,"quantity":1},{"sku":"B-2","price":20,"quantity":1}],"coupon":null,"note":""}"#;
const RECORDED_SIGNATURE: &str = "ccc34716b56316e47a8f812a0747ee5ee634a4e4";

const TOKEN: &str = "t0ken";

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes()).unwrap()
}

fn rules(mode: Mode, batches: Batches, secrets: &[&str]) -> Rules {
    let secrets = Secrets::new(secrets.iter().map(|text| secret(text)).collect()).unwrap();
    Rules { mode, secrets, batches }
}

fn first_element() -> Batches {
    Batches::FirstElement(RequiredHeader::new("x-token", TOKEN.as_bytes()))
}

/// A request with these signature headers and these values of the required header.
fn request(body: &str, signatures: &[&str], tokens: &[&str]) -> ReceivedRequest {
    let header = SignatureHeader::read(signatures.iter().map(|s| s.as_bytes()));
    ReceivedRequest::new(Bytes::copy_from_slice(body.as_bytes()), header)
        .with_token(tokens.iter().map(|t| t.as_bytes()))
}

fn signed(body: &str, message: &str) -> ReceivedRequest {
    request(body, &[&secret("s").sign(message.as_bytes()).to_hex()], &[TOKEN])
}

/// The verdict, and each event with whether it is covered.
fn events(request: &VerifiedRequest) -> (Verdict, Vec<(String, bool)>) {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let elements = request.elements(0..request.len());
    let events = elements.map(|e| (text(&e.bytes), e.verification.covered)).collect();
    (request.verdict(), events)
}

fn passes(request: ReceivedRequest, rules: &Rules, verdict: Verdict, expected: &[(&str, bool)]) {
    let expected = expected.iter().map(|(text, covered)| ((*text).to_owned(), *covered)).collect();
    assert_eq!(events(&request.verify(rules).unwrap()), (verdict, expected));
}

fn refused(request: ReceivedRequest, rules: &Rules, expected: Refusal) {
    assert_eq!(request.verify(rules).unwrap_err().refusal, expected);
}

#[test]
fn recorded_requests_are_verified() {
    let rules = rules(Mode::Enforce, first_element(), &["another", RECORDED_SECRET]);
    passes(
        request(RECORDED, &[RECORDED_SIGNATURE], &[]),
        &rules,
        Verdict::VerifiedBody,
        &[(RECORDED, true)],
    );
    let batch = format!(r#"[{RECORDED},null,{{"k":"v"}}]"#);
    passes(
        request(&batch, &[RECORDED_SIGNATURE], &[TOKEN]),
        &rules,
        Verdict::VerifiedFirstElement,
        &[(RECORDED, true), ("null", false), (r#"{"k":"v"}"#, false)],
    );
}

#[test]
fn only_one_well_formed_signature_counts() {
    let rules = rules(Mode::Enforce, Batches::Reject, &[RECORDED_SECRET]);
    let upper = RECORDED_SIGNATURE.to_uppercase();
    let prefixed = format!("sha1={RECORDED_SIGNATURE}");
    let check = |signatures: &[&str], refusal| {
        refused(request(RECORDED, signatures, &[]), &rules, refusal);
    };
    check(&[], Refusal::SignatureMissing);
    check(&[""], Refusal::SignatureMalformed);
    check(&[&upper], Refusal::SignatureMalformed);
    check(&[&prefixed], Refusal::SignatureMalformed);
    check(&[&RECORDED_SIGNATURE[..39]], Refusal::SignatureMalformed);
    check(&[RECORDED_SIGNATURE, RECORDED_SIGNATURE], Refusal::SignatureMalformed);
    check(&[&"0".repeat(40)], Refusal::Mismatch);
    refused(request("", &[], &[]), &rules, Refusal::SignatureMissing);
}

#[test]
fn without_a_secret_nothing_passes() {
    let rules = rules(Mode::Enforce, Batches::Reject, &[]);
    refused(signed("{}", "{}"), &rules, Refusal::NoSecret);
    refused(request("{}", &[], &[]), &rules, Refusal::NoSecret);
}

#[test]
fn arrays_go_by_policy() {
    let body = "[1,{\"a\":2}]";
    let whole: &[(&str, bool)] = &[("1", true), ("{\"a\":2}", true)];
    let check = |batches: Batches, message: &str, expected: Result<(Verdict, _), Refusal>| {
        let rules = rules(Mode::Enforce, batches, &["s"]);
        match expected {
            Ok((verdict, events)) => passes(signed(body, message), &rules, verdict, events),
            Err(refusal) => refused(signed(body, message), &rules, refusal),
        }
    };
    check(Batches::Reject, body, Err(Refusal::ArrayRefused));
    check(Batches::WholeBody, body, Ok((Verdict::VerifiedBody, whole)));
    check(Batches::WholeBody, "1", Err(Refusal::Mismatch));
    check(first_element(), body, Ok((Verdict::VerifiedBody, whole)));
    let first: &[(&str, bool)] = &[("1", true), ("{\"a\":2}", false)];
    check(first_element(), "1", Ok((Verdict::VerifiedFirstElement, first)));
    check(first_element(), "{\"a\":2}", Err(Refusal::Mismatch));
}

#[test]
fn a_missing_signature_is_noticed_before_the_array_policy_and_that_before_the_signature() {
    let rules = rules(Mode::Enforce, Batches::Reject, &["s"]);
    refused(request("[1]", &[], &[]), &rules, Refusal::SignatureMissing);
    refused(request("[1]", &["x"], &[]), &rules, Refusal::ArrayRefused);
}

#[test]
fn a_first_element_needs_the_required_header() {
    let enforce = rules(Mode::Enforce, first_element(), &["s"]);
    let signature = secret("s").sign(b"1").to_hex();
    for tokens in [&[][..], &[""], &["t0ke"], &[TOKEN, TOKEN]] {
        let request = request("[1,2]", &[&signature], tokens);
        refused(request, &enforce, Refusal::RequiredHeaderWrong);
    }
    // A stolen signature of one event does not carry a batch of another.
    refused(request("[2,1]", &[&signature], &[TOKEN]), &enforce, Refusal::Mismatch);
    let unloaded = Batches::FirstElement(RequiredHeader::new("x-token", b""));
    let unloaded = rules(Mode::Enforce, unloaded, &["s"]);
    refused(request("[1,2]", &[&signature], &[""]), &unloaded, Refusal::RequiredHeaderNotLoaded);
}

#[test]
fn the_first_element_is_defined_in_compact_arrays_only() {
    let rules = rules(Mode::Enforce, first_element(), &["s"]);
    for body in ["[ 1,2]", "[1 ,2]", "[1, 2]", " [1]", "[1]\n", "[1,", "[1,]"] {
        refused(signed(body, "1"), &rules, Refusal::Mismatch);
    }
    refused(signed("[]", ""), &rules, Refusal::Mismatch);
}

#[test]
fn nothing_authentic_is_dropped() {
    let rules = rules(Mode::Enforce, Batches::WholeBody, &["s"]);
    let many = format!("[{}0]", "0,".repeat(10_000));
    for body in ["", "[", "[1,", "[1,]", "\u{feff}{}", "no json", &many] {
        passes(signed(body, body), &rules, Verdict::VerifiedBody, &[(body, true)]);
    }
    passes(signed("[]", "[]"), &rules, Verdict::VerifiedBody, &[]);
}

#[test]
fn observing_lets_everything_pass_and_says_what_it_saw() {
    let observe = |secrets: &[&str]| rules(Mode::Observe, Batches::Reject, secrets);
    let check = |request, secrets: &[&str], verdict, covered| {
        passes(request, &observe(secrets), verdict, &[("1", covered), ("2", covered)]);
    };
    check(signed("[1,2]", "[1,2]"), &["s"], Verdict::VerifiedBody, true);
    check(signed("[1,2]", "1"), &["s"], Verdict::ObservedMismatch, false);
    check(request("[1,2]", &["x"], &[]), &["s"], Verdict::ObservedMismatch, false);
    check(request("[1,2]", &[], &[]), &["s"], Verdict::ObservedMissing, false);
    check(request("[1,2]", &[], &[]), &[], Verdict::ObservedNoSecret, false);
    let first = rules(Mode::Observe, first_element(), &["s"]);
    passes(
        signed("[1,2]", "1"),
        &first,
        Verdict::VerifiedFirstElement,
        &[("1", true), ("2", false)],
    );
}

#[test]
fn elements_share_the_bytes_of_the_body() {
    let body = Bytes::from_static(b"[{},{}]");
    let header = SignatureHeader::Present(secret("s").sign(&body));
    let rules = rules(Mode::Enforce, Batches::WholeBody, &["s"]);
    let request = ReceivedRequest::new(body.clone(), header).verify(&rules).unwrap();
    let second = request.elements(1..2).next().unwrap();
    assert_eq!(second.bytes.as_ptr(), body[4..].as_ptr());
    assert_eq!((second.index, request.size(1), request.size(2)), (1, 2, 0));
}

proptest! {
    #[test]
    fn what_is_signed_is_verified_and_nothing_else(
        key in prop::collection::vec(any::<u8>(), 1..80),
        body in prop::collection::vec(any::<u8>(), 0..300),
        flipped in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let signer = Secret::new(&key).unwrap();
        let secrets = Secrets::new(vec![signer.clone()]).unwrap();
        let rules = Rules { mode: Mode::Enforce, secrets, batches: Batches::WholeBody };
        let hex = signer.sign(&body).to_hex();
        let verify = |body: &[u8]| {
            let header = SignatureHeader::read([hex.as_bytes()]);
            ReceivedRequest::new(Bytes::copy_from_slice(body), header).verify(&rules)
        };
        prop_assert_eq!(verify(&body).unwrap().verdict(), Verdict::VerifiedBody);
        if !body.is_empty() {
            let mut other = body.clone();
            other[flipped.index(body.len())] ^= 1 << bit;
            prop_assert_eq!(verify(&other).unwrap_err().refusal, Refusal::Mismatch);
        }
    }
}
