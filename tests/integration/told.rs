//! Tests that listen to what the gate logs within their own process: each in a process of its own, since there is one
//! listener for all threads.

use std::fmt::Debug;
use std::process::{Command, Output};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Calls `hear` with the message of every event, on the thread that tells it, from now on.
pub(crate) fn listen(hear: impl Fn(&str) + Send + Sync + 'static) {
    tracing::subscriber::set_global_default(Listener(hear)).expect("a process with one listener");
}

/// Runs a test that is ignored otherwise, in a process of its own.
pub(crate) fn alone(test: &str) -> Output {
    let mut command = Command::new(std::env::current_exe().expect("the name of this program"));
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    command.output().expect("a program that runs")
}

struct Listener<F>(F);

struct Message(String);

impl<F: Fn(&str) + Send + Sync + 'static> Subscriber for Listener<F> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        (self.0)(&message.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
