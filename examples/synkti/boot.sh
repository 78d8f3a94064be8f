#!/bin/bash
# What a worker does at its first boot. Two programs lie in the models bucket under bin/, where infra/bootstrap.sh puts them:
# the agent and the orchestrator. The agent is the only unit: it starts the orchestrator, watches it, drains it when asked, and
# says "ready" in the node's state tag, which is what the pool waits for.
set -euo pipefail
bucket="@BUCKET@"

install -d -m 0755 /opt/synkti /etc/myelin
for program in myelin-agent synkti; do
  aws s3 cp --only-show-errors "s3://$bucket/bin/$program" "/opt/synkti/$program"
  chmod 0755 "/opt/synkti/$program"
done

cat >/etc/myelin/agent.yaml <<'YAML'
identity: {clusterTag: SynktiCluster, roleTag: SynktiRole}
workload:
  command: [/opt/synkti/synkti, worker]
  health: {http: "http://127.0.0.1:8000/health"}
YAML

cat >/etc/systemd/system/synkti.service <<'UNIT'
[Unit]
Description=Synkti worker under myelin-agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/opt/synkti/myelin-agent run --config /etc/myelin/agent.yaml
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=150

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now synkti.service
