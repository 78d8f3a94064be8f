//! Watches over HTTP: a stream of events, one JSON document per line.
//!
//! Timeouts and bookmarks run in real time: the client on the other end does.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::negotiate::{Form, Media};
use super::reply::{Reply, to_bytes};
use super::route::Target;
use super::{Api, Call, lists, table, verbs};
use crate::kubernetes::registry::{Event, Failure, FieldFault, Since, Watch};
use crate::kubernetes::schema::resources::{Resource, Typing};

/// How often a client that asked for bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A bookmark comes this long before the end, if the watch is longer than that.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Events that are put into one chunk at most, when they are there already.
const CHUNK: usize = 64 * 1024;

/// Start a watch.
pub(crate) fn open(api: &Arc<Api>, call: &Call, target: &Target, drops: Option<Duration>) -> Result<Reply, Failure> {
    let resource = target.resource.clone();
    let (media, form) = call.accept.object()?;
    if matches!(resource.schema, Typing::Unmodelled) {
        return Err(Failure::unmodelled(&format!(
            "{} ({})",
            resource.qualified(),
            resource.api_version()
        )));
    }
    if !resource.verbs.iter().any(|verb| verb == "watch") {
        return Err(super::route::method_not_allowed());
    }
    let query = lists::query(call, target)?;
    let bookmarks = matches!(call.query("allowWatchBookmarks"), Some("true" | "1"));
    let (since, marks_start) = start(api, call, bookmarks)?;
    let seconds: u64 = match call.query("timeoutSeconds") {
        None | Some("") => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Failure::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?,
    };
    let timeout = if seconds == 0 {
        Duration::from_secs(1800 + rand::random::<u64>() % 1800)
    } else {
        Duration::from_secs(seconds)
    };
    let include = if form == Form::Table {
        table::include(call.query("includeObject"))?
    } else {
        table::Include::Metadata
    };
    let watch = match since {
        Since::Revision(revision) => {
            let watch = api.registry.watch(&resource, query, since)?;
            if api.registry.table(&resource).is_expired(revision) {
                return Ok(expired(revision, api.registry.store().revision(), media));
            }
            watch
        }
        since => api.registry.watch(&resource, query, since)?,
    };
    let now = Instant::now();
    let end = drops.map_or(now + timeout, |drop| now + drop.min(timeout));
    let before_end = (timeout > BOOKMARK_BEFORE_END).then(|| end - BOOKMARK_BEFORE_END);
    let stream = Stream {
        api: api.clone(),
        resource,
        watch,
        form,
        include,
        media,
        end,
        next_bookmark: bookmarks.then(|| (now + BOOKMARK_EVERY).min(before_end.unwrap_or(end))),
        last_bookmark: before_end,
        marks_start,
        headed: false,
        done: false,
    };
    let body = Body::from_stream(futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), stream))
    }));
    let content_type = match media {
        Media::Json => "application/json",
        Media::Yaml => "application/yaml",
    };
    Ok(Reply::stream(body, content_type))
}

/// Where the watch starts, and whether it marks the end of the initial events.
fn start(api: &Api, call: &Call, bookmarks: bool) -> Result<(Since, bool), Failure> {
    let version = call.query("resourceVersion").unwrap_or_default();
    let matching = call.query("resourceVersionMatch").unwrap_or_default();
    let initial = call.query("sendInitialEvents").map(|v| v == "true" || v == "1");
    let mut faults = Vec::new();
    if initial.is_some() && matching != "NotOlderThan" {
        let rule = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        faults.push(FieldFault::forbidden("resourceVersionMatch", rule));
    }
    if initial.is_none() && !matching.is_empty() {
        let rule = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        faults.push(FieldFault::forbidden("resourceVersionMatch", rule));
    }
    if initial == Some(true) && !bookmarks {
        let rule = "sendInitialEvents requires setting allowWatchBookmarks to true";
        faults.push(FieldFault::forbidden("allowWatchBookmarks", rule));
    }
    if !faults.is_empty() {
        return Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &faults));
    }
    let revision = match version {
        "" | "0" => None,
        text => match text.parse::<u64>() {
            Ok(revision) => Some(revision),
            Err(_) => {
                let message = format!(
                    "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                );
                let mut failure = Failure::unreasoned(message);
                failure.details = Some(json!({}));
                return Err(failure);
            }
        },
    };
    Ok(match (initial, revision) {
        (Some(true), _) => (Since::Start, true),
        (Some(false), None) => (Since::Now, false),
        (_, Some(revision)) => (Since::Revision(revision), false),
        (None, None) => {
            let _ = api;
            (Since::Start, false)
        }
    })
}

fn expired(revision: u64, current: u64, media: Media) -> Reply {
    let failure = Failure::expired(format!("too old resource version: {revision} ({current})"));
    let mut line = to_bytes(&json!({"type": "ERROR", "object": failure.status()}));
    line.push(b'\n');
    let _ = media;
    Reply::stream(Body::from(line), "application/json")
}

