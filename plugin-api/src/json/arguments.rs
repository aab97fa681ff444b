use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, Visitor, value::BorrowedStrDeserializer},
    forward_to_deserialize_any,
};
use serde_json::{Error, de::StrRead};

use super::{
    JsonText, RawJson,
    data::{self, Data},
    push_string,
};
use crate::error;

/// By this name [`RawJson`] asks for a value's text as it stands there.
pub(super) const RAW: &str = "$jackfield::RawJson";

/// Data that a command's schema allows, on its way to the handler, and still where it was received: what a handler only
/// passes on, or does not look at, is not parsed.
///
/// ```
/// use jackfield_plugin_api::{RawJson, json::{Arguments, Data}};
///
/// #[derive(serde::Deserialize)]
/// struct Greet {
///     name: String,
/// }
///
/// let json = RawJson::from_text(r#"{"name": "ann"}"#)?;
/// let data = Data::from(&json);
/// assert_eq!(Arguments::from(&data).read::<Greet>()?.name, "ann");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Arguments<'a> {
    text: JsonText<'a>,
    fields: Fields<'a>,
}

#[derive(Clone, Debug)]
enum Fields<'a> {
    /// It is no object.
    None,
    Given(&'a [data::Field<'a>]),
    /// Others than were given: defaults are filled in, what does not count is left out.
    Filled(Filled<'a>),
}

pub(crate) type Filled<'a> = Vec<(&'a str, JsonText<'a>)>;

impl<'a> From<&'a Data<'_>> for Arguments<'a> {
    fn from(data: &'a Data<'_>) -> Self {
        Self { text: data.text(), fields: data.fields().map_or(Fields::None, Fields::Given) }
    }
}

impl<'a> Arguments<'a> {
    /// An object with these fields, made of that text.
    #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "a schema's defaults are filled in"))]
    pub(crate) fn filled(fields: Filled<'a>, text: JsonText<'a>) -> Self {
        Self { text, fields: Fields::Filled(fields) }
    }

    /// The same in memory of its own.
    pub fn to_json(&self) -> RawJson {
        let Fields::Filled(fields) = &self.fields else { return self.text.to_json() };
        let mut text = String::with_capacity(self.text.as_str().len() + 64);
        text.push('{');
        for (name, value) in fields {
            if text.len() > 1 {
                text.push(',');
            }
            push_string(&mut text, name);
            text.push(':');
            text.push_str(value.as_str());
        }
        text.push('}');
        // The values are as they were received, be it on several lines.
        JsonText::of_any(&text).to_json()
    }

    /// Reads them into a type.
    ///
    /// # Errors
    /// `missing_field` or `invalid_value`, naming the field, for what the schema let pass and the type does not take.
    pub fn read<A: DeserializeOwned>(&self) -> error::Result<A> {
        let read = match &self.fields {
            Fields::None => None,
            Fields::Given(fields) => {
                A::deserialize(Object(fields.iter().map(|(name, value)| (&**name, *value)))).ok()
            }
            Fields::Filled(fields) => A::deserialize(Object(fields.iter().copied())).ok(),
        };
        read.map_or_else(|| parse(&self.to_json()), Ok)
    }
}

/// What is not read field by field is parsed, and in the end it is the parser who says what is wrong.
fn parse<A: DeserializeOwned>(json: &RawJson) -> error::Result<A> {
    json.parse().or_else(|_| {
        // Once more, now keeping track of where: only failures pay for it.
        let mut deserializer = serde_json::Deserializer::from_str(json.as_str());
        serde_path_to_error::deserialize::<_, A>(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let named = if path == "." { "data" } else { path.as_str() };
            error::Error::invalid_value(named).with_source(error.into_inner())
        })
    })
}

/// An object's fields, for types that ask for such.
struct Object<I>(I);

/// Says of types that they are not read here.
macro_rules! left_to_the_parser {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* _: V) -> Result<V::Value, Self::Error> {
            Err(Error::custom("not read field by field"))
        }
    )*};
}

