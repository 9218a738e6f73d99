//! The inputs of one judgement: exactly the signals that the loaded policy names, read once.
//!
//! [`Needs`] is found when scripts are checked. A [`RequestContext`] holds one value for each need, borrowed from the
//! request where it can be; it is all that a judgement depends on, and turns into JSON and back without loss.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Facts, Name, Root, Signal, Value, Vocabulary};

/// One signal with its argument, as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    signal: usize,
    argument: String,
}

/// The signals of one root that a policy names.
#[derive(Clone)]
pub struct Needs {
    signals: Vec<Signal>,
    keys: Vec<Key>,
    /// What the arguments of the keys name.
    names: Vec<Name>,
    /// For each key its name as a JSON member: `"geo.country":`.
    members: Vec<Box<[u8]>>,
    /// For each signal of the vocabulary the range of `keys` that name it.
    ranges: Vec<(usize, usize)>,
}

/// The values of all needed signals for one request.
#[derive(Clone)]
pub struct RequestContext<'a> {
    needs: Arc<Needs>,
    values: Vec<Value<'a>>,
    /// What is kept and shown of some values instead, by slot, in order.
    masks: Vec<(usize, Value<'a>)>,
}

impl Key {
    /// The signal at this position of the vocabulary, with its argument (empty if it has none, `*` for all).
    pub fn new(signal: usize, argument: impl Into<String>) -> Self {
        Self { signal, argument: argument.into() }
    }

    /// What the argument names; `*` for "all there are".
    pub fn argument(&self) -> &str {
        &self.argument
    }
}

impl Needs {
    /// The needs of a policy; keys of another root than `root` are left out.
    pub fn new(vocabulary: &Vocabulary, root: Root, keys: impl IntoIterator<Item = Key>) -> Self {
        let signals = vocabulary.signals().to_vec();
        let belongs = |key: &Key| signals.get(key.signal).is_some_and(|signal| signal.root == root);
        let mut keys: Vec<Key> = keys.into_iter().filter(belongs).collect();
        keys.sort();
        keys.dedup();
        let range = |index: usize| {
            let start = keys.partition_point(|key| key.signal < index);
            (start, keys.partition_point(|key| key.signal <= index))
        };
        let ranges = (0..signals.len()).map(range).collect();
        let argument = |key: &Key| signals.get(key.signal).and_then(|signal| signal.argument);
        let names = keys.iter().map(|key| Name::new(argument(key), &key.argument)).collect();
        let named = Self { signals, keys, names, members: Vec::new(), ranges };
        let members = named.names().map(|name| member(&name)).collect();
        Self { members, ..named }
    }

    /// Each need as scripts would write it, in order: `geo.country`, `header(user-agent)`.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.keys.iter().map(|key| Named { needs: self, key }.to_string())
    }

    /// The position of a request signal in the vocabulary that these needs were made from; past its end if there is
    /// no such signal.
    pub fn position(&self, name: &str) -> usize {
        let named = |signal: &Signal| signal.root == Root::Request && signal.name == name;
        self.signals.iter().position(named).unwrap_or(usize::MAX)
    }

    /// Whether any need has this signal, whatever the argument.
    pub fn uses(&self, root: Root, name: &str) -> bool {
        let named =
            |key: &Key| self.signals.get(key.signal).is_some_and(|s| s.root == root && s.name == name);
        self.keys.iter().any(named)
    }

    /// Where a context keeps the value of a signal with an argument; `None` if it is no need.
    pub fn slot(&self, signal: usize, argument: &str) -> Option<usize> {
        let (start, end) = *self.ranges.get(signal)?;
        let at = self.keys.get(start..end)?.iter().position(|key| key.argument == argument)?;
        Some(start + at)
    }

    /// For each slot whether it answers for one of these keys. Who asks for a table may be answered from any slot of
    /// that signal.
    pub fn slots_of(&self, keys: &BTreeSet<&Key>) -> Box<[bool]> {
        let table = |key: &Key| keys.contains(&Key::new(key.signal, "*"));
        self.keys.iter().map(|key| keys.contains(key) || table(key)).collect()
    }

    /// Reads every need.
    pub fn read<'a>(self: &Arc<Self>, facts: &Facts<'a>) -> RequestContext<'a> {
        let (mut values, mut masks) = (Vec::with_capacity(self.keys.len()), Vec::new());
        for (key, name) in self.keys.iter().zip(&self.names) {
            let Some(signal) = self.signals.get(key.signal) else { continue };
            if let Some(recorded) = signal.recorded {
                masks.push((values.len(), recorded(facts, name)));
            }
            values.push((signal.read)(facts, name));
        }
        RequestContext { needs: Arc::clone(self), values, masks }
    }

    /// Reads every need from a recorded `signals` object. A need that was not recorded, because the policy of
    /// that time did not name it, is empty and returned by name.
    pub fn read_recorded(
        self: &Arc<Self>,
        recorded: &serde_json::Map<String, serde_json::Value>,
    ) -> (RequestContext<'static>, Vec<String>) {
        let mut missing = Vec::new();
        let values = self.keys.iter().filter_map(|key| {
            let signal = self.signals.get(key.signal)?;
            let name = Named { needs: self, key }.to_string();
            Some(recorded.get(&name).and_then(|json| signal.kind.from_json(json)).unwrap_or_else(|| {
                missing.push(name);
                signal.kind.empty()
            }))
        });
        let values = values.collect();
        (RequestContext { needs: Arc::clone(self), values, masks: Vec::new() }, missing)
    }
}

