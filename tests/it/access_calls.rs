//! Walks all calls x identities x sources. The calls are found through the descriptors of the
//! services, so that a new one without a row fails.

use std::{collections::BTreeSet, time::Duration};

use http::uri::PathAndQuery;
use prost::{
    Message,
    bytes::{Buf, BufMut, Bytes},
};
use prost_types::FileDescriptorSet;
use segment_source_proto::{
    DESCRIPTORS,
    admin::v1::{
        EraseUserRequest, Events, GetEventRequest, HoldRequest, ListDestinationsRequest,
        ListEventsRequest, RehearseRequest, ReleaseRequest, ReplayRequest, TailEventsRequest,
        replay_request::What,
    },
    directory::v1::{GetRequest, Key, Kind, ListRequest, SourceName, WatchRequest},
    ingest::v1::{
        SubmitRequest, SubmitStreamRequest, SubmitStreamResponse, submit_failure::Reason,
    },
    queue::v1::{
        Ack, ConsumeRequest, SettleRequest, Settlement, Start, consume_request, settlement::Outcome,
    },
};
use segment_source_tests::{
    manifest::NAMESPACE,
    read::{pull_request, queue_name},
    wait::soon,
};
use tonic::{
    Code, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_types::StatusExt as _;

use crate::access_site::{Guarded, Identity, submission, token, verified};

/// The columns of [`TABLE`].
const IDENTITIES: [&str; 9] =
    ["nobody", "unknown", "platform", "edge", "ingest", "Submit", "Consume", "Read", "Operate"];

/// On a source that has a client for each right: `U` UNAUTHENTICATED, `D` PERMISSION_DENIED, `o` OK.
const TABLE: [(&str, &str); 21] = [
    // nobody, unknown token, platform, edge, ingest, Submit, Consume, Read, Operate
    ("segmentsource.ingest.v1.Ingest/SubmitStream", "UUooUoDDD"),
    ("segmentsource.ingest.v1.Ingest/Submit", "UUooUoDDD"),
    ("segmentsource.queue.v1.Queue/Consume", "UUoDUDoDD"),
    ("segmentsource.queue.v1.Queue/Pull", "UUoDUDoDD"),
    ("segmentsource.queue.v1.Queue/Settle", "UUoDUDoDD"),
    ("segmentsource.directory.v1.Directory/Get", "UUoDUDDoD"),
    ("segmentsource.directory.v1.Directory/List", "UUoDUDDoD"),
    ("segmentsource.directory.v1.Directory/Watch", "UUoDUDDoD"),
    ("segmentsource.admin.v1.Admin/ListSources", "UUoDUoooo"),
    ("segmentsource.admin.v1.Admin/ListEvents", "UUoDUDDoD"),
    ("segmentsource.admin.v1.Admin/GetEvent", "UUoDUDDoD"),
    ("segmentsource.admin.v1.Admin/TailEvents", "UUoDUDDoD"),
    ("segmentsource.admin.v1.Admin/Rehearse", "UUoDUDDoD"),
    ("segmentsource.admin.v1.Admin/ListDestinations", "UUoDUDDoD"),
    ("segmentsource.admin.v1.Admin/Hold", "UUoDUDDDo"),
    ("segmentsource.admin.v1.Admin/Release", "UUoDUDDDo"),
    ("segmentsource.admin.v1.Admin/Replay", "UUoDUDDDo"),
    ("segmentsource.admin.v1.Admin/EraseUser", "UUoDUDDDo"),
    ("grpc.health.v1.Health/Check", "ooooooooo"),
    ("grpc.health.v1.Health/Watch", "ooooooooo"),
    ("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "UUooUoooo"),
];

/// Calls that are about no source, or name it only by a lease: allowed or not wherever they are.
const ABOUT_NO_SOURCE: [&str; 5] =
    ["/Settle", "/ListSources", "Health/Check", "Health/Watch", "/ServerReflectionInfo"];

/// Calls that a source which is not there does not fail for whoever may know: an outcome says it.
const ANSWERED_WITHOUT_SOURCE: [&str; 2] = ["/SubmitStream", "/Submit"];

/// The operator's, which no replica serves.
const NOT_SERVED: &str = "segmentsource.config.v1.Config/Watch";

#[test]
fn every_call_there_is_has_a_row() {
    let sets = [
        DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut calls = BTreeSet::new();
    for set in sets {
        for file in FileDescriptorSet::decode(set).expect("descriptors").file {
            for service in &file.service {
                let method = |method: &prost_types::MethodDescriptorProto| {
                    format!("{}.{}/{}", file.package(), service.name(), method.name())
                };
                calls.extend(service.method.iter().map(method));
            }
        }
    }
    assert!(calls.remove(NOT_SERVED));
    let rows: BTreeSet<String> = TABLE.iter().map(|(call, _)| (*call).to_owned()).collect();
    assert_eq!(calls, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_by_every_identity_on_every_source() {
    let guarded = Guarded::start().await;
    let events = [guarded.send("web").await, guarded.send("app").await];
    // Of a source that is not there: the same time, another hash.
    let absent = format!("{}{}", &events[0][..18], "0".repeat(16));
    let sources = [("web", &events[0]), ("app", &events[1]), ("absent", &absent)];
    let mut walked = 0;
    for (column, name) in IDENTITIES.into_iter().enumerate() {
        let identity = identity(name);
        let channel = guarded.channel(&identity);
        for (call, row) in TABLE {
            for (source, event) in sources {
                let expected = expected(call, &row[column..=column], name, source);
                let request = request(call, name, source, event);
                let answer = make(channel.clone(), call, identity.ask(request)).await;
                let code = answer.as_ref().map_or_else(Status::code, |()| Code::Ok);
                let told = answer.as_ref().err();
                assert_eq!(code, expected, "{call} by {name} on {source}: {told:?}");
                if let Some(status) = told {
                    check_words(status, call, source);
                }
                walked += 1;
            }
        }
    }
    assert_eq!(walked, 9 * 21 * 3);
    let log = guarded.server.log();
    for secret in ["Submit", "Consume", "Read", "Operate", "platform", "everything", "unknown"] {
        assert!(!log.contains(&token(secret)), "the token of {secret} was logged");
    }
}

fn identity(name: &str) -> Identity {
    match name {
        "nobody" => Identity::nobody(),
        "edge" => Identity::certificate("edge"),
        "ingest" => Identity::certificate("ingest"),
        known => Identity::token(&token(known)),
    }
}

fn expected(call: &str, cell: &str, identity: &str, source: &str) -> Code {
    let is_one_of = |calls: &[&str]| calls.iter().any(|one| call.ends_with(one));
    let client = identity.starts_with(char::is_uppercase);
    match cell {
        "U" => Code::Unauthenticated,
        "D" => Code::PermissionDenied,
        _ if source == "web" || is_one_of(&ABOUT_NO_SOURCE) => Code::Ok,
        // Nothing is granted there, and whether it is there is nobody's business.
        _ if client => Code::PermissionDenied,
        _ if source == "app" || is_one_of(&ANSWERED_WITHOUT_SOURCE) => Code::Ok,
        _ => Code::NotFound,
    }
}

fn check_words(status: &Status, call: &str, source: &str) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("{call}: {status:?}"));
    assert_eq!(info.domain, "segment-source.dev", "{call}");
    assert!(status.message().len() > 20, "{call}: {status:?}");
    match status.code() {
        Code::Unauthenticated => {
            let reasons = ["TOKEN_MISSING", "TOKEN_UNKNOWN", "ROLE_MISSING"];
            assert!(reasons.contains(&&*info.reason), "{call}: {}", info.reason);
        }
        Code::PermissionDenied => {
            assert_eq!(info.reason, "PERMISSION_DENIED", "{call}");
            assert!(info.metadata.contains_key("right"), "{call}");
            let known = info.metadata.get("source");
            let named = format!("{NAMESPACE}/{source}");
            assert!(known.is_none_or(|known| *known == named), "{call}: {known:?}");
        }
        _ => {}
    }
}

/// A good request of the call about the source.
fn request(call: &str, identity: &str, source: &str, event: &str) -> Bytes {
    let (namespace, name) = (NAMESPACE.to_owned(), source.to_owned());
    let submissions = || match identity {
        "edge" => vec![verified(source)],
        _ => vec![submission(source)],
    };
    if let Some(method) = call.strip_prefix("segmentsource.directory.v1.Directory/") {
        return directory_request(method, SourceName { namespace, name }).into();
    }
    if let Some(request) = operating_request(call, source) {
        return request.into();
    }
    let bytes = match call.rsplit('/').next().unwrap_or_default() {
        "SubmitStream" => {
            SubmitStreamRequest { sequence: 1, submissions: submissions() }.encode_to_vec()
        }
        "Submit" => SubmitRequest { submissions: submissions() }.encode_to_vec(),
        "Consume" => {
            let start = Start { queue: Some(queue_name(source)), credits: 1, ..Start::default() };
            let request = Some(consume_request::Request::Start(start));
            ConsumeRequest { request }.encode_to_vec()
        }
        "Pull" => pull_request(source, 1, Duration::ZERO).encode_to_vec(),
        "Settle" => {
            let outcome = Some(Outcome::Ack(Ack {}));
            let settlement = Settlement { token: vec![1; 24].into(), outcome };
            SettleRequest { settlements: vec![settlement] }.encode_to_vec()
        }
        "ListEvents" => ListEventsRequest { namespace, name, ..Default::default() }.encode_to_vec(),
        "GetEvent" => GetEventRequest { event_id: event.to_owned() }.encode_to_vec(),
        "TailEvents" => TailEventsRequest { namespace, name }.encode_to_vec(),
        "Rehearse" => RehearseRequest { namespace, name, body: "{}".into(), headers: Vec::new() }
            .encode_to_vec(),
        "ServerReflectionInfo" => {
            use tonic_reflection::pb::v1::{
                ServerReflectionRequest, server_reflection_request::MessageRequest,
            };
            let message_request = Some(MessageRequest::ListServices(String::new()));
            ServerReflectionRequest { host: String::new(), message_request }.encode_to_vec()
        }
        // ListSources, Check, Watch: empty.
        _ => Vec::new(),
    };
    bytes.into()
}

/// Of the calls about destinations, and of those that change something.
fn operating_request(call: &str, source: &str) -> Option<Vec<u8>> {
    let (namespace, name) = (NAMESPACE.to_owned(), source.to_owned());
    let destination = "default".to_owned();
    let request = match call.strip_prefix("segmentsource.admin.v1.Admin/")? {
        "ListDestinations" => ListDestinationsRequest { namespace, name }.encode_to_vec(),
        "Hold" => {
            let reason = "tests".to_owned();
            HoldRequest { namespace, name, destination, until: None, reason }.encode_to_vec()
        }
        "Release" => ReleaseRequest { namespace, name, destination }.encode_to_vec(),
        "Replay" => {
            let (what, id) = (Some(What::Events(Events {})), "walk".to_owned());
            ReplayRequest { namespace, name, what, id, ..Default::default() }.encode_to_vec()
        }
        "EraseUser" => {
            EraseUserRequest { namespace, name, user_id: "nobody".into() }.encode_to_vec()
        }
        _ => return None,
    };
    Some(request)
}

fn directory_request(method: &str, source: SourceName) -> Vec<u8> {
    let (source, kind) = (Some(source), Kind::User.into());
    match method {
        "Get" => {
            let key = Key { kind, id: "nobody".into(), ..Key::default() };
            GetRequest { source, key: Some(key) }.encode_to_vec()
        }
        "List" => ListRequest { source, kind, ..ListRequest::default() }.encode_to_vec(),
        _ => WatchRequest { source, ..WatchRequest::default() }.encode_to_vec(),
    }
}

/// Makes a call with one request and says how it went, by its beginning when it would go on.
async fn make(channel: Channel, call: &str, request: tonic::Request<Bytes>) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    soon("the connection", client.ready()).await.expect("the server answers");
    let path: PathAndQuery = format!("/{call}").parse().expect("a path");
    let request = request.map(|message| tokio_stream::iter([message]));
    let answer = match soon(call, client.streaming(request, path, Raw)).await {
        Err(status) if is_of_entry(&status) => return Ok(()),
        answer => answer?,
    };
    if call.ends_with("TailEvents") || call.ends_with("Directory/Watch") {
        // Nothing happens in the log or the directory; it was let in.
        return Ok(());
    }
    let first = match soon(call, answer.into_inner().message()).await {
        Err(status) if is_of_entry(&status) => return Ok(()),
        first => first?,
    };
    if call.ends_with("SubmitStream") {
        let first = SubmitStreamResponse::decode(first.expect("an answer")).expect("a response");
        if let Some(failure) = first.failure {
            assert_eq!(failure.reason(), Reason::PermissionDenied, "{failure:?}");
            return Err(refusal(&failure.message));
        }
    }
    Ok(())
}

/// Only who may read hears that an entry is not there.
fn is_of_entry(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "ENTRY_NOT_FOUND")
}

/// A batch that is refused on a stream, as if it had been a call.
fn refusal(message: &str) -> Status {
    assert!(message.starts_with("submissions[0]: "), "{message}");
    let metadata = std::collections::HashMap::from([("right".to_owned(), "Submit".to_owned())]);
    let details = tonic_types::ErrorDetails::with_error_info(
        "PERMISSION_DENIED",
        "segment-source.dev",
        metadata,
    );
    Status::with_error_details(Code::PermissionDenied, message, details)
}

/// Messages as they are on the wire.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
