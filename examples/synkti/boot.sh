# What a worker does at its first boot. Before this stand the lines of main.tf or git/pool.yaml: the project, and the SHA-256 of what
# is fetched. Everything lies in the models bucket under its checksum, so a node that boots late gets what its pool was told.
set -euo pipefail
export AWS_RETRY_MODE=standard AWS_MAX_ATTEMPTS=10

fetch() { # NAME SHA256 FILE MODE
  aws s3 cp --only-show-errors "s3://$project-models/bin/$2/$1" "$3.new"
  echo "$2  $3.new" | sha256sum --check --quiet
  chmod "$4" "$3.new"
  mv "$3.new" "$3"
}
fetch myelin-agent "$agent_sha256" /usr/local/bin/myelin-agent 0755
fetch synkti "$synkti_sha256" /usr/local/bin/synkti 0755
fetch myelin-agent.service "$unit_sha256" /etc/systemd/system/myelin-agent.service 0644

# Saved before a worker goes, also for a spot notice.
cat >/usr/local/bin/save-checkpoint <<TEXT
#!/bin/bash
exec aws s3 sync --only-show-errors /var/lib/synkti/checkpoints "s3://$project-checkpoints/\$MYELIN_INSTANCE/"
TEXT
chmod 0755 /usr/local/bin/save-checkpoint

mkdir -p /etc/myelin /etc/systemd/system/myelin-agent.service.d
cat >/etc/myelin/agent.yaml <<TEXT
identity: {clusterTag: SynktiCluster, roleTag: SynktiRole}
workload:
  command: [/usr/local/bin/synkti, --project-name, $project]
  health: {http: "http://127.0.0.1:8000/health"}
  startTimeout: 15m
drain:
  rebalance: cordon
  hook: {command: [/usr/local/bin/save-checkpoint], timeout: 60s}
peers:
  key: {parameter: /$project/agent-key}
front: {listen: "0.0.0.0:8080", backend: "127.0.0.1:8000"}
TEXT

# What the orchestrator needs beside the unit's limits: the GPU, and a folder.
cat >/etc/systemd/system/myelin-agent.service.d/synkti.conf <<'TEXT'
[Service]
PrivateDevices=no
StateDirectory=synkti synkti/checkpoints
TEXT

systemctl daemon-reload
systemctl enable --now myelin-agent.service