impl<'a> RequestContext<'a> {
    /// The value of a signal, by its position in the vocabulary and its argument. `None` if the policy does
    /// not name it; an argument that only a table can know reads from the table.
    pub fn value(&self, signal: usize, argument: &str) -> Option<Value<'_>> {
        let (start, end) = *self.needs.ranges.get(signal)?;
        let keys = self.needs.keys.get(start..end)?;
        if let Some(at) = keys.iter().position(|key| key.argument == argument) {
            return self.values.get(start + at).map(Value::borrowed);
        }
        // A table, whose key `*` sorts before every name.
        let Some(Value::Table(table)) = self.values.get(start).filter(|_| !keys.is_empty()) else {
            return None;
        };
        let empty = || self.needs.signals.get(signal).map(|signal| signal.kind.empty());
        table.get(argument).map(Value::borrowed).or_else(empty)
    }

    /// The values by slot; see [`Needs::slot`].
    pub fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// The values as they are kept and shown.
    fn recorded(&self) -> impl Iterator<Item = &Value<'a>> {
        let mut masks = self.masks.iter().peekable();
        self.values.iter().enumerate().map(move |(slot, value)| {
            masks.next_if(|(masked, _)| *masked == slot).map_or(value, |(_, mask)| mask)
        })
    }

    /// The values of these keys by their names, in order; keys of another root are passed over.
    pub fn of<'b>(&'b self, keys: &'b BTreeSet<Key>) -> impl Iterator<Item = (String, &'b Value<'a>)> + 'b {
        let read = self.needs.keys.iter().zip(self.recorded()).filter(|(key, _)| keys.contains(key));
        read.map(|(key, value)| (Named { needs: &self.needs, key }.to_string(), value))
    }

    /// Every value by its name, in order.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Value<'a>)> + '_ {
        self.needs.names().zip(self.recorded())
    }

    /// The same values, borrowing nothing.
    pub fn to_owned(&self) -> RequestContext<'static> {
        let values = self.values.iter().cloned().map(Value::into_owned).collect();
        RequestContext { needs: Arc::clone(&self.needs), values, masks: self.owned_masks() }
    }

    /// The same values, borrowing nothing; those in slots that are not kept are empty.
    pub fn kept(&self, slots: &[bool]) -> RequestContext<'static> {
        let values = self.needs.keys.iter().zip(&self.values).zip(slots).map(|((key, value), kept)| {
            let signal = self.needs.signals.get(key.signal).filter(|_| !kept);
            signal.map_or_else(|| value.clone().into_owned(), |signal| signal.kind.empty())
        });
        RequestContext { needs: Arc::clone(&self.needs), values: values.collect(), masks: self.owned_masks() }
    }

    fn owned_masks(&self) -> Vec<(usize, Value<'static>)> {
        self.masks.iter().map(|(slot, mask)| (*slot, mask.clone().into_owned())).collect()
    }

    /// Appends a JSON object: each need by name.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut before = b'{';
        for (member, value) in self.needs.members.iter().zip(self.recorded()) {
            out.push(before);
            out.extend_from_slice(member);
            value.write_json(out);
            before = b',';
        }
        out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
    }
}

