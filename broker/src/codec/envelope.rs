use std::borrow::Cow;

use jackfield_plugin_api::{
    Error, ErrorCode,
    json::{Data, JsonText, Scan},
};
use serde::de::IgnoredAny;

/// A transaction id: the JSON text of a number or a string, echoed as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tid(Text);

/// Most ids are small whole numbers, which need no memory of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Number(u64),
    Other(Box<str>),
}

impl Tid {
    fn new(json: &str) -> Self {
        match json.parse::<u64>() {
            // `007` and `+7` are no JSON numbers, so a number's text can be made from it again.
            Ok(number) => Self(Text::Number(number)),
            Err(_) => Self(Text::Other(json.into())),
        }
    }

    /// The JSON text, which may be made in `digits`.
    pub fn text<'a>(&'a self, digits: &'a mut itoa::Buffer) -> &'a str {
        match &self.0 {
            Text::Number(number) => digits.format(*number),
            Text::Other(text) => text,
        }
    }

    /// The number, where it is one of the broker's own.
    pub fn number(&self) -> Option<u64> {
        match &self.0 {
            Text::Number(number) => Some(*number),
            Text::Other(_) => None,
        }
    }
}

/// A message of a client's.
#[derive(Debug)]
pub enum Message<'a> {
    /// A request.
    Request(Envelope<'a>),
    /// The answer to a request of the broker's.
    Reply(Reply<'a>),
    /// Word that the answer to a request of the broker's takes longer.
    Ack(Tid),
}

/// A request, its names borrowed from the message's text.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// Its class.
    pub class: Cow<'a, str>,
    /// Its subclass.
    pub subclass: Cow<'a, str>,
    /// Its command.
    pub cmd: Cow<'a, str>,
    /// Its data.
    pub data: Data<'a>,
    /// Its id.
    pub tid: Tid,
}

impl Envelope<'_> {
    /// Whether this is a request for `core/SUBCLASS/CMD`.
    pub fn is_core(&self, subclass: &str, cmd: &str) -> bool {
        self.class == "core" && self.subclass == subclass && self.cmd == cmd
    }
}

/// An answer to a request of the broker's.
#[derive(Debug)]
pub struct Reply<'a> {
    /// What it answers.
    pub tid: Tid,
    /// Its data, or its error; `invalid_reply` for what is neither.
    pub result: Result<JsonText<'a>, Error>,
}

/// A message that cannot be used.
#[derive(Debug)]
pub struct Malformed {
    /// What is wrong with it.
    pub error: Error,
    /// The id to answer under, where there is one.
    pub tid: Option<Tid>,
    /// Whether the sender does not speak the protocol, so that the connection must be closed.
    pub fatal: bool,
}

impl Malformed {
    /// Text that is no message at all.
    pub fn fatal(error: Error) -> Self {
        Self { error, tid: None, fatal: true }
    }
}

/// Takes a message apart. What lies in `data` is found, not parsed.
///
/// # Errors
/// Whatever protocol §2 calls a bad message.
pub fn parse(text: &str) -> Result<Message<'_>, Malformed> {
    let Some(fields) = Fields::of(text) else { return Err(Malformed::fatal(Error::syntax(describe(text)))) };
    if fields.class.is_some() || fields.cmd.is_some() {
        return fields.into_request().map(Message::Request);
    }
    if fields.result.is_some() {
        return fields.into_reply().map(Message::Reply);
    }
    if let Some(ack) = fields.ack {
        return match tid(ack) {
            Some(tid) => Ok(Message::Ack(tid)),
            None => Err(Malformed { error: Error::syntax("ack"), tid: None, fatal: false }),
        };
    }
    let tid = fields.tid.and_then(tid);
    Err(Malformed { error: Error::syntax("neither request, response nor ack"), tid, fatal: false })
}

/// What is wrong with text that is no message, without quoting it: it may hold a password.
fn describe(text: &str) -> String {
    match serde_json::from_str::<IgnoredAny>(text) {
        Err(error) => format!("not JSON, at line {} column {}", error.line(), error.column()),
        Ok(_) => "not a JSON object".to_owned(),
    }
}

/// The top level of a message.
#[derive(Default)]
struct Fields<'a> {
    class: Option<JsonText<'a>>,
    subclass: Option<JsonText<'a>>,
    cmd: Option<JsonText<'a>>,
    tid: Option<JsonText<'a>>,
    result: Option<JsonText<'a>>,
    ack: Option<JsonText<'a>>,
    data: Option<Data<'a>>,
}

impl<'a> Fields<'a> {
    /// `None` for text that is no JSON object.
    fn of(text: &'a str) -> Option<Self> {
        let (mut fields, mut scan) = (Self::default(), Scan::new(text));
        scan.object(|scan, name| {
            // Of a repeated field the last counts.
            match fields.place(&name) {
                Some(place) => *place = Some(scan.value()?),
                None if name == "data" => fields.data = Some(fields.scan_data(scan)?),
                None => drop(scan.value()?),
            }
            Some(())
        })?;
        scan.is_at_end().then_some(fields)
    }

