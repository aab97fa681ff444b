//! protocol.md §4: users, sessions, and what one session can ask of another.

use serde_json::json;

use crate::support::{Broker, Options, on_both};

#[tokio::test]
async fn a_user_is_listed() {
    on_both(async |transport| {
        let broker = Broker::start(Options::default()).await;
        let mut ann = broker.login(transport, "ann").await;
        let users = ann.ok("core/user/list", json!({})).await;
        assert_eq!(users, json!({"ann": [ann.session_id()]}));
    })
    .await;
}
