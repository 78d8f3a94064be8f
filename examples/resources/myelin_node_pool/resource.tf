resource "myelin_node_pool" "workers" {
  name           = "workers"
  cluster        = "prod"
  min            = 2
  max            = 6
  capacity       = { on_demand_base = 1 } # the rest is spot
  instance_types = ["g4dn.xlarge", "g5.xlarge"]
  image          = { parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64" }
  subnets        = ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0bbbbbbbbbbbbbbb2"]

  security_groups  = ["sg-0a1b2c3d4e5f60718"]
  instance_profile = "workers"

  # Write-only: in no plan and in no state. In a module of its own a file is handier: file("${path.module}/boot.sh").
  user_data = <<-EOT
    #!/bin/sh
    aws s3 cp s3://example-models/bin/start /usr/local/bin/start
    exec sh /usr/local/bin/start
  EOT

  # Peers find each other by these.
  discovery_tags = { SynktiCluster = "prod", SynktiRole = "worker" }

  rollout = {
    surge         = "25%"
    health        = "tag" # myelin-agent says when a node is ready
    drain_timeout = "10m"
  }
}