    /// Nobody looks into the data of an answer.
    fn scan_data(&self, scan: &mut Scan<'a>) -> Option<Data<'a>> {
        if self.result.is_some() { scan.value().map(Data::whole) } else { scan.data() }
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<JsonText<'a>>> {
        Some(match name {
            "class" => &mut self.class,
            "subclass" => &mut self.subclass,
            "cmd" => &mut self.cmd,
            "tid" => &mut self.tid,
            "result" => &mut self.result,
            "ack" => &mut self.ack,
            _ => return None,
        })
    }

    fn into_request(self) -> Result<Envelope<'a>, Malformed> {
        let tid = self.tid.and_then(tid);
        let bad = |error: Error| Malformed { error, tid: tid.clone(), fatal: false };
        if self.tid.is_some() && tid.is_none() {
            return Err(bad(Error::syntax("tid")));
        }
        let class = string("class", self.class).map_err(bad)?;
        let subclass = string("subclass", self.subclass.filter(|raw| raw.as_str() != "null")).map_err(bad)?;
        let cmd = string("cmd", self.cmd).map_err(bad)?;
        let class = class.ok_or_else(|| bad(Error::missing_field("class")))?;
        let cmd = cmd.ok_or_else(|| bad(Error::missing_field("cmd")))?;
        let data = self.data.filter(|data| data.text().as_str() != "null").unwrap_or_default();
        let Some(tid) = tid else { return Err(bad(Error::missing_field("tid"))) };
        Ok(Envelope { class, subclass: subclass.unwrap_or(Cow::Borrowed("core")), cmd, data, tid })
    }

    fn into_reply(self) -> Result<Reply<'a>, Malformed> {
        let Some(raw) = self.tid else {
            return Err(Malformed { error: Error::missing_field("tid"), tid: None, fatal: false });
        };
        let Some(tid) = tid(raw) else {
            return Err(Malformed { error: Error::syntax("tid"), tid: None, fatal: false });
        };
        let invalid = || Error::new(ErrorCode::InvalidReply);
        let data =
            self.data.map(|data| data.text()).filter(|data| data.as_str() != "null").unwrap_or_default();
        let result = match self.result.map(JsonText::as_str) {
            Some("\"ok\"") => Ok(data),
            Some("\"error\"") => Err(Error::verbatim(data.to_json()).unwrap_or_else(invalid)),
            _ => Err(invalid()),
        };
        Ok(Reply { tid, result })
    }
}

fn tid(json: JsonText<'_>) -> Option<Tid> {
    let is_id = matches!(json.as_str().bytes().next(), Some(b'"' | b'-' | b'0'..=b'9'));
    is_id.then(|| Tid::new(json.as_str()))
}

