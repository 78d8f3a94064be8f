//! OpenTelemetry traces: what a pass did and how long it took. Our own spans of `tracing` are collected and sent to a
//! collector over OTLP/HTTP, as JSON. Off unless the environment names a collector; nothing is measured then.
//!
//! The OpenTelemetry SDK is not used: only one request and twenty fields of it are needed, and it would add a second
//! batch thread, two more clients and build time. A span holds names, counts and codes, and no text of a cluster, a
//! repository or a tool. `wire` is the format, `export` sends, and `steps` turns an apply's progress into spans.

mod export;
mod steps;
mod wire;

pub(crate) use export::{Exporter, Target};
pub(crate) use steps::traced;

use rand::RngExt as _;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Limit of spans that wait for the collector; further ones are dropped and counted.
const WAITING: usize = 8192;
/// The longest text in an attribute, in bytes.
const TEXT: usize = 256;
/// Fields that only mark a span as failed.
const ERROR: &str = "error";
/// Part of another span, or nothing: requests outside a pass are not traced.
const REQUEST: &str = "request";

static ON: OnceLock<()> = OnceLock::new();

/// Whether spans go anywhere.
pub(crate) fn are_on() -> bool {
    ON.get().is_some()
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Datum {
    Text(String),
    Whole(i64),
    Flag(bool),
}

/// A span that has ended.
#[derive(Debug, Clone)]
struct Span {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    name: &'static str,
    begin: SystemTime,
    end: SystemTime,
    attributes: Vec<(&'static str, Datum)>,
    failed: bool,
}

/// A span that has not.
struct Open {
    trace: u128,
    id: u64,
    parent: Option<u64>,
    begin: SystemTime,
    said: Said,
}

#[derive(Default)]
struct Said {
    attributes: Vec<(&'static str, Datum)>,
    failed: bool,
}

impl Said {
    fn note(&mut self, field: &Field, datum: Datum) {
        if field.name() == ERROR {
            self.failed |= datum == Datum::Flag(true);
            return;
        }
        self.attributes.retain(|(name, _)| *name != field.name());
        self.attributes.push((field.name(), datum));
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = value.to_owned();
        text.truncate(text.floor_char_boundary(TEXT));
        self.note(field, Datum::Text(text));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, Datum::Whole(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, Datum::Whole(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, Datum::Flag(value));
    }
}

/// Gathers spans. Never waits: a full queue drops.
pub(crate) struct Gather {
    queue: mpsc::Sender<Span>,
    dropped: Arc<AtomicU64>,
}

/// What gathers, and what sends what was gathered.
pub(crate) fn start(target: Target) -> (Gather, Exporter) {
    let (queue, gathered) = mpsc::channel(WAITING);
    let dropped = Arc::new(AtomicU64::new(0));
    let gather = Gather {
        queue,
        dropped: Arc::clone(&dropped),
    };
    let _ = ON.set(());
    (gather, Exporter::new(target, gathered, dropped))
}

/// Whether a span of the program is one of ours: not of a library, and not an event.
pub(crate) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with("myelin")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Gather {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // The nearest one that is gathered: a filter may have left out the ones between.
        let above = span.scope().skip(1).find_map(|above| {
            let extensions = above.extensions();
            extensions.get::<Open>().map(|open| (open.trace, open.id))
        });
        if above.is_none() && span.name() == REQUEST {
            return;
        }
        let mut said = Said::default();
        attributes.record(&mut said);
        let mut random = rand::rng();
        span.extensions_mut().insert(Open {
            trace: above.map_or_else(|| random.random_range(1..=u128::MAX), |(trace, _)| trace),
            id: random.random_range(1..=u64::MAX),
            parent: above.map(|(_, parent)| parent),
            begin: SystemTime::now(),
            said,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(open) = context.span(id)
            && let Some(open) = open.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.said);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let ended = Span {
            trace: open.trace,
            id: open.id,
            parent: open.parent,
            name: span.name(),
            begin: open.begin,
            end: SystemTime::now(),
            attributes: open.said.attributes,
            failed: open.said.failed,
        };
        if self.queue.try_send(ended).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
