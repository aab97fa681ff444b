//! How events find their way, as simply as it can be said.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The fields of an event or a subscription, in the order of [`FIELDS`]; `None` stands for `"*"` or nothing.
pub type Topic = [Option<&'static str>; 4];

/// Their names.
pub const FIELDS: [&str; 4] = ["class", "subclass", "type", "obj_id"];

/// One session's subscriptions, each with its body.
pub type Subscriptions = BTreeMap<Topic, Value>;

/// A topic as it is sent: what is absent is left out, or where `stars` says so written `"*"`.
pub fn data(topic: &Topic, stars: bool) -> Value {
    let star = stars.then_some("*");
    let fields = FIELDS.iter().zip(topic).filter_map(|(&name, &field)| Some((name, field.or(star)?)));
    fields.map(|(name, value)| (name.to_string(), json!(value))).collect::<Map<_, _>>().into()
}

/// A topic as it is subscribed to, which always names a class.
pub fn subscription(topic: &Topic, stars: bool) -> Value {
    let mut data = data(topic, stars);
    data["class"] = json!(topic[0].unwrap_or("*"));
    data
}

pub fn matches(subscription: &Topic, event: &Topic) -> bool {
    subscription.iter().zip(event).all(|(wanted, found)| wanted.is_none() || wanted == found)
}

/// The greater, the more specific.
pub fn rank(subscription: &Topic) -> (usize, [bool; 4]) {
    let [class, subclass, kind, obj_id] = subscription.map(|field| field.is_some());
    let count = subscription.iter().flatten().count();
    (count, [obj_id, kind, subclass, class])
}

pub fn is_empty(body: &Value) -> bool {
    body.is_null() || *body == json!({})
}

pub fn merge(event: &Value, subscription: &Value) -> Value {
    if is_empty(event) {
        return subscription.clone();
    }
    let (Some(winning), Some(base)) = (event.as_object(), subscription.as_object()) else {
        return event.clone();
    };
    let mut merged = base.clone();
    merged.extend(winning.clone());
    merged.into()
}

/// The data that a session with these subscriptions gets of an event, if any.
pub fn delivered(subscriptions: &Subscriptions, event: &Topic, body: &Value) -> Option<Value> {
    let matching = subscriptions.iter().filter(|(topic, _)| matches(topic, event));
    let (_, own) = matching.max_by_key(|(topic, _)| rank(topic))?;
    let mut frame = data(event, false);
    let merged = merge(body, own);
    if !is_empty(&merged) {
        frame["body"] = merged;
    }
    Some(frame)
}
