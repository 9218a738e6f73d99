//! A body as JSON, read within bounds: how deep, how many values, and no name twice in an object.
//!
//! Whoever parses a body after us may take the first of two values of one name where we take the last, so such a body is
//! refused. Values are found by pointer (RFC 6901): `/items/0/price`.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What a body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Objects and arrays within each other.
    pub depth: usize,
    /// Values of all kinds, objects and arrays included.
    pub items: usize,
}

/// A body that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    root: Value,
    depth: usize,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is no JSON, or has a name twice.
    NoJson,
    /// It is deeper, or has more values, than it may.
    BeyondShape,
}

impl Document {
    /// Reads a body of this shape.
    pub fn parse(bytes: &[u8], shape: Shape) -> Result<Self, BodyFault> {
        let count = Count { left: Cell::new(shape.items), deepest: Cell::new(0), beyond: Cell::new(false) };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let parsed = Seed { count: &count, depth: 0, most: shape.depth }.deserialize(&mut json);
        match parsed.and_then(|root| json.end().map(|()| root)) {
            Ok(root) => Ok(Self { root, depth: count.deepest.get() }),
            Err(_) if count.beyond.get() => Err(BodyFault::BeyondShape),
            Err(_) => Err(BodyFault::NoJson),
        }
    }

    /// What it is: `object`, `array`, `string`, `number`, `bool` or `null`.
    pub fn kind(&self) -> &'static str {
        match &self.root {
            Value::Object(_) => "object",
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            Value::Null => "null",
        }
    }

    /// How deep objects and arrays are within each other; 0 for a plain value.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The value at a pointer; the empty one is the whole.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.root.pointer(pointer)
    }
}

/// What was counted so far.
struct Count {
    left: Cell<usize>,
    deepest: Cell<usize>,
    beyond: Cell<bool>,
}

/// Reads one value.
struct Seed<'a> {
    count: &'a Count,
    /// Objects and arrays around it.
    depth: usize,
    most: usize,
}

impl Seed<'_> {
    fn take<E: Error>(&self) -> Result<(), E> {
        match self.count.left.get().checked_sub(1) {
            Some(left) => {
                self.count.left.set(left);
                Ok(())
            }
            None => Err(self.beyond()),
        }
    }

    fn inner<E: Error>(&self) -> Result<Seed<'_>, E> {
        let depth = self.depth + 1;
        if depth > self.most {
            return Err(self.beyond());
        }
        self.count.deepest.set(self.count.deepest.get().max(depth));
        Ok(Seed { count: self.count, depth, most: self.most })
    }

    fn beyond<E: Error>(&self) -> E {
        self.count.beyond.set(true);
        E::custom("beyond its shape")
    }

    fn again(&self) -> Seed<'_> {
        Seed { count: self.count, depth: self.depth, most: self.most }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let (inner, mut values) = (self.inner()?, Vec::new());
        while let Some(value) = list.next_element_seed(inner.again())? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (inner, mut values) = (self.inner()?, Map::new());
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(inner.again())?;
            if values.insert(name, value).is_some() {
                return Err(A::Error::custom("a name twice"));
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: Shape = Shape { depth: 3, items: 6 };

    fn parse(text: &str) -> Result<Document, BodyFault> {
        Document::parse(text.as_bytes(), SHAPE)
    }

    #[test]
    fn values_are_found_by_pointer() {
        let document = parse(r#"{"a": {"b": [1, "x"]}, "c/d": true}"#).unwrap();
        assert_eq!((document.kind(), document.depth()), ("object", 3));
        let at = |pointer: &str| document.at(pointer).map(ToString::to_string).unwrap_or_default();
        assert_eq!([at("/a/b/0"), at("/a/b/1"), at("/c~1d")], ["1", "\"x\"", "true"]);
        assert_eq!([at("/a/b/2"), at("/a/b/01"), at("a"), at("/")], [""; 4]);
        assert_eq!(parse("5").unwrap().at("").map(ToString::to_string).as_deref(), Some("5"));
        assert_eq!((parse("null").unwrap().kind(), parse("5").unwrap().depth()), ("null", 0));
    }

    #[test]
    fn what_is_deeper_or_more_than_it_may_is_refused() {
        assert!(parse("[[[1]]]").is_ok() && parse("[1,2,3,4,5]").is_ok());
        for text in ["[[[[1]]]]", "[1,2,3,4,5,6]", &"[".repeat(60_000), &"{\"a\":".repeat(10_000)] {
            assert_eq!(parse(text), Err(BodyFault::BeyondShape), "{}", &text[..8]);
        }
    }

    #[test]
    fn what_is_no_json_or_can_be_read_in_two_ways_is_refused() {
        for text in ["", "{", "nul", "{\"a\":1,\"a\":2}", "[1,]", "1 2", "\u{feff}{}", "'a'", "NaN", "1e999"]
        {
            assert_eq!(parse(text), Err(BodyFault::NoJson), "{text}");
        }
        assert_eq!(Document::parse(b"\"\xff\"", SHAPE), Err(BodyFault::NoJson));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_serde_json_reads(text in "[\\[\\]{}:,\"a1 .-]{0,24}") {
            let ours = Document::parse(text.as_bytes(), Shape { depth: 64, items: 1000 });
            let theirs = serde_json::from_str::<Value>(&text);
            match (ours, theirs) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.root, theirs),
                (Err(_), Ok(_)) => prop_assert!(text.contains('{'), "only for a name twice"),
                (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
                (Err(_), Err(_)) => {}
            }
        }
    }
}
