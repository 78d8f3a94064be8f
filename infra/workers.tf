# What a node of a pool may do, and what may reach it.
resource "aws_iam_role" "worker" {
  name                 = "${var.project}-worker"
  path                 = "/${var.project}/"
  permissions_boundary = aws_iam_policy.boundary.arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "worker" {
  name   = "worker"
  role   = aws_iam_role.worker.id
  policy = templatefile("${path.module}/iam/worker.json.tftpl", local.iam)
}

resource "aws_iam_instance_profile" "worker" {
  name = "${var.project}-worker"
  path = "/${var.project}/"
  role = aws_iam_role.worker.name
}

resource "aws_security_group" "workers" {
  #checkov:skip=CKV2_AWS_5:pools attach it, and pools are made later
  name        = "${var.project}-workers"
  description = "Nodes of ${var.project}: they reach each other and the outside, nobody reaches them"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "peers" {
  for_each = {
    gossip  = { port = 7946, protocol = "udp" }
    streams = { port = 7946, protocol = "tcp" }
    front   = { port = 8080, protocol = "tcp" }
  }

  security_group_id            = aws_security_group.workers.id
  description                  = "${each.key} between nodes"
  referenced_security_group_id = aws_security_group.workers.id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "peers" {
  security_group_id            = aws_security_group.workers.id
  description                  = "To other nodes"
  referenced_security_group_id = aws_security_group.workers.id
  ip_protocol                  = "-1"
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.workers.id
  description       = "AWS APIs, buckets and package sources"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