struct Stream {
    api: Arc<Api>,
    resource: Arc<Resource>,
    watch: Watch,
    form: Form,
    include: table::Include,
    media: Media,
    end: Instant,
    next_bookmark: Option<Instant>,
    last_bookmark: Option<Instant>,
    marks_start: bool,
    headed: bool,
    done: bool,
}

impl Stream {
    /// The next piece of the stream; `None` ends it.
    async fn chunk(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut out = Vec::new();
        loop {
            if self.marks_start && !self.watch.is_initial() {
                self.marks_start = false;
                let revision = self.watch.initial_revision();
                self.push_bookmark(&mut out, revision, true);
            }
            match self.watch.poll() {
                Ok(Some(event)) => self.push_event(&mut out, &event),
                Ok(None) if out.is_empty() => match self.wait().await {
                    Waited::Event(event) => self.push_event(&mut out, &event),
                    Waited::Bookmark => {
                        if let Some(revision) = self.watch.caught_up() {
                            self.push_bookmark(&mut out, revision, false);
                        }
                        let last = self.last_bookmark.unwrap_or(self.end);
                        let next = Instant::now() + BOOKMARK_EVERY;
                        self.next_bookmark = if Instant::now() >= last {
                            None
                        } else {
                            Some(next.min(last))
                        };
                    }
                    Waited::End => return None,
                    Waited::Expired => {
                        self.push_expired(&mut out);
                        self.done = true;
                        return Some(out.into());
                    }
                },
                Ok(None) => return Some(out.into()),
                Err(_) => {
                    self.push_expired(&mut out);
                    self.done = true;
                    return Some(out.into());
                }
            }
            if out.len() >= CHUNK || (!out.is_empty() && Instant::now() >= self.end) {
                return Some(out.into());
            }
        }
    }

    async fn wait(&mut self) -> Waited {
        let bookmark = self.next_bookmark.unwrap_or(self.end + Duration::from_secs(3600));
        tokio::select! {
            biased;
            event = self.watch.next() => match event {
                Ok(event) => Waited::Event(event),
                Err(_) => Waited::Expired,
            },
            () = tokio::time::sleep_until(self.end) => Waited::End,
            () = tokio::time::sleep_until(bookmark) => Waited::Bookmark,
        }
    }

    fn push_event(&mut self, out: &mut Vec<u8>, event: &Event) {
        let object = match self.form {
            Form::Object => verbs::rendered(&self.resource, &event.object),
            Form::Partial | Form::PartialList => to_bytes(&verbs::partial(&event.object)),
            Form::Table => {
                let rows = [event.object.clone()];
                let metadata = json!({"resourceVersion": event.revision.to_string()});
                let now = self.api.registry.clock().now();
                let mut table = table::render(&self.resource, &rows, &metadata, self.include, now);
                if self.headed {
                    table["columnDefinitions"] = Value::Null;
                }
                self.headed = true;
                to_bytes(&table)
            }
        };
        self.push(out, event.kind.name(), &object);
    }

    fn push_bookmark(&mut self, out: &mut Vec<u8>, revision: u64, ends_initial: bool) {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, api_version) = match self.form {
            Form::Object => (self.resource.kind.clone(), self.resource.api_version()),
            Form::Table => ("Table".to_owned(), "meta.k8s.io/v1".to_owned()),
            Form::Partial | Form::PartialList => ("PartialObjectMetadata".to_owned(), "meta.k8s.io/v1".to_owned()),
        };
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if self.form == Form::Table {
            object["columnDefinitions"] = Value::Null;
            object["rows"] = json!([{"cells": [], "object": {"kind": self.resource.kind,
                "apiVersion": self.resource.api_version(), "metadata": object["metadata"].clone()}}]);
        }
        self.push(out, "BOOKMARK", &to_bytes(&object));
    }

    fn push_expired(&mut self, out: &mut Vec<u8>) {
        let current = self.api.registry.store().revision();
        let failure = Failure::expired(format!("too old resource version: the watch fell behind ({current})"));
        self.push(out, "ERROR", &to_bytes(&failure.status()));
    }

    fn push(&self, out: &mut Vec<u8>, kind: &str, object: &[u8]) {
        let mut line = Vec::with_capacity(object.len() + 32);
        line.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        line.extend_from_slice(object);
        line.push(b'}');
        match self.media {
            Media::Json => {
                out.extend_from_slice(&line);
                out.push(b'\n');
            }
            Media::Yaml => {
                let value: Value = serde_json::from_slice(&line).unwrap_or_default();
                let text = serde_saphyr::to_string(&value).unwrap_or_default();
                out.extend_from_slice(b"---\n");
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

enum Waited {
    Event(Event),
    Bookmark,
    End,
    Expired,
}
