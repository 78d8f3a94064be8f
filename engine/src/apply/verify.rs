//! Runs one check of a running component, repeated with growing pauses until it succeeds or its time is over.
//!
//! The check itself was validated when the document was read. The answer is shown in one short line, which the caller
//! masks.

use super::pods::choose_pod;
use crate::cluster::{Cluster, ClusterError, PodCommand, ServiceAnswer, ServiceRequest};
use crate::document::{Ask, Check, Exec, Http};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time limit of one GET.
const ATTEMPT: Duration = Duration::from_secs(10);
/// The first pause; each further one is twice as long, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Characters shown of text from others.
const SHOWN: usize = 200;

/// Why an attempt failed.
struct Complaint {
    /// What came back.
    why: String,
    /// Whether another attempt cannot change it.
    last: bool,
}

fn again(why: String) -> Complaint {
    Complaint { why, last: false }
}

/// Repeats the check until it succeeds.
///
/// # Errors
/// What was checked, the last answer, and what to do. Not masked.
pub(super) async fn verify(
    cluster: Arc<dyn Cluster>,
    check: Check,
    deadline: Instant,
    cancel: CancellationToken,
) -> Result<(), String> {
    let started = Instant::now();
    let deadline = deadline.min(started + check.timeout);
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = async {
            match &check.ask {
                Ask::Http(http) => get(&*cluster, http).await,
                Ask::Exec { exec, output } => run(&*cluster, exec, output.as_deref(), &cancel).await,
            }
        };
        let answer = tokio::select! {
            answer = attempt => answer,
            () = cancel.cancelled() => return Err(format!("{check}: cancelled")),
            () = tokio::time::sleep_until(deadline) => Err(again("no answer came in time".into())),
        };
        let complaint = match answer {
            Ok(()) => return Ok(()),
            Err(complaint) => complaint,
        };
        let wait = pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        if complaint.last {
            return Err(format!("{check}: {}", complaint.why));
        }
        if Instant::now() + wait >= deadline {
            let asked = show(started.elapsed());
            return Err(format!(
                "{check}: {}; asked for {asked}. Look at the component's log; a slower start needs a longer timeout of the check",
                complaint.why
            ));
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Err(format!("{check}: cancelled; before that {}", complaint.why)),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn show(time: Duration) -> String {
    crate::document::show_duration(Duration::from_secs(time.as_secs().max(1)))
}

async fn get(cluster: &dyn Cluster, http: &Http) -> Result<(), Complaint> {
    let request = ServiceRequest {
        namespace: http.namespace.clone(),
        service: http.service.clone(),
        port: http.port.clone(),
        https: http.https,
        path: http.path.clone(),
        deadline: ATTEMPT,
    };
    let answer = match cluster.ask_service(&request).await {
        Ok(answer) => answer,
        Err(ClusterError::TimedOut(after)) => return Err(again(format!("no answer within {}", show(after)))),
        Err(e) => return Err(again(e.to_string())),
    };
    judge(http, &answer)
}

/// Whether an answer is the expected one.
fn judge(http: &Http, answer: &ServiceAnswer) -> Result<(), Complaint> {
    let well = if http.status.is_empty() {
        (200..300).contains(&answer.status)
    } else {
        http.status.contains(&answer.status)
    };
    if !well {
        let wanted = match http.status.as_slice() {
            [] => "200 to 299".to_owned(),
            some => some.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
        };
        if let Some(status) = own_status(answer) {
            let message = status.get("message").and_then(Value::as_str).unwrap_or_default();
            let denied = answer.status == 403 && message.contains("services/proxy");
            let fix = if denied {
                format!("; allow get on services/proxy in namespace {}", http.namespace)
            } else {
                String::new()
            };
            return Err(Complaint {
                why: format!(
                    "the API server answered {}: {}{fix}",
                    answer.status,
                    line(message.as_bytes())
                ),
                last: denied,
            });
        }
        let said = line(&answer.body);
        return Err(again(format!(
            "it answered {} (wanted {wanted}): {said}",
            answer.status
        )));
    }
    if let Some(wanted) = &http.body
        && !String::from_utf8_lossy(&answer.body).contains(wanted.as_str())
    {
        let said = line(&answer.body);
        return Err(again(format!("its answer does not contain {wanted:?}: {said}")));
    }
    if http.json.is_empty() {
        return Ok(());
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Err(again(format!("its answer is no JSON: {}", line(&answer.body))));
    };
    for (path, wanted) in &http.json {
        match field(&body, path) {
            Some(found) if as_text(found) == *wanted => {}
            Some(found) => {
                let found = line(as_text(found).as_bytes());
                return Err(again(format!("its field {path} is {found}, not {wanted}")));
            }
            None => return Err(again(format!("its answer has no field {path}"))),
        }
    }
    Ok(())
}

/// The API server's own answer, as opposed to the Service's.
fn own_status(answer: &ServiceAnswer) -> Option<Value> {
    let value: Value = serde_json::from_slice(&answer.body).ok()?;
    let is = |name: &str, wanted: &str| value.get(name).and_then(Value::as_str) == Some(wanted);
    (is("kind", "Status") && is("apiVersion", "v1")).then_some(value)
}

/// A field by dotted path; numbers are list indexes.
fn field<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first line with content, shortened and without control characters.
fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let first = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    let shown: String = first.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if shown.is_empty() {
        "(nothing)".to_owned()
    } else {
        shown
    }
}

async fn run(
    cluster: &dyn Cluster,
    exec: &Exec,
    output: Option<&str>,
    cancel: &CancellationToken,
) -> Result<(), Complaint> {
    let pod = choose_pod(cluster, exec, cancel).await.map_err(again)?;
    let command = PodCommand {
        namespace: exec.namespace.clone(),
        pod: pod.clone(),
        container: exec.container.clone(),
        argv: exec.command.clone(),
        deadline: exec.timeout,
    };
    let answer = match cluster.exec(&command, None).await {
        Ok(answer) => answer,
        Err(e) if e.is_denied() => {
            return Err(Complaint {
                why: format!("{e}; allow create on pods/exec in namespace {}", exec.namespace),
                last: true,
            });
        }
        Err(ClusterError::TimedOut(after)) => return Err(again(format!("it did not end within {}", show(after)))),
        Err(e) => return Err(again(e.to_string())),
    };
    if answer.exit_code != Some(0) {
        let ended = answer
            .exit_code
            .map_or_else(|| answer.message.clone(), |code| format!("exit code {code}"));
        let said = if answer.stderr.is_empty() {
            &answer.stdout
        } else {
            &answer.stderr
        };
        return Err(again(format!("it failed in pod {pod} ({ended}): {}", line(said))));
    }
    match output {
        Some(wanted) if !String::from_utf8_lossy(&answer.stdout).contains(wanted) => {
            let said = line(&answer.stdout);
            Err(again(format!("it does not print {wanted:?} in pod {pod}: {said}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(status: &[u16], body: Option<&str>, json: &[(&str, &str)]) -> Http {
        Http {
            namespace: "n".into(),
            service: "api".into(),
            port: String::new(),
            https: false,
            path: "/health".into(),
            status: status.to_vec(),
            body: body.map(str::to_owned),
            json: json.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn an_answer_is_well_when_status_body_and_fields_are() {
        let page = |status, body: &str| ServiceAnswer {
            status,
            body: body.as_bytes().to_vec(),
        };
        let good = r#"{"ok": true, "db": {"n": 2, "all": ["a", "b"]}}"#;
        for (http, answer, complaint) in [
            (http(&[], None, &[]), page(204, ""), None),
            (
                http(&[], None, &[]),
                page(302, ""),
                Some("answered 302 (wanted 200 to 299)"),
            ),
            (http(&[301, 302], None, &[]), page(302, ""), None),
            (
                http(&[], Some("pong"), &[]),
                page(200, "ping"),
                Some("does not contain \"pong\": ping"),
            ),
            (
                http(&[], None, &[("ok", "true"), ("db.n", "2"), ("db.all.1", "b")]),
                page(200, good),
                None,
            ),
            (
                http(&[], None, &[("db.n", "3")]),
                page(200, good),
                Some("field db.n is 2, not 3"),
            ),
            (
                http(&[], None, &[("db.x", "3")]),
                page(200, good),
                Some("no field db.x"),
            ),
            (
                http(&[], None, &[("a", "b")]),
                page(200, "<html>"),
                Some("no JSON: <html>"),
            ),
        ] {
            let found = judge(&http, &answer).err().map(|c| c.why);
            match complaint {
                None => assert_eq!(found, None),
                Some(part) => assert!(found.as_ref().is_some_and(|f| f.contains(part)), "{found:?} / {part}"),
            }
        }
    }

    #[test]
    fn the_api_servers_refusal_is_told_apart_and_not_asked_again() {
        let body = br#"{"kind":"Status","apiVersion":"v1","message":"services \"api\" is forbidden: cannot get resource \"services/proxy\""}"#;
        let answer = |status| ServiceAnswer {
            status,
            body: body.to_vec(),
        };
        let denied = judge(&http(&[], None, &[]), &answer(403)).err().unwrap();
        assert!(
            denied.last && denied.why.contains("allow get on services/proxy"),
            "{}",
            denied.why
        );
        assert!(!judge(&http(&[], None, &[]), &answer(503)).err().unwrap().last);
    }
}
