//! Notes from Events about an object: the only source for missing volumes, failing probes, refused pods and everything
//! about claims.
//!
//! One note is kept per kind of message, not per occurrence. The rule that reads a note decides whether it still
//! matters: a Warning is no verdict.

use super::{
    Moment,
    reading::{count, text, tidy},
};
use serde_json::Value;

/// Limit of notes about one object. A pod with every kind of trouble at once has about twelve.
const MOST: usize = 48;

/// One message and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// UID of the object concerned; empty if the event does not say.
    about: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// The container concerned, from `involvedObject.fieldPath`.
    pub(super) container: String,
    pub(super) count: i64,
    pub(super) first: Moment,
    pub(super) last: Moment,
    /// Order of arrival, for equal times.
    turn: u64,
}

impl Note {
    /// `Reason: message`.
    pub(super) fn words(&self) -> String {
        format!("{}: {}", self.reason, self.message)
    }
}

/// The notes about one object.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    turns: u64,
}

impl Notes {
    /// Records an Event. `live` means that it arrived as a change; otherwise it was in the initial list of a watch, and
    /// its own times say how old it is.
    pub(super) fn hear(&mut self, event: &Value, now: Moment, live: bool) {
        let about = text(event, "/involvedObject/uid");
        let about = if about.is_empty() {
            text(event, "/regarding/uid")
        } else {
            about
        };
        let path = text(event, "/involvedObject/fieldPath");
        let path = if path.is_empty() {
            text(event, "/regarding/fieldPath")
        } else {
            path
        };
        let message = text(event, "/message");
        let message = tidy(if message.is_empty() {
            text(event, "/note")
        } else {
            message
        });
        let stamp = |pointers: &[&str]| pointers.iter().find_map(|p| Moment::parse(text(event, p)));
        let said_last = stamp(&[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ]);
        let said_first = stamp(&["/firstTimestamp", "/eventTime", "/metadata/creationTimestamp"]);
        let (first, last) = if live {
            (now, now)
        } else {
            let last = said_last.unwrap_or(now).min(now);
            (said_first.unwrap_or(last).min(last), last)
        };
        let times = count(event, "/count").max(count(event, "/series/count")).max(1);
        let reason = text(event, "/reason");
        let container = path.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
        self.turns += 1;
        if let Some(note) = self
            .notes
            .iter_mut()
            .find(|n| n.reason == reason && n.message == message && n.container == container && n.about == about)
        {
            note.count = times.max(note.count + i64::from(live && times == 1));
            note.last = note.last.max(last);
            note.turn = self.turns;
            return;
        }
        if self.notes.len() >= MOST
            && let Some(oldest) = (0..self.notes.len()).min_by_key(|&i| (self.notes[i].last, self.notes[i].turn))
        {
            self.notes.swap_remove(oldest);
        }
        self.notes.push(Note {
            about: about.to_owned(),
            reason: reason.to_owned(),
            message,
            container: container.to_owned(),
            count: times,
            first,
            last,
            turn: self.turns,
        });
    }

    /// The notes about the object with this UID (and those without a UID).
    pub(super) fn of<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a Note> {
        self.notes.iter().filter(move |n| n.about.is_empty() || n.about == uid)
    }

    /// The newest note about the object with this UID that passes the test.
    pub(super) fn newest<'a>(&'a self, uid: &'a str, mut test: impl FnMut(&Note) -> bool) -> Option<&'a Note> {
        self.of(uid).filter(|n| test(n)).max_by_key(|n| (n.last, n.turn))
    }

    /// Whether `a` is newer than `b`.
    pub(super) fn after(a: &Note, b: &Note) -> bool {
        (a.last, a.turn) > (b.last, b.turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(reason: &str, message: &str, count: i64) -> Value {
        json!({"reason": reason, "message": message, "count": count,
               "involvedObject": {"uid": "u", "fieldPath": "spec.initContainers{wait}"}})
    }

    #[test]
    fn the_same_thing_said_again_is_one_note_with_a_later_time() {
        let mut notes = Notes::default();
        notes.hear(&event("Unhealthy", "no\n", 1), Moment(1), true);
        notes.hear(&event("Unhealthy", "no", 7), Moment(9), true);
        let all: Vec<_> = notes.of("u").collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].count, all[0].first, all[0].last), (7, Moment(1), Moment(9)));
        assert_eq!(all[0].container, "wait");
        assert_eq!(notes.of("another").count(), 0);
    }

    #[test]
    fn a_listed_event_is_as_old_as_it_says() {
        let mut notes = Notes::default();
        let mut old = event("FailedMount", "x", 3);
        old["firstTimestamp"] = json!("1970-01-01T00:00:01Z");
        old["lastTimestamp"] = json!("1970-01-01T00:00:04Z");
        notes.hear(&old, Moment(9_000), false);
        let note = notes.newest("u", |_| true).unwrap();
        assert_eq!((note.first, note.last), (Moment(1000), Moment(4000)));
    }

    #[test]
    fn notes_are_bounded_and_the_oldest_goes_first() {
        let mut notes = Notes::default();
        for i in 0..200 {
            notes.hear(&event("R", &format!("{i}"), 1), Moment(i), true);
        }
        assert_eq!(notes.of("u").count(), MOST);
        assert_eq!(notes.newest("u", |_| true).unwrap().message, "199");
        assert!(notes.of("u").all(|n| n.first >= Moment(200 - MOST as i64)));
    }
}