/// A JSON object: each need by name.
impl Serialize for RequestContext<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (key, value) in self.needs.keys.iter().zip(self.recorded()) {
            map.serialize_key(&format_args!("{}", Named { needs: &self.needs, key }))?;
            map.serialize_value(value)?;
        }
        map.end()
    }
}

impl fmt::Debug for RequestContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn member(name: &str) -> Box<[u8]> {
    let name = serde_json::Value::from(name);
    format!("{name}:").into_bytes().into()
}

/// A key with its signal's name.
struct Named<'a> {
    needs: &'a Needs,
    key: &'a Key,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(signal) = self.needs.signals.get(self.key.signal) else { return Ok(()) };
        match signal.argument {
            None => f.write_str(signal.name),
            Some(_) => write!(f, "{}({})", signal.name, self.key.argument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn needs(names: &[(&str, &str)]) -> Arc<Needs> {
        let vocabulary = Vocabulary::standard();
        let keys = names
            .iter()
            .map(|(name, argument)| Key::new(vocabulary.find(Root::Request, name).unwrap().0, *argument));
        Arc::new(Needs::new(&vocabulary, Root::Request, keys))
    }

    fn read<'b>(context: &'b RequestContext<'_>, name: &str, argument: &str) -> Option<Value<'b>> {
        let vocabulary = Vocabulary::standard();
        context.value(vocabulary.find(Root::Request, name).unwrap().0, argument)
    }

    #[test]
    fn a_recorded_context_is_read_back_and_says_what_it_lacks() {
        let needs = needs(&[("path", ""), ("header", "user-agent"), ("count", "logins"), ("path", "")]);
        let json = json!({ "path": "/x", "header(user-agent)": "curl", "extra": 1 });
        let (context, missing) = needs.read_recorded(json.as_object().unwrap());
        assert_eq!(missing, ["count(logins)"]);
        assert_eq!(read(&context, "path", ""), Some(Value::text("/x")));
        assert_eq!(read(&context, "header", "user-agent"), Some(Value::text("curl")));
        assert_eq!(read(&context, "count", "logins"), Some(Value::Int(0)));
        assert_eq!(read(&context, "header", "accept"), None);
        assert_eq!(
            serde_json::to_value(&context).unwrap(),
            json!({ "path": "/x", "header(user-agent)": "curl", "count(logins)": 0 })
        );
        let mut written = Vec::new();
        context.write_json(&mut written);
        assert_eq!(written, serde_json::to_vec(&context).unwrap());
    }

    #[test]
    fn what_is_kept_answers_for_a_table_too() {
        let needs = needs(&[("header", "*"), ("header", "host"), ("path", "")]);
        let json = json!({ "path": "/x", "header(*)": { "host": "h" }, "header(host)": "h" });
        let (context, _) = needs.read_recorded(json.as_object().unwrap());
        let all = Key::new(Vocabulary::standard().find(Root::Request, "header").unwrap().0, "*");
        let kept = context.kept(&needs.slots_of(&BTreeSet::from([&all])));
        assert_eq!(read(&kept, "header", "host"), Some(Value::text("h")));
        assert_eq!(read(&kept, "path", ""), Some(Value::text("")));
    }

    #[test]
    fn a_computed_argument_reads_from_the_table() {
        let needs = needs(&[("header", "*"), ("header", "host")]);
        let json = json!({ "header(*)": { "accept": "text/html" }, "header(host)": "h" });
        let (context, missing) = needs.read_recorded(json.as_object().unwrap());
        assert!(missing.is_empty());
        assert_eq!(read(&context, "header", "accept"), Some(Value::text("text/html")));
        assert_eq!(read(&context, "header", "nothing"), Some(Value::text("")));
        assert_eq!(read(&context, "header", "host"), Some(Value::text("h")));
    }
}
