//! The log: one JSON object per line on stderr, in the form that Terraform's plugin host reads (hclog).
//!
//! Every value is a string: Terraform panics on a message, level or timestamp that is not. Only our own crates log
//! below warning: what a dependency logs about a request may contain a secret.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Lines of more than 64 KiB are split by the host; a field is cut well before.
const MAX_FIELD: usize = 8 << 10;

/// Where the log goes once stderr itself has been pointed elsewhere.
static OUTPUT: OnceLock<File> = OnceLock::new();

/// Which levels are written: `None` is nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold(Option<Level>);

impl Threshold {
    /// From Terraform's variables, the most specific first. `JSON` is Terraform's own name for trace in JSON.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Threshold {
        let given = ["TF_LOG_PROVIDER_MYELIN", "TF_LOG_PROVIDER", "TF_LOG"]
            .iter()
            .find_map(|name| variable(name).filter(|value| !value.is_empty()));
        Threshold(match given.map(|level| level.to_ascii_uppercase()).as_deref() {
            None | Some("OFF") => None,
            Some("DEBUG") => Some(Level::DEBUG),
            Some("INFO") => Some(Level::INFO),
            Some("WARN") => Some(Level::WARN),
            Some("ERROR") => Some(Level::ERROR),
            // Terraform itself takes a word that it does not know for trace.
            Some(_) => Some(Level::TRACE),
        })
    }

    fn admits(self, metadata: &Metadata<'_>) -> bool {
        let Some(level) = self.0 else { return false };
        let target = metadata.target();
        let ours = target.starts_with("myelin") || target.starts_with("terraform_provider_myelin");
        *metadata.level() <= if ours { level } else { level.min(Level::WARN) }
    }
}

/// Sends everything from now on to that file instead of stderr. Once.
pub fn write_to(output: File) {
    // A second call would lose lines; the first one stays.
    let _ = OUTPUT.set(output);
}

/// Starts logging. A second start changes nothing.
pub fn start(threshold: Threshold) {
    if threshold.0.is_some() {
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(HcLog { threshold }));
    }
}

/// Writes text as it is: the report of a panic.
pub fn write_raw(text: &str) {
    // There is nobody to tell that the log is gone.
    let _ = match OUTPUT.get() {
        Some(mut file) => file.write_all(text.as_bytes()),
        None => std::io::stderr().lock().write_all(text.as_bytes()),
    };
}

struct HcLog {
    threshold: Threshold,
}

impl<S: Subscriber> Layer<S> for HcLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.threshold.admits(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        write_raw(&line(event.metadata(), fields, Timestamp::now()));
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Json>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").expect("writing to a string cannot fail");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = value.to_owned();
        if text.len() > MAX_FIELD {
            text.truncate(
                (0..=MAX_FIELD)
                    .rev()
                    .find(|at| value.is_char_boundary(*at))
                    .unwrap_or(0),
            );
            text.push('…');
        }
        match field.name() {
            "message" => self.message = text,
            // The four names that mean something to the host are not for fields.
            name => {
                self.others
                    .insert(name.trim_start_matches('@').to_owned(), Json::String(text));
            }
        }
    }
}

fn line(metadata: &Metadata<'_>, fields: Fields, now: Timestamp) -> String {
    let level = match *metadata.level() {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    };
    let mut object = fields.others;
    object.insert("@level".to_owned(), level.into());
    object.insert("@message".to_owned(), fields.message.into());
    object.insert(
        "@module".to_owned(),
        format!("provider.{}", metadata.target().replace("::", ".")).into(),
    );
    object.insert("@timestamp".to_owned(), stamp(now).into());
    let mut line = Json::Object(object).to_string();
    line.push('\n');
    line
}

/// Exactly `2006-01-02T15:04:05.000000Z07:00` in Go's terms: six digits, always. Anything else makes the line plain text.
fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_six_digits_also_for_a_whole_second() {
        for (nanoseconds, expected) in [
            (0, "2026-11-20T10:00:00.000000Z"),
            (1_500, "2026-11-20T10:00:00.000001Z"),
        ] {
            let second = "2026-11-20T10:00:00Z".parse::<Timestamp>().expect("a time").as_second();
            assert_eq!(stamp(Timestamp::new(second, nanoseconds).expect("a time")), expected);
        }
    }

    #[test]
    fn the_most_special_variable_decides_and_none_means_silence() {
        let threshold = |given: &[(&str, &str)]| {
            Threshold::from_environment(|name| {
                given
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(threshold(&[]), Threshold(None));
        assert_eq!(threshold(&[("TF_LOG", "")]), Threshold(None));
        assert_eq!(threshold(&[("TF_LOG", "json")]), Threshold(Some(Level::TRACE)));
        assert_eq!(
            threshold(&[("TF_LOG", "TRACE"), ("TF_LOG_PROVIDER", "warn")]),
            Threshold(Some(Level::WARN))
        );
        let all = [("TF_LOG_PROVIDER", "warn"), ("TF_LOG_PROVIDER_MYELIN", "off")];
        assert_eq!(threshold(&all), Threshold(None));
    }
}
