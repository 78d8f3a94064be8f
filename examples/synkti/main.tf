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
  user_data        = replace(file("${path.module}/boot.sh"), "@BUCKET@", "${var.project}-models")
  root_volume      = { size = 100 }

  # Workers find each other by these; nobody has a list of them.
  discovery_tags = {
    SynktiCluster = var.project
    SynktiRole    = "worker"
  }

  rollout = {
    health         = "tag" # the agent says when a worker is ready
    health_timeout = "15m" # a model is large
    drain_timeout  = "2m"
  }
}

data "myelin_nodes" "peers" {
  tags       = { SynktiCluster = var.project, SynktiRole = "worker" }
  depends_on = [myelin_node_pool.workers]
}
