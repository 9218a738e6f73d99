//! The objects that scripts see: `req` and `res`, which can only be read, and `risk`, which can only be told.
//!
//! All three are made from the tables in `signals/` and `actions/`, so a new signal or verb is known here without
//! an edit. A path such as `req.geo.country` is two steps: `req.geo` is an object of its own, cheap to make.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext, Position};

use super::counters::{Declared, refusal};
use super::sandbox::Stop;
use crate::actions::{Given, Phase, Say, VERBS, Verb};
use crate::signals::{Argument, RequestContext, Root, Signal, Value, Vocabulary};

/// What the engine knows about objects: which name means what on which of them.
pub(super) struct Bindings {
    signals: Vec<Signal>,
    /// Property or method name to what it means on each object.
    names: BTreeMap<&'static str, Vec<Meaning>>,
    counters: Arc<[Declared]>,
}

/// What a name means on one object.
#[derive(Clone, Copy)]
struct Meaning {
    root: Root,
    group: &'static str,
    is: Is,
}

#[derive(Clone, Copy)]
enum Is {
    /// The signal at this position of the vocabulary.
    Signal(usize),
    /// Another object.
    Group(&'static str),
}

/// `req`, `res`, or an object below them such as `req.geo`.
#[derive(Clone)]
pub(super) struct Node {
    context: Arc<RequestContext<'static>>,
    root: Root,
    group: &'static str,
}

/// `risk`: hears what one script says about one request.
#[derive(Clone)]
pub(super) struct Voice {
    said: Arc<Mutex<Vec<Say>>>,
    phase: Phase,
    counters: Arc<[Declared]>,
}

type Answer = Result<Dynamic, Box<EvalAltResult>>;

impl Bindings {
    pub(super) fn new(vocabulary: &Vocabulary, counters: &[Declared]) -> Self {
        let signals = vocabulary.signals().to_vec();
        let mut names: BTreeMap<&'static str, Vec<Meaning>> = BTreeMap::new();
        for (index, signal) in signals.iter().enumerate() {
            let Signal { root, .. } = *signal;
            let group = signal.group();
            names.entry(signal.leaf()).or_default().push(Meaning { root, group, is: Is::Signal(index) });
            let meanings = if group.is_empty() { continue } else { names.entry(group).or_default() };
            if !meanings.iter().any(|m| m.root == root && matches!(m.is, Is::Group(_))) {
                meanings.push(Meaning { root, group: "", is: Is::Group(group) });
            }
        }
        Self { signals, names, counters: counters.into() }
    }

    /// The objects of one call.
    pub(super) fn bind(
        &self,
        root: Root,
        context: &Arc<RequestContext<'static>>,
        phase: Phase,
    ) -> (Node, Voice) {
        let voice = Voice { said: Arc::default(), phase, counters: Arc::clone(&self.counters) };
        (Node { context: Arc::clone(context), root, group: "" }, voice)
    }

    /// Makes the engine know all names.
    pub(super) fn register(self: &Arc<Self>, engine: &mut Engine) {
        engine.register_type_with_name::<Node>("request").register_type_with_name::<Voice>("risk");
        for (name, meanings) in &self.names {
            let (property, method) = (meanings.clone(), meanings.clone());
            engine.register_get(*name, move |node: &mut Node| node.property(&property));
            let bindings = Arc::clone(self);
            engine.register_fn(*name, move |node: &mut Node, argument: ImmutableString| {
                node.method(&bindings.signals, &method, &argument)
            });
        }
        for verb in VERBS {
            register_verb(engine, verb);
        }
    }
}

impl Node {
    fn property(&mut self, meanings: &[Meaning]) -> Answer {
        match self.meaning(meanings) {
            Some(Is::Group(group)) => Ok(Dynamic::from(Self { group, ..self.clone() })),
            Some(Is::Signal(index)) => self.read(index, ""),
            None => Err(unread()),
        }
    }

    fn method(&mut self, signals: &[Signal], meanings: &[Meaning], argument: &str) -> Answer {
        let Some(Is::Signal(index)) = self.meaning(meanings) else {
            return Err(unread());
        };
        match signals.get(index).and_then(|signal| signal.argument) {
            Some(Argument::Header) => self.read(index, &argument.to_ascii_lowercase()),
            Some(_) => self.read(index, argument),
            None => Err(unread()),
        }
    }

    fn meaning(&self, meanings: &[Meaning]) -> Option<Is> {
        let here = |meaning: &&Meaning| meaning.root == self.root && meaning.group == self.group;
        meanings.iter().find(here).map(|meaning| meaning.is)
    }

    fn read(&self, signal: usize, argument: &str) -> Answer {
        match self.context.value(signal, argument) {
            Some(Value::Bool(value)) => Ok(value.into()),
            Some(Value::Int(value)) => Ok(value.into()),
            Some(Value::Float(value)) => Ok(value.into()),
            Some(Value::Text(value)) => Ok(value.as_ref().into()),
            Some(Value::Table(_)) | None => Err(unread()),
        }
    }
}

impl Voice {
    /// Everything said so far; it is handed over, not copied.
    pub(super) fn said(&self) -> Vec<Say> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn say(&self, verb: &Verb, given: &[Given]) -> Answer {
        if verb.phase == Phase::Assess && self.phase == Phase::Both {
            return Err(failure(format!("`risk.{}` has no effect in `observe`", verb.name)));
        }
        let say = (verb.say)(given).map_err(failure)?;
        if let Some(message) = refusal(&self.counters, &say) {
            return Err(failure(message));
        }
        let trusted = matches!(say, Say::Allow { .. });
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(say);
        if trusted {
            let stop = Dynamic::from(Stop::Allowed);
            return Err(EvalAltResult::ErrorTerminated(stop, Position::NONE).into());
        }
        Ok(Dynamic::UNIT)
    }
}

fn register_verb(engine: &mut Engine, verb: &'static Verb) {
    let function = move |_: NativeCallContext<'_>, args: &mut [&mut Dynamic]| -> Answer {
        let Some((voice, rest)) = args.split_first_mut() else {
            return Err(unread());
        };
        let given: Vec<Given> = rest.iter().map(|arg| given(arg)).collect();
        match voice.read_lock::<Voice>() {
            Some(voice) => voice.say(verb, &given),
            None => Err(unread()),
        }
    };
    for arguments in verb.arity() {
        let mut types = vec![TypeId::of::<Voice>()];
        types.resize(arguments + 1, TypeId::of::<Dynamic>());
        engine.register_raw_fn(verb.name, &types, function);
    }
}

/// A script's value as a verb sees it.
pub(super) fn given(value: &Dynamic) -> Given {
    if let Some(text) = value.read_lock::<ImmutableString>() {
        return Given::Text(text.clone());
    }
    if let Ok(number) = value.as_int() {
        return Given::Int(number);
    }
    if let Ok(number) = value.as_float() {
        return Given::Float(number);
    }
    match value.as_bool() {
        Ok(answer) => Given::Bool(answer),
        Err(_) if value.is_array() => Given::Other("array"),
        Err(_) if value.is_map() => Given::Other("map"),
        Err(_) if value.is_unit() => Given::Other("()"),
        Err(_) => Given::Other("another type"),
    }
}

fn failure(message: String) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(message.into(), Position::NONE).into()
}

/// The check at load makes sure that this cannot happen to a value that a script names.
fn unread() -> Box<EvalAltResult> {
    failure("this is not a signal that was read for this request".into())
}