/// A string field.
fn string<'a>(name: &str, json: Option<JsonText<'a>>) -> Result<Option<Cow<'a, str>>, Error> {
    json.map(|json| json.text().ok_or_else(|| Error::syntax(name))).transpose()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn text(tid: &Tid) -> String {
        tid.text(&mut itoa::Buffer::new()).to_owned()
    }

    fn request(text: &str) -> (String, String, String) {
        match parse(text) {
            Ok(Message::Request(it)) => (
                format!("{}/{}/{}", it.class, it.subclass, it.cmd),
                it.data.to_json().as_str().to_owned(),
                self::text(&it.tid),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn malformed(text: &str) -> (String, Option<String>, bool) {
        let Err(it) = parse(text) else { panic!("{text}") };
        (it.error.text().to_owned(), it.tid.as_ref().map(self::text), it.fatal)
    }

    #[test]
    fn requests() {
        let (key, data, tid) =
            request(r#"{"tid": 1e3, "cmd":"b", "x":[{}], "class":"\u0061", "data": {"n" : 1.0}}"#);
        assert_eq!((key.as_str(), data.as_str(), tid.as_str()), ("a/core/b", r#"{"n" : 1.0}"#, "1e3"));
        let (key, data, tid) =
            request(r#"{"class":"a","class":"b","subclass":null,"cmd":"c","data":null,"tid":"\u0041"}"#);
        assert_eq!((key.as_str(), data.as_str(), tid.as_str()), ("b/core/c", "{}", r#""\u0041""#));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error, tid) in [
            (r#"{"class":"a","cmd":"b"}"#, "Missing field: tid", None),
            (r#"{"class":"a","tid":7}"#, "Missing field: cmd", Some("7")),
            (r#"{"cmd":"a","tid":"x"}"#, "Missing field: class", Some("\"x\"")),
            (r#"{"class":1,"cmd":"b","tid":7}"#, "Syntax error: class", Some("7")),
            (r#"{"class":null,"cmd":"b","tid":7}"#, "Syntax error: class", Some("7")),
            (r#"{"class":"a","subclass":[],"cmd":"b","tid":7}"#, "Syntax error: subclass", Some("7")),
            (r#"{"class":"a","cmd":{},"tid":7}"#, "Syntax error: cmd", Some("7")),
            (r#"{"class":"a","cmd":"b","tid":null}"#, "Syntax error: tid", None),
            (r#"{"class":"a","cmd":"b","tid":[1]}"#, "Syntax error: tid", None),
            (r#"{"result":"ok"}"#, "Missing field: tid", None),
            (r#"{"tid":5}"#, "Syntax error: neither request, response nor ack", Some("5")),
            ("{}", "Syntax error: neither request, response nor ack", None),
            (r#"{"ack":null}"#, "Syntax error: ack", None),
        ] {
            assert_eq!(malformed(text), (error.to_owned(), tid.map(str::to_owned), false), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_fatal() {
        for text in ["", " ", "[]", "1", "\"x\"", "null", "{", r#"{"a":1}x"#, r#"{"a":}"#, r#"{"class":"a"#] {
            let (error, tid, fatal) = malformed(text);
            assert!(error.starts_with("Syntax error: not "), "{text}: {error}");
            assert!(tid.is_none() && fatal, "{text}");
        }
    }

    #[test]
    fn replies() {
        let reply = |text: &'static str| match parse(text) {
            Ok(Message::Reply(reply)) => {
                reply.result.map(|data| data.to_json().as_str().to_owned()).map_err(|error| error.code())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(reply(r#"{"result":"ok","tid":1}"#), Ok("{}".into()));
        assert_eq!(reply(r#"{"result":"ok","data":[1e9999],"tid":1}"#), Ok("[1e9999]".into()));
        assert_eq!(reply(r#"{"result":"error","data":{"code":5,"error":"x"},"tid":1}"#), Err(5));
        for bad in
            [r#"{"result":"error","tid":1}"#, r#"{"result":"maybe","tid":1}"#, r#"{"result":1,"tid":1}"#]
        {
            assert_eq!(reply(bad), Err(100_047), "{bad}");
        }
    }

    #[test]
    fn data_may_be_what_means_nothing() {
        for data in [r#"{"\ud800":1}"#, r#"{"a":"\ud800"}"#, "[]", "7"] {
            let message = format!(r#"{{"class":"a","cmd":"b","data":{data},"tid":1}}"#);
            assert_eq!(request(&message).1, data);
        }
    }

    /// What is found must be what the parser finds.
    fn agree(text: &str) {
        let found = Fields::of(text);
        let parsed = serde_json::from_str::<HashMap<String, &RawValue>>(text).ok();
        assert_eq!(found.is_some(), parsed.is_some(), "{text}");
        let (Some(mut found), Some(parsed)) = (found, parsed) else { return };
        for name in ["class", "subclass", "cmd", "tid", "result", "ack"] {
            let found = found.place(name).unwrap().map(JsonText::as_str);
            assert_eq!(found, parsed.get(name).map(|raw| raw.get()), "{text}");
        }
        let data = found.data.map(|data| data.text().as_str());
        assert_eq!(data, parsed.get("data").map(|raw| raw.get()), "{text}");
    }

    #[test]
    fn what_is_found_is_what_the_parser_finds() {
        for text in [
            r#"{"class":"core","subclass":"user","cmd":"login","data":{"user":"ann"},"tid":1}"#,
            r#" { "result" : "ok" , "tid" : 12 , "data" : [ 1 ] } "#,
            r#"{"ack":0}"#,
            "{}",
            r#"{"cl\u0061ss":"\u0061","da\u0074a":1}"#,
            r#"{"tid":01}"#,
            r#"{"tid":1"#,
            r#"{"tid":1}x"#,
            r#"{"tid":1,}"#,
            r#"{"tid" 1}"#,
            r#"{"data":{"a":}}"#,
            "{\"tid\":\"\u{1}\"}",
            "[]",
        ] {
            agree(text);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_found_as_the_parser_finds_it(
            members in proptest::collection::vec(
                (
                    "class|subclass|cmd|data|tid|result|ack|x|[a-z\"\\\\]{0,3}",
                    "null|true|-?[0-9]{1,9}|\"[a-z\\\\u0041é\n]{0,6}\"|\\[\\]|\\{\\}|\\[1, \\{\"a\":2\\}\\]|[\"{}\\[\\],:0-9]{0,4}",
                    "[ \n]{0,2}",
                ),
                0..8,
            ),
            end in "[ }\n]{0,3}",
        ) {
            let members: Vec<_> =
                members.iter().map(|(name, value, space)| format!("{space}\"{name}\"{space}:{value}{space}")).collect();
            agree(&format!("{{{}}}{end}", members.join(",")));
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            drop(parse(&text));
        }

        #[test]
        fn arbitrary_members_never_panic(
            members in proptest::collection::vec(
                ("class|subclass|cmd|data|tid|result|ack|x", "null|true|-?[0-9]{1,30}|\"[a-z\\\\u0041]{0,4}\"|\\[\\]|\\{\\}"),
                0..8,
            ),
        ) {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            drop(parse(&format!("{{{}}}", members.join(","))));
        }

        #[test]
        fn the_tid_is_echoed_exactly(tid in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,10})?([eE][+-]?[0-9]{1,3})?|\"[ a-z{}\\[\\]:,é]{0,20}\"") {
            let message = format!("{{\"class\":\"a\",\"cmd\":\"b\",\"tid\": {tid} }}");
            match parse(&message) {
                Ok(Message::Request(request)) => prop_assert_eq!(text(&request.tid), tid),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
