//! The rules of the configuration file.

use std::fmt::Write as _;

use serde_json::json;

use super::{check, may};
use crate::support::{Broker, Options, Transport, on_both};

/// A rule as it stands in the file: a user, what is allowed, and what is denied.
type Rule<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn config(default_policy: &str, rules: &[Rule<'_>]) -> String {
    let mut text = format!("default_policy = \"{default_policy}\"\n");
    for (user, allow, deny) in rules {
        write!(text, "[[service.main.rule]]\nuser = \"{user}\"\nallow = {allow:?}\ndeny = {deny:?}\n")
            .unwrap();
    }
    text
}

/// A pattern, what is asked for, and whether the pattern reaches it.
type Row<'a> = (&'a str, &'a str, bool);

/// One broker in which each row's pattern is a rule for a user of its own. In `allow`, only what the pattern reaches
/// may be done; in `deny`, only what it does not reach.
async fn check_rows(transport: Transport, allow: &[Row<'_>], deny: &[Row<'_>]) {
    let mut rules = String::from("default_policy = \"deny\"\n");
    let mut asked = Vec::new();
    for (list, rows) in [("allow", allow), ("deny", deny)] {
        for (n, (pattern, ask, reached)) in rows.iter().enumerate() {
            let user = format!("{list}-{n}");
            write!(rules, "[[service.main.rule]]\nuser = \"{user}\"\n{list} = [\"{pattern}\"]\n").unwrap();
            asked.push((user, *ask, *reached == (list == "allow")));
        }
    }
    let rest = r#"["command:**", "subscribe:**", "publish:**"]"#;
    write!(rules, "[[service.main.rule]]\nuser = \"deny-*\"\nallow = {rest}\n").unwrap();
    // What events need beside their topic.
    rules.push_str("[[service.main.rule]]\nuser = \"allow-*\"\nallow = [\"command:core/event/*\"]\n");
    let asked: Vec<_> = asked.iter().map(|(user, ask, expected)| (user.as_str(), *ask, *expected)).collect();
    check(transport, &rules, &asked).await;
}

#[tokio::test]
async fn the_first_that_says_either_decides() {
    on_both(async |transport| {
        let list = "command:core/user/list";
        let (yes, no): (Rule<'_>, Rule<'_>) = (("ann", &[list], &[]), ("*", &[], &[list]));
        let both = [("ann", list, true), ("bob", list, false)];
        check(transport, &config("deny", &[yes, no]), &both).await;
        check(transport, &config("allow", &[yes, no]), &both).await;
        let neither = [("ann", list, false), ("bob", list, false)];
        check(transport, &config("allow", &[no, yes]), &neither).await;
        let silent: Rule<'_> = ("*", &["command:core/user/get"], &["command:fixture/**"]);
        check(transport, &config("deny", &[silent, silent, yes]), &both).await;
    })
    .await;
}

#[tokio::test]
async fn in_one_rule_deny_is_looked_at_first() {
    on_both(async |transport| {
        let rule: Rule<'_> = ("*", &["command:core/**"], &["command:core/user/*"]);
        let later: Rule<'_> = ("*", &["command:core/user/list"], &[]);
        for policy in ["allow", "deny"] {
            check(
                transport,
                &config(policy, &[rule, later]),
                &[
                    ("ann", "command:core/user/list", false),
                    ("ann", "command:core/session/stop", true),
                    ("ann", "command:fixture/core/echo", policy == "allow"),
                ],
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn patterns_are_compared_level_by_level() {
    on_both(async |transport| {
        let rows = [
            ("command:core/user/list", true),
            ("command:core/user/lis", false),
            ("command:core/user/List", false),
            ("command:core/*/list", true),
            ("command:*/*/*", true),
            ("command:*/*", false),
            ("command:core/user", false),
            ("command:core/user/list/*", false),
            ("command:core/user/list*", true),
            ("command:core/u*r/l*t", true),
            ("command:core/u*x*r/list", false),
            ("command:c*/**", true),
            ("command:core/user/**", true),
            ("command:core/**", true),
            ("command:**", true),
            ("command:user/**", false),
            ("subscribe:core/user/list", false),
            ("publish:**", false),
        ];
        let rows = rows.map(|(pattern, reached)| (pattern, "command:core/user/list", reached));
        check_rows(transport, &rows, &rows).await;
    })
    .await;
}

#[tokio::test]
async fn users_are_patterns_too() {
    on_both(async |transport| {
        let list = "command:core/user/list";
        for (pattern, fits, fits_not) in [
            ("ann", "ann", "anna"),
            ("ann", "ann", "Ann"),
            ("*@example.com", "ann@example.com", "ann@example.org"),
            ("ann@*", "ann@example.com", "joann@example.com"),
            ("a*n*@*.com", "adrian@x.y.com", "ann@example.org"),
            ("*", "whoever", "admin-but-not-quite"),
        ] {
            let config = config("deny", &[(pattern, &[list], &[])]);
            check(transport, &config, &[(fits, list, true), (fits_not, list, pattern == "*")]).await;
        }
    })
    .await;
}

/// In `allow`, a level without `*` does not match a request for `*` there.
const ALLOWED: [Row<'_>; 14] = [
    ("media/session/**", "media/session/hangup/1", true),
    ("media/session/**", "media/session/*/*", true),
    ("media/session/**", "media/*/*/*", false),
    ("media/session/**", "media/*/hangup/1", false),
    ("media/session/*/*", "media/session/*/*", true),
    ("media/session/*/1", "media/session/*/1", true),
    ("media/session/*/1", "media/session/*/*", false),
    ("media/s*/**", "media/*/*/*", false),
    ("media/*/hangup/*", "media/*/hangup/*", true),
    ("media/*/hangup/*", "media/*/*/*", false),
    ("media/*/*/*", "media/*/*/*", true),
    ("media/**", "media/*/*/*", true),
    ("media/*", "media/*/*/*", false),
    ("**", "media/a/b/c", true),
];

/// In `deny` it does, for the request would reach what is denied.
const DENIED: [Row<'_>; 12] = [
    ("media/secret/**", "media/secret/a/b", true),
    ("media/secret/**", "media/secret/*/*", true),
    ("media/secret/**", "media/*/*/*", true),
    ("media/secret/**", "media/*/a/b", true),
    ("media/secret/**", "media/open/a/b", false),
    ("media/secret/**", "media/open/*/*", false),
    ("media/secret/**", "other/*/*/*", false),
    ("media/s*/x/**", "media/*/*/*", true),
    ("media/s*/x/**", "media/*/y/*", false),
    ("media/*/*/1", "media/*/*/*", true),
    ("media/*/*/1", "media/a/b/2", false),
    ("media/*/*/1", "media/a/b/1", true),
];

fn of_action(action: &str, rows: &[Row<'_>]) -> Vec<(String, String, bool)> {
    let of_action = |text: &str| format!("{action}:{text}");
    rows.iter().map(|(pattern, ask, reached)| (of_action(pattern), of_action(ask), *reached)).collect()
}

fn as_rows(rows: &[(String, String, bool)]) -> Vec<Row<'_>> {
    rows.iter().map(|(pattern, ask, reached)| (pattern.as_str(), ask.as_str(), *reached)).collect()
}

#[tokio::test]
async fn a_request_for_all_needs_a_pattern_for_all_and_meets_every_denial() {
    on_both(async |transport| {
        for action in ["subscribe", "publish"] {
            let (allow, deny) = (of_action(action, &ALLOWED), of_action(action, &DENIED));
            check_rows(transport, &as_rows(&allow), &as_rows(&deny)).await;
        }
    })
    .await;
}

/// Each level is compared with its own field: a `/` in a value is a character like others.
#[tokio::test]
async fn a_slash_in_a_value_makes_no_level() {
    on_both(async |transport| {
        let rows = [
            ("subscribe:media/secret/**", "media/secret", "x", false),
            ("subscribe:media/**", "media/secret", "x", false),
            ("subscribe:media*/**", "media/secret", "x", true),
            ("subscribe:media/*/**", "media", "a/b", true),
            ("subscribe:media/a/b/**", "media", "a/b", false),
            ("subscribe:*/x/**", "media/secret", "x", true),
        ];
        let allow = rows.map(|(pattern, ..)| ["command:**", pattern]);
        let users: Vec<String> = (0..rows.len()).map(|n| format!("user-{n}")).collect();
        let rules: Vec<Rule<'_>> =
            users.iter().zip(&allow).map(|(user, allow)| (user.as_str(), &allow[..], &[][..])).collect();
        let broker = Broker::start(Options::default().config(&config("deny", &rules))).await;
        for (user, (pattern, class, subclass, expected)) in users.iter().zip(rows) {
            let mut client = broker.login(transport, user).await;
            let data = json!({"class": class, "subclass": subclass});
            let answer = client.request("core/event/subscribe", data).await;
            assert_eq!(answer["result"] == "ok", expected, "{pattern} {class} {subclass}: {answer}");
        }
    })
    .await;
}

/// A command's permission and its topic's are two; both are needed.
#[tokio::test]
async fn both_the_command_and_the_topic_must_be_allowed() {
    on_both(async |transport| {
        for (allow, subscribe, publish) in [
            (vec!["command:core/event/*"], false, false),
            (vec!["subscribe:**", "publish:**"], false, false),
            (vec!["command:core/event/subscribe", "subscribe:a/**", "publish:a/**"], true, false),
            (vec!["command:core/event/*", "publish:a/**"], false, true),
        ] {
            let asked = [("ann", "subscribe:a/*/*/*", subscribe), ("ann", "publish:a/*/*/*", publish)];
            check(transport, &config("deny", &[("*", &allow, &[])]), &asked).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wildcard_command_is_asked_for_by_its_own_name() {
    on_both(async |transport| {
        let rule: Rule<'_> = ("*", &["command:fixture-wild/sub/**"], &["command:fixture-wild/sub/no*"]);
        check(
            transport,
            &config("deny", &[rule]),
            &[
                ("ann", "command:fixture-wild/sub/exact", true),
                ("ann", "command:fixture-wild/sub/any", true),
                ("ann", "command:fixture-wild/sub/nothing", false),
                ("ann", "command:fixture-wild/other/any", false),
                ("ann", "command:fixture-wild/sub/*", false),
            ],
        )
        .await;
    })
    .await;
}

/// The authenticator's permissions hold where no rule decides; what they do not cover is denied.
#[tokio::test]
async fn rules_come_before_the_authenticators_permissions() {
    on_both(async |transport| {
        let asked = [
            "command:fixture/core/echo",
            "subscribe:news/a/b/c",
            "command:core/user/list",
            "subscribe:a/*/*/*",
        ];
        let rule: Rule<'_> = ("limited", &["command:core/user/list"], &["command:fixture/core/echo"]);
        for (rules, expected) in
            [(vec![], [true, true, false, false]), (vec![rule], [false, true, true, false])]
        {
            let options = Options::fixture().config(&config("allow", &rules));
            let broker = Broker::start(options).await;
            let mut client = broker.connect(transport).await;
            client.login_with(json!({"token": "limited"})).await;
            for (ask, expected) in asked.iter().zip(expected) {
                assert_eq!(may(&mut client, ask).await, expected, "{ask}");
            }
        }
    })
    .await;
}
