//! SSM: parameters, and shell commands on instances that succeed after a while, or end as a fault says. Nothing is executed.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::catalog;
use super::cloud::{Cloud, State};
use super::error::Ec2Error;

/// A command that was sent.
#[derive(Debug, Clone)]
pub struct Command {
    /// Its id.
    pub id: String,
    /// The instances that it was sent to.
    pub instances: Vec<String>,
    /// Its lines.
    pub script: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// GetParameter.
///
/// # Errors
/// When there is no such parameter.
pub(crate) fn parameter(cloud: &Cloud, body: &Value) -> Result<Value, Ec2Error> {
    let name = body.get("Name").and_then(Value::as_str).unwrap_or_default();
    let world = cloud.world();
    let value = world
        .parameters
        .get(name)
        .ok_or_else(|| Ec2Error::new("ParameterNotFound", ""))?;
    let arn = format!("arn:aws:ssm:{}::parameter{name}", catalog::REGION);
    Ok(json!({"Parameter": {
        "Name": name, "Type": "String", "Value": value, "Version": 1, "ARN": arn,
        "DataType": "aws:ec2:image", "LastModifiedDate": cloud.clock.now().as_second(),
    }}))
}

/// SendCommand, of `AWS-RunShellScript` alone.
///
/// # Errors
/// When an instance does not run, or the document is another.
pub(crate) fn send(cloud: &Cloud, body: &Value) -> Result<Value, Ec2Error> {
    let texts = |value: Option<&Value>| -> Vec<String> {
        let all = value.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let document = body.get("DocumentName").and_then(Value::as_str).unwrap_or_default();
    if document != "AWS-RunShellScript" {
        return Err(Ec2Error::new(
            "InvalidDocument",
            format!("{document} is not modelled by this sandbox"),
        ));
    }
    let script = texts(body.pointer("/Parameters/commands"));
    if script.is_empty() {
        return Err(Ec2Error::new("InvalidParameters", "commands is required"));
    }
    let instances = texts(body.get("InstanceIds"));
    if instances.is_empty() || instances.len() > 50 {
        return Err(Ec2Error::new("ValidationException", "1 to 50 InstanceIds are required"));
    }
    let now = cloud.clock.now();
    let mut world = cloud.world();
    let runs = |id: &String| {
        let found = world.instances.get(id);
        found.and_then(|i| i.state(now, &cloud.times)) == Some(State::Running)
    };
    if let Some(id) = instances.iter().find(|id| !runs(id)) {
        return Err(Ec2Error::new(
            "InvalidInstanceId",
            format!("Instances not in a valid state for account: {id}"),
        ));
    }
    let id = world.id("cmd");
    world.commands.push(Command {
        id: id.clone(),
        instances,
        script,
        at: now,
    });
    Ok(json!({"Command": {"CommandId": id, "DocumentName": document, "Status": "Pending", "StatusDetails": "Pending"}}))
}

/// GetCommandInvocation.
///
/// # Errors
/// When the command was not sent to that instance.
pub(crate) fn invocation(cloud: &Cloud, body: &Value) -> Result<Value, Ec2Error> {
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    let (command, instance) = (text("CommandId"), text("InstanceId"));
    let now = cloud.clock.now();
    let world = cloud.world();
    let found = world
        .commands
        .iter()
        .find(|c| c.id == command && c.instances.iter().any(|i| i == instance));
    let found = found.ok_or_else(|| Ec2Error::new("InvocationDoesNotExist", ""))?;
    let done = found.at.saturating_add(cloud.times.command).unwrap_or(now) <= now;
    let details = match (&world.faults.commands_end, done) {
        (_, false) => "In Progress",
        (None, true) => "Success",
        (Some(other), true) => other.as_str(),
    };
    let (status, code) = match details {
        "In Progress" => ("InProgress", -1),
        "Success" => ("Success", 0),
        "Execution Timed Out" | "Delivery Timed Out" => ("TimedOut", -1),
        _ => ("Failed", 1),
    };
    Ok(json!({
        "CommandId": command, "InstanceId": instance, "DocumentName": "AWS-RunShellScript",
        "Status": status, "StatusDetails": details, "ResponseCode": code,
    }))
}