impl<'de, I: Iterator<Item = (&'de str, JsonText<'de>)>> Deserializer<'de> for Object<I> {
    type Error = Error;

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut entries = Entries { fields: self.0, value: None };
        let read = visitor.visit_map(&mut entries)?;
        match (entries.value, entries.fields.next()) {
            (None, None) => Ok(read),
            _ => Err(Error::custom("more fields than were read")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    left_to_the_parser! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64()
        deserialize_u128() deserialize_f32() deserialize_f64() deserialize_char() deserialize_str()
        deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_option() deserialize_unit()
        deserialize_unit_struct(_name: &'static str) deserialize_newtype_struct(_name: &'static str)
        deserialize_seq() deserialize_tuple(_len: usize)
        deserialize_tuple_struct(_name: &'static str, _len: usize)
        deserialize_enum(_name: &'static str, _variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }
}

struct Entries<'de, I> {
    fields: I,
    value: Option<JsonText<'de>>,
}

impl<'de, I: Iterator<Item = (&'de str, JsonText<'de>)>> MapAccess<'de> for &mut Entries<'de, I> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(Name(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value without a name"))?;
        seed.deserialize(Value(value))
    }
}

/// A field's name. What is no string or choice of names to its type is the parser's.
struct Name<'a>(&'a str);

impl<'de> Deserializer<'de> for Name<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not read as a name"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A field's value. Strings without escapes, and what is passed on, are not parsed: the text is known to be valid.
struct Value<'a>(JsonText<'a>);

impl<'de> Value<'de> {
    fn parse<T>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<StrRead<'de>>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut parser = serde_json::Deserializer::from_str(self.0.as_str());
        let value = read(&mut parser)?;
        parser.end().map(|()| value)
    }
}

macro_rules! parsed {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.parse(|parser| parser.$method($($name,)* visitor))
        }
    )*};
}

