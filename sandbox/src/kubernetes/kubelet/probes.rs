//! Probes: when they are due, what they find, and what a row of findings means.

use serde_json::Value;

use super::network;
use super::shell::{Machine, Millis, Process, Progress, Reach, lock};
use crate::kubernetes::controllers::object;
use crate::kubernetes::controllers::world::World;

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Startup => "startupProbe",
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// A probe of a container, over all of its runs.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) kind: Kind,
    /// When it is due next.
    pub(super) due: Millis,
    period: Millis,
    delay: Millis,
    failures: i64,
    successes: i64,
    /// The run that the counts are about.
    pub(super) run: String,
    row: (bool, i64),
    /// What it has settled on; `None` until it has.
    pub(super) result: Option<bool>,
    /// It has had the container killed and waits for the next.
    pub(super) hold: bool,
}

impl Probe {
    /// A container's probe of a kind, if it has one. `now` is when the node took the pod on: probes tick from there.
    pub(super) fn of(container: &Value, kind: Kind, now: Millis) -> Option<Self> {
        let spec = container.get(kind.field()).filter(|spec| spec.is_object())?;
        let number = |field: &str, or: i64| spec[field].as_i64().unwrap_or(or);
        let period = number("periodSeconds", 10).max(1) * 1000;
        Some(Self {
            kind,
            due: now + period,
            period,
            delay: number("initialDelaySeconds", 0) * 1000,
            failures: number("failureThreshold", 3).max(1),
            successes: number("successThreshold", 1).max(1),
            run: String::new(),
            row: (false, 0),
            result: None,
            hold: false,
        })
    }

    /// Begin anew with another run of the container.
    pub(super) fn follow(&mut self, run: &str) {
        if self.run != run {
            run.clone_into(&mut self.run);
            self.row = (false, 0);
            self.result = None;
            self.hold = false;
        }
    }

    /// The next tick after a time.
    pub(super) fn advance(&mut self, now: Millis) {
        while self.due <= now {
            self.due += self.period;
        }
    }

    /// Whether the container has run long enough. Starts are known in whole seconds.
    pub(super) fn is_time(&self, since: Millis, now: Millis) -> bool {
        now - since.div_euclid(1000) * 1000 >= self.delay
    }

    /// Count a finding. True if the result changed.
    pub(super) fn count(&mut self, success: bool) -> bool {
        self.row = if self.row.0 == success && self.row.1 > 0 {
            (success, self.row.1 + 1)
        } else {
            (success, 1)
        };
        let enough = if success { self.successes } else { self.failures };
        if self.row.1 < enough {
            return false;
        }
        if !success && self.kind != Kind::Readiness {
            self.hold = true;
        }
        let before = self.result.replace(success);
        before != Some(success) && !(self.kind == Kind::Readiness && before.is_none() && !success)
    }

    /// The container that it was about is not running: as good as a failure. True if that is new.
    pub(super) fn lose(&mut self) -> bool {
        if self.run.is_empty() {
            return false;
        }
        let initial = match self.kind {
            Kind::Readiness => Some(false),
            Kind::Liveness => Some(true),
            Kind::Startup => None,
        };
        let before = self.result.or(initial);
        self.result = Some(false);
        before != Some(false)
    }
}

/// What a look at a container found: whether it is well, and what to say if not.
pub(super) type Finding = Result<(), String>;

/// Look once. `up` says since when an unknown server has answered.
pub(super) fn look(world: &World, pod: &Value, spec: &Value, machine: &Machine, ip: &str, serving: bool) -> Finding {
    if spec["exec"].is_object() {
        let argv: Vec<String> = object::list(spec, "/exec/command")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        return run(
            world,
            pod,
            machine,
            &argv,
            spec["timeoutSeconds"].as_i64().unwrap_or(1),
            serving,
        );
    }
    if serving {
        return Ok(());
    }
    let refused = |port: &Value| format!("dial tcp {ip}:{}: connect: connection refused", number(port, pod));
    if let Some(port) = spec["httpGet"].get("port") {
        let scheme = spec["httpGet"]["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let path = spec["httpGet"]["path"].as_str().unwrap_or("/");
        return Err(format!(
            "Get \"{scheme}://{ip}:{}{path}\": {}",
            number(port, pod),
            refused(port)
        ));
    }
    if let Some(port) = spec["tcpSocket"].get("port") {
        return Err(refused(port));
    }
    let port = number(&spec["grpc"]["port"], pod);
    Err(format!(
        "timeout: failed to connect service \"{ip}:{port}\" within 1s: context deadline exceeded"
    ))
}

fn number(port: &Value, pod: &Value) -> i64 {
    port.as_i64().unwrap_or_else(|| {
        let ports = object::list(pod, "/spec/containers")
            .iter()
            .flat_map(|c| object::list(c, "/ports"));
        ports
            .filter(|p| p["name"] == *port)
            .find_map(|p| p["containerPort"].as_i64())
            .unwrap_or(0)
    })
}

/// Run a command as a probe or hook does: what it prints is the reason of its failure. It takes no time but its own timeout.
pub(super) fn run(
    world: &World,
    pod: &Value,
    machine: &Machine,
    argv: &[String],
    timeout: i64,
    serving: bool,
) -> Finding {
    let now = world.now;
    let program = argv
        .first()
        .map_or("", |path| path.rsplit('/').next().unwrap_or(path))
        .to_owned();
    if !machine.closed && !super::shell::knows(&program) {
        // A check that is inside an image that we do not have succeeds once its server is up.
        return if serving { Ok(()) } else { Err(String::new()) };
    }
    let mut process = Process::start(machine, argv, Vec::new(), now).map_err(|why| {
        format!("OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown")
    })?;
    let reach = |host: &str, port: u16| match network::answer(world, object::namespace(pod), host, port) {
        // From inside, a pod's own server answers when it is up.
        Reach::Refused if serving && (host == "localhost" || host == "127.0.0.1") => Reach::Open,
        other => other,
    };
    let mut at = now;
    loop {
        match process.run(at, &reach) {
            Progress::Ended(0) => return Ok(()),
            Progress::Ended(_) | Progress::OutOfMemory => {
                return Err(String::from_utf8_lossy(&lock(&process.log).text()).into_owned());
            }
            Progress::Waits(Some(next)) if next - now <= timeout * 1000 => at = next,
            Progress::Waits(_) => {
                let command = argv.join(" ");
                return Err(format!("command timed out: \"{command}\" timed out after {timeout}s"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_needs_as_many_findings_in_a_row_as_its_threshold() {
        let spec = json!({"livenessProbe": {"exec": {}, "failureThreshold": 2, "periodSeconds": 1}});
        let mut probe = Probe::of(&spec, Kind::Liveness, 0).unwrap();
        probe.follow("a");
        assert!(!probe.count(false));
        assert!(probe.count(true));
        assert!(!probe.count(false));
        assert!(probe.count(false));
        assert!(probe.hold);
        probe.follow("b");
        assert!(!probe.hold && probe.result.is_none());
    }

    #[test]
    fn a_delay_counts_from_the_whole_second_of_the_start() {
        let spec = json!({"readinessProbe": {"exec": {}, "initialDelaySeconds": 1, "periodSeconds": 1}});
        let probe = Probe::of(&spec, Kind::Readiness, 280).unwrap();
        assert!(!probe.is_time(2700, 2750));
        assert!(probe.is_time(2700, 3000));
    }
}
