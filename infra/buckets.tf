# Three buckets with three lives: models outlive everything, checkpoints expire, state is versioned and locked.
locals {
  buckets = {
    models      = "${var.project}-models"
    checkpoints = "${var.project}-checkpoints"
    state       = "${var.project}-terraform-state"
  }
}

# An apply cannot recreate the content of this bucket: a destroy leaves it.
resource "aws_s3_bucket" "models" {
  #checkov:skip=CKV_AWS_144:one region by design; versioning is the safety that the data needs
  #checkov:skip=CKV_AWS_145:SSE-S3; a customer key would need a grant for every worker and buys nothing inside one account
  #checkov:skip=CKV_AWS_18:access is recorded by CloudTrail data events where an organisation wants it
  #checkov:skip=CKV2_AWS_62:nothing listens to object events
  bucket = local.buckets.models

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "checkpoints" {
  #checkov:skip=CKV_AWS_144:a checkpoint is worth a few days in one region
  #checkov:skip=CKV_AWS_145:SSE-S3, as for models
  #checkov:skip=CKV_AWS_18:as for models
  #checkov:skip=CKV_AWS_21:a checkpoint is written once under its own name and expires; versions would only cost
  #checkov:skip=CKV2_AWS_62:nothing listens to object events
  bucket        = local.buckets.checkpoints
  force_destroy = true
}

resource "aws_s3_bucket" "state" {
  #checkov:skip=CKV_AWS_144:one region by design; versioning is the safety that state needs
  #checkov:skip=CKV_AWS_145:SSE-S3, as for models
  #checkov:skip=CKV_AWS_18:as for models
  #checkov:skip=CKV2_AWS_62:nothing listens to object events
  bucket = local.buckets.state

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "models" {
  bucket = aws_s3_bucket.models.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_versioning" "state" {
  bucket = aws_s3_bucket.state.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "all" {
  for_each = local.bucket_ids

  bucket = each.value
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "models" {
  bucket                  = aws_s3_bucket.models.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_public_access_block" "checkpoints" {
  bucket                  = aws_s3_bucket.checkpoints.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_public_access_block" "state" {
  bucket                  = aws_s3_bucket.state.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "models" {
  bucket = aws_s3_bucket.models.id

  rule {
    id     = "abandoned-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "checkpoints" {
  bucket = aws_s3_bucket.checkpoints.id

  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.checkpoint_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "state" {
  bucket = aws_s3_bucket.state.id

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days           = 90
      newer_noncurrent_versions = 10
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# Reading and writing require TLS, whatever a role allows.
resource "aws_s3_bucket_policy" "tls_only" {
  for_each = local.bucket_ids

  bucket = each.value
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource = [
        "arn:${data.aws_partition.current.partition}:s3:::${each.value}",
        "arn:${data.aws_partition.current.partition}:s3:::${each.value}/*",
      ]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

locals {
  bucket_ids = {
    models      = aws_s3_bucket.models.id
    checkpoints = aws_s3_bucket.checkpoints.id
    state       = aws_s3_bucket.state.id
  }
}