macro_rules! strings {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            match self.0.plain_string() {
                Some(text) => visitor.visit_borrowed_str(text),
                None => self.parse(|parser| parser.$method(visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match name {
            RAW => visitor.visit_borrowed_str(self.0.as_str()),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    strings! { deserialize_any deserialize_str deserialize_string deserialize_identifier }

    parsed! {
        deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128() deserialize_f32()
        deserialize_f64() deserialize_char() deserialize_bytes() deserialize_byte_buf() deserialize_unit()
        deserialize_unit_struct(name: &'static str) deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize) deserialize_map()
        deserialize_struct(name: &'static str, fields: &'static [&'static str])
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use super::{super::Scan, *};
    use crate::{EventMode, RawObject, SessionId};
    use proptest::prelude::*;
    use serde::Deserialize;

    fn read<T: DeserializeOwned>(text: &str) -> error::Result<T> {
        Arguments::from(&Data::from(&RawJson::from_text(text.to_owned()).unwrap())).read()
    }

    /// Only what is read field by field.
    fn read_fields<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
        let json = RawJson::from_text(text.to_owned()).unwrap();
        let data = Data::from(&json);
        T::deserialize(Object(data.fields().unwrap().iter().map(|(name, value)| (&**name, *value))))
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        name: String,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Newtype(u8);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
        Raw(RawJson),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Args {
        string: Option<String>,
        character: Option<char>,
        id: Option<SessionId>,
        mode: Option<EventMode>,
        newtype: Option<Newtype>,
        number: Option<f64>,
        list: Option<Vec<String>>,
        tuple: Option<(u8, String)>,
        unit: Option<()>,
        inner: Option<Strict>,
        map: Option<BTreeMap<String, i32>>,
        any: Option<serde_json::Value>,
        raw: Option<RawJson>,
        object: Option<RawObject>,
        either: Option<Either>,
        #[serde(default)]
        defaulted: RawJson,
    }

    #[test]
    fn what_is_passed_on_keeps_its_text() {
        let args: Args = read(
            r#"{"raw": {"n": 1.50,"s":"\u0041"}, "object": {"b" : 1e999, "a":[ ]}, "defaulted":"\/", "x":[1]}"#,
        )
        .unwrap();
        assert_eq!(args.raw.unwrap().as_str(), r#"{"n": 1.50,"s":"\u0041"}"#);
        assert_eq!(args.object.unwrap().get("b").unwrap().as_str(), "1e999");
        assert_eq!(args.defaulted.as_str(), r#""\/""#);
        assert!(read::<Args>("{}").unwrap().defaulted.is_empty());
    }

    #[test]
    fn repeated_and_unknown_fields_are_the_types_to_judge() {
        assert_eq!(read::<Strict>(r#"{"name":"a"}"#).unwrap().name, "a");
        for bad in [r#"{"name":"a","name":"b"}"#, r#"{"name":"a","x":1}"#, "{}", "[]", r#"{"name":null}"#] {
            assert!(read::<Strict>(bad).is_err(), "{bad}");
        }
        assert_eq!(read::<Strict>(r#"["a"]"#).unwrap().name, "a");
        assert_eq!(read::<Strict>(r#"{"n\u0061me":"\u0041\n"}"#).unwrap().name, "A\n");
    }

    #[test]
    fn other_types_are_the_parsers() {
        assert_eq!(read::<u8>("7").unwrap(), 7);
        assert_eq!(read::<BTreeMap<u8, u8>>(r#"{"1":2}"#).unwrap()[&1], 2);
        assert_eq!(read::<RawJson>(r#"{"a": 1.0}"#).unwrap().as_str(), r#"{"a": 1.0}"#);
        assert_eq!(read::<serde_json::Value>(r#"{"a":"b"}"#).unwrap()["a"], "b");
    }

    #[test]
    fn what_is_filled_in_is_on_one_line() {
        let mut scan = Scan::new("{\"x\":[\n{\"tid\":5}\r\n]}");
        let data = scan.data().unwrap();
        let (_, value) = &data.fields().unwrap()[0];
        let filled = Arguments::filled(vec![("d", JsonText::of_any("1")), ("x", *value)], data.text());
        assert_eq!(filled.to_json().as_str(), r#"{"d":1,"x":[ {"tid":5}  ]}"#);
        let raw: BTreeMap<String, RawJson> = filled.read().unwrap();
        assert_eq!(raw["x"].as_str(), r#"[ {"tid":5}  ]"#);
    }

    #[test]
    fn numbers_are_read_to_their_end() {
        #[derive(Debug, Deserialize)]
        struct Wide {
            _n: u128,
        }
        for bad in ["1.5", "2e1", "1e999"] {
            assert!(read::<Wide>(&format!(r#"{{"_n":{bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_what_the_parser_makes_of_them() {
        #[derive(PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
        struct Id(String);

        #[derive(PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
        enum Kind {
            A,
        }

        assert!(read::<BTreeMap<Id, u8>>(r#"{"a b":1}"#).unwrap().contains_key(&Id("a b".into())));
        assert!(read::<BTreeMap<Kind, u8>>(r#"{"A":1}"#).unwrap().contains_key(&Kind::A));
        assert!(read::<BTreeMap<Option<String>, u8>>(r#"{"a":1}"#).unwrap().contains_key(&Some("a".into())));
        let raw = read::<HashMap<RawJson, u8>>(r#"{"a b":1}"#).unwrap();
        assert_eq!(raw.keys().next().unwrap().as_str(), r#""a b""#);
    }

    #[test]
    fn who_reads_the_first_field_alone_has_not_read_them() {
        struct First;

        impl<'de> Deserialize<'de> for First {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FirstVisitor;

                impl<'de> Visitor<'de> for FirstVisitor {
                    type Value = First;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<First, M::Error> {
                        map.next_entry::<String, u8>().map(|_| First)
                    }
                }

                deserializer.deserialize_map(FirstVisitor)
            }
        }

        assert!(read::<First>(r#"{"a":1}"#).is_ok());
        assert!(read::<First>(r#"{"a":1,"b":2}"#).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn it_reads_what_the_parser_reads(
            fields in proptest::collection::btree_map(
                "string|character|id|mode|newtype|number|list|tuple|unit|inner|map|any|raw|object|either|defaulted|x",
                "null|-?[1-9][0-9]{0,3}|0|[0-9]\\.5|\"[a-zé]{0,5}\"|\"\\\\u00e9\"|\"ack\"|\\[\\]|\\[\"a\"\\]|\\[1,\"a\"\\]|\\{\\}|\\{\"name\":\"b\"\\}|\\{\"a\": 1 \\}",
                0..8,
            ),
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\" : {value}")).collect();
            let text = format!(" {{{}}}", fields.join(","));
            match (read_fields::<Args>(&text), serde_json::from_str::<Args>(&text)) {
                (Ok(read), Ok(parsed)) => prop_assert_eq!(read, parsed),
                (read, parsed) => prop_assert_eq!(read.is_ok(), parsed.is_ok(), "{}", text),
            }
        }
    }
}
