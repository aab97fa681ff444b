use jackfield_plugin_api::testing::{Harness, anonymous, anonymous_with};
use serde_json::{Value, json};

use super::*;

fn certificate() -> PeerCertificate {
    PeerCertificate {
        common_name: Some("Ann".into()),
        subject: "CN=Ann,O=Example".into(),
        dns: vec!["a.example.net".into(), "Seven.Devices.example.com".into()],
        email: vec!["ann@example.com".into()],
        uri: vec!["spiffe://example.com/ann".into()],
        ip: vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
        sha256: "0a".repeat(32),
        not_after: Some(4_000_000_000),
    }
}

fn harness(map: &Value) -> Harness {
    Harness::with_config(AuthCertificate, &json!({ "map": map })).unwrap()
}

async fn verdict(map: &Value, login: &Login) -> Verdict {
    harness(map).authenticate(login, &anonymous_with(certificate())).await
}

/// The user that the certificate is, where it is one.
async fn user(map: &Value) -> Option<String> {
    match verdict(map, &Login::default()).await {
        Verdict::Accept(accepted) => Some(accepted.user.to_string()),
        Verdict::Continue => None,
        Verdict::Reject(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn every_part_of_a_certificate_can_name_the_user() {
    for (from, matches, expected) in [
        ("cn", "Ann", Some("Ann")),
        ("cn", "ann", None),
        ("dns", "*.devices.example.com", Some("seven.devices.example.com")),
        ("dns", "*.DEVICES.example.com", Some("seven.devices.example.com")),
        ("email", "*@example.com", Some("ann@example.com")),
        ("uri", "spiffe://example.com/*", Some("spiffe://example.com/ann")),
        ("ip", "10.0.0.*", Some("10.0.0.7")),
        ("ip", "fd00::7", Some("fd00::7")),
        ("ip", "fd00::8", None),
    ] {
        let found = user(&json!([{ "from": from, "matches": matches }])).await;
        assert_eq!(found.as_deref(), expected, "{from} {matches}");
    }
}

#[tokio::test]
async fn a_fingerprint_may_be_written_in_any_way() {
    for matches in ["0a".repeat(32), ["0A"; 32].join(":")] {
        let map = json!([{ "from": "sha256", "matches": matches, "user": "ann" }]);
        assert_eq!(user(&map).await.as_deref(), Some("ann"));
    }
}

#[tokio::test]
async fn the_user_is_made_of_what_matched_and_the_first_entry_decides() {
    let map = json!([
        { "from": "dns", "matches": "*.servers.example.com", "user": "server" },
        { "from": "dns", "matches": "*.devices.*", "user": "device-{1}@{2}" },
        { "from": "cn", "matches": "*", "user": "other" },
    ]);
    assert_eq!(user(&map).await.as_deref(), Some("device-seven@example.com"));
}

#[tokio::test]
async fn the_user_that_a_client_names_must_be_the_one() {
    let map = json!([{ "from": "cn", "matches": "*" }]);
    for (name, fits) in [("Ann", true), ("ann", false), ("bob", false)] {
        let login = Login { user: Some(UserId::new(name).unwrap()), ..Login::default() };
        match verdict(&map, &login).await {
            Verdict::Accept(accepted) => assert!(fits && accepted.user.as_str() == "Ann", "{name}"),
            Verdict::Reject(error) => assert!(!fits && error.is(ErrorCode::Unauthorized), "{name}"),
            Verdict::Continue => panic!("{name}"),
        }
    }
}

#[tokio::test]
async fn a_name_that_is_no_user_is_rejected() {
    for (matches, user) in [("Ann*", "{1}"), ("An*n*", "{2}"), ("Ann", "*")] {
        let map = json!([{ "from": "cn", "matches": matches, "user": user }]);
        let verdict = verdict(&map, &Login::default()).await;
        assert!(matches!(verdict, Verdict::Reject(error) if error.is(ErrorCode::Unauthorized)), "{matches}");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_and_may_what_the_entry_says() {
    let map = json!([{ "from": "cn", "matches": "*", "allow": ["publish:sensors/**"] }]);
    let Verdict::Accept(accepted) = verdict(&map, &Login::default()).await else { panic!("not accepted") };
    assert_eq!(accepted.expires, Some(UNIX_EPOCH + Duration::from_secs(4_000_000_000)));
    assert_eq!(accepted.permissions.unwrap().allow, ["publish:sensors/**".parse().unwrap()]);
    assert!(!accepted.administrator);
}

#[tokio::test]
async fn no_certificate_and_one_that_maps_to_nobody_are_left_to_others() {
    let map = json!([{ "from": "cn", "matches": "*" }]);
    let verdict = harness(&map).authenticate(&Login::default(), &anonymous()).await;
    assert!(matches!(verdict, Verdict::Continue));
    assert_eq!(user(&json!([{ "from": "cn", "matches": "Bob" }])).await, None);
    assert_eq!(user(&json!([])).await, None);
}

#[test]
fn a_configuration_that_makes_no_sense_is_named() {
    let text = |entry: Value| {
        let error = Harness::with_config(AuthCertificate, &json!({ "map": [entry] })).unwrap_err();
        error.text().to_owned()
    };
    let entry = |matches: &str, user: &str| json!({ "from": "cn", "matches": matches, "user": user });
    assert_eq!(text(entry("", "x")), "Invalid value: map.0.matches");
    assert_eq!(text(entry("a**", "x")), "Invalid value: map.0.matches");
    assert_eq!(text(entry("a*", "{2}")), "Invalid value: map.0.user");
    assert_eq!(text(entry("a*", "")), "Invalid value: map.0.user");
    let allow = json!({ "from": "cn", "matches": "a", "allow": ["nothing"] });
    assert_eq!(text(allow), "Invalid value: map.0.allow");
    for entry in [
        json!({ "from": "ou", "matches": "a" }),
        json!({ "from": "cn" }),
        json!({ "from": "cn", "matches": "a", "usr": "b" }),
    ] {
        assert!(text(entry.clone()).contains("map.0"), "{entry}: {}", text(entry.clone()));
    }
}
