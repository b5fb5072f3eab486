//! What is read from each form of a target, and that no error or print shows a password.

use super::{InvalidTarget, Node, Place, StoreAt, Target};

fn node(host: &str, port: u16) -> Node {
    Node { host: host.into(), port }
}

fn target(place: Place) -> Target {
    Target { place, username: None, password: None, tls: false, ca: None, database: 0 }
}

fn single(host: &str, port: u16) -> Target {
    target(Place::Single(node(host, port)))
}

fn check(text: &str, expected: Result<Target, InvalidTarget>) {
    assert_eq!(text.parse::<Target>(), expected, "{text}");
}

#[test]
fn every_form_is_read() {
    let who = |target: Target, user: Option<&str>, password: Option<&str>| Target {
        username: user.map(Into::into),
        password: password.map(Into::into),
        ..target
    };
    check("redis://cache", Ok(single("cache", 6379)));
    check("redis://cache:7000/", Ok(single("cache", 7000)));
    check("redis://10.0.0.1:7000/3", Ok(Target { database: 3, ..single("10.0.0.1", 7000) }));
    check("rediss://cache", Ok(Target { tls: true, ..single("cache", 6379) }));
    check("redis://[::1]:7000", Ok(single("::1", 7000)));
    check("redis://[fd00::1]", Ok(single("fd00::1", 6379)));
    check("redis://:p%40s%2Fs@cache", Ok(who(single("cache", 6379), None, Some("p@s/s"))));
    check("redis://us%3Aer:p:w@cache", Ok(who(single("cache", 6379), Some("us:er"), Some("p:w"))));
    check("redis://user@cache", Ok(who(single("cache", 6379), Some("user"), None)));
    let nodes = vec![node("a", 7000), node("::1", 7001), node("c", 6379)];
    let cluster = target(Place::Cluster(nodes));
    check("redis-cluster://a:7000,[::1]:7001,c", Ok(cluster.clone()));
    check(
        "rediss-cluster://u:p@a:7000,[::1]:7001,c/",
        Ok(Target { tls: true, ..who(cluster, Some("u"), Some("p")) }),
    );
    check("redis-cluster://a", Ok(target(Place::Cluster(vec![node("a", 6379)]))));
    let socket = |path: &str| target(Place::Unix(path.into()));
    check("redis+unix:///run/redis.sock", Ok(socket("/run/redis.sock")));
    check("redis+unix:///run/a%20b@c?db=2", Ok(Target { database: 2, ..socket("/run/a b@c") }));
    check("redis+unix://u:p@/run/r", Ok(who(socket("/run/r"), Some("u"), Some("p"))));
}

#[test]
fn what_cannot_be_says_what_can() {
    let part = |text: &str| text.to_owned();
    check("http://cache", Err(InvalidTarget::Scheme(part("http"))));
    check("redis://", Err(InvalidTarget::NoHost));
    check("redis://u:p@", Err(InvalidTarget::NoHost));
    check("redis-cluster://a,,b", Err(InvalidTarget::NoHost));
    check("redis://cache:0", Err(InvalidTarget::Node(part("cache"))));
    check("redis://u:p@cache:70000", Err(InvalidTarget::Node(part("cache"))));
    check("redis://::1", Err(InvalidTarget::Node(part(""))));
    check("redis://[nonsense]:1", Err(InvalidTarget::Node(part("[nonsense]"))));
    check("redis://a b", Err(InvalidTarget::Node(part("a b"))));
    check("redis://a,b", Err(InvalidTarget::Several));
    check("redis://a/x", Err(InvalidTarget::Database));
    check("redis-cluster://a,b/1", Err(InvalidTarget::ClusterDatabase));
    check("redis://a?db=1", Err(InvalidTarget::Parameters));
    check("redis+unix://run/redis.sock", Err(InvalidTarget::Socket));
    check("redis+unix://:p%FF@/r", Err(InvalidTarget::Encoding("the password")));
}

#[test]
fn a_value_without_a_scheme_is_a_folder() {
    assert_eq!("./data".parse(), Ok(StoreAt::Folder("./data".into())));
    assert_eq!("redis".parse(), Ok(StoreAt::Folder("redis".into())));
    assert_eq!("redis://a".parse(), Ok(StoreAt::Redis(single("a", 6379))));
}

#[test]
fn no_password_is_ever_shown() {
    let texts = [
        "redis://user:hunter2@cache:7000/1",
        "rediss-cluster://:hunter2@a,b",
        "redis+unix://u:hunter2@/r",
    ];
    let shown = texts.map(|text| {
        let target: Target = text.parse().unwrap();
        assert_eq!(target.password(), Some("hunter2"));
        format!("{target} {target:?}")
    });
    let expected = [
        "redis://user@cache:7000/1 Target(redis://user@cache:7000/1, with password)",
        "rediss-cluster://a:6379,b:6379 Target(rediss-cluster://a:6379,b:6379, with password)",
        "redis+unix://u@/r Target(redis+unix://u@/r, with password)",
    ];
    assert_eq!(shown, expected);
    for text in [
        "redis://u:hun/ter2@a",
        "redis://u:hun?ter2@a",
        "redis://u:hun@ter2@a",
        "redis://u:ter2hun/@a:x",
        "redis://u:ter2@a b",
        "redis+unix://u:hun/ter2@/run/r",
        "redis+unix://u:ter2%FF@/run/r",
        "ter2:hunter2@a",
        "redis://u:ter2",
        "redis://u:1/ter2",
        "rediss-cluster://u:ter2@a/9",
    ] {
        let error = match text.parse::<Target>() {
            Err(error) => format!("{error} {error:?}"),
            Ok(target) => panic!("{text}: {target:?}"),
        };
        assert!(!error.contains("ter2") && !error.contains("hun"), "{text}: {error}");
    }
}

#[test]
fn credentials_and_authorities_beside_the_address_are_joined_to_it() {
    let with = |text: &str, user: Option<&str>, password: Option<&str>| {
        let target: Target = text.parse().unwrap();
        target.with_credentials(user.map(Into::into), password.map(Into::into))
    };
    let joined = with("redis://a", Some("u"), Some("p")).unwrap();
    assert_eq!((joined.username(), joined.password()), (Some("u"), Some("p")));
    let joined = with("redis://u@a", None, Some("p")).unwrap();
    assert_eq!((joined.username(), joined.password()), (Some("u"), Some("p")));
    assert_eq!(with("redis://u:p@a", Some("v"), None), Err(InvalidTarget::Twice("user")));
    assert_eq!(with("redis://:p@a", None, Some("q")), Err(InvalidTarget::Twice("password")));
    assert_eq!(with("redis://u@a", None, None), Err(InvalidTarget::NoPassword));

    let key = rcgen::generate_simple_self_signed(vec!["a".into()]).unwrap();
    let pem = key.cert.pem().into_bytes();
    let with_ca = |text: &str, pem: &[u8]| text.parse::<Target>().unwrap().with_ca(pem.to_vec());
    assert_eq!(with_ca("rediss://a", &pem).unwrap().ca(), Some(&*pem));
    assert_eq!(with_ca("redis://a", &pem), Err(InvalidTarget::CaWithoutTls));
    assert_eq!(with_ca("rediss://a", b"nothing"), Err(InvalidTarget::Ca));
}
