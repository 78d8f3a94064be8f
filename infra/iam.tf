# Common to the policy documents under iam/. They are files, so that a test can check the product's calls against them.
locals {
  iam = {
    partition          = data.aws_partition.current.partition
    region             = var.region
    account_id         = var.account_id
    project            = var.project
    cluster_tag        = var.cluster_tag
    worker_role_arn    = "arn:${data.aws_partition.current.partition}:iam::${var.account_id}:role/${var.project}/${var.project}-worker"
    boundary_arn       = "arn:${data.aws_partition.current.partition}:iam::${var.account_id}:policy/${var.project}/${var.project}-boundary"
    models_bucket      = local.buckets.models
    checkpoints_bucket = local.buckets.checkpoints
    state_bucket       = local.buckets.state
  }
}

# The upper limit for every role of this project, whatever is attached to it later.
resource "aws_iam_policy" "boundary" {
  name   = "${var.project}-boundary"
  path   = "/${var.project}/"
  policy = templatefile("${path.module}/iam/boundary.json.tftpl", local.iam)
}
