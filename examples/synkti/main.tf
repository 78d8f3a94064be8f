terraform {
  required_version = ">= 1.11"
  required_providers {
    myelin = { source = "myelin-dev/myelin" }
  }
}

# Region and credentials as every AWS tool finds them.
provider "myelin" {}

resource "myelin_node_pool" "workers" {
  name    = "workers"
  cluster = var.project
  size    = var.worker_count

  instance_types = var.instance_types
  image          = { parameter = var.image_parameter }
  subnets        = var.subnets

  security_groups  = var.security_groups
  instance_profile = var.instance_profile
  root_volume      = { size = 100 }

  # In no plan and in no state. Another checksum, another script: the pool is rolled.
  user_data = join("\n", [
    "#!/bin/bash",
    "project=${var.project}",
    "agent_sha256=${var.checksums.agent}",
    "unit_sha256=${var.checksums.unit}",
    "synkti_sha256=${var.checksums.synkti}",
    file("${path.module}/boot.sh"),
  ])

  # Workers find each other by these; nobody has a list of them.
  discovery_tags = {
    SynktiCluster = var.project
    SynktiRole    = "worker"
  }

  rollout = {
    health         = var.health
    health_timeout = "20m" # a model is large
    drain_timeout  = "3m"
  }
}

data "myelin_nodes" "peers" {
  tags       = { SynktiCluster = var.project, SynktiRole = "worker" }
  depends_on = [myelin_node_pool.workers]
}
