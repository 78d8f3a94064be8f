# GitHub Actions authenticates with a short-lived token and no stored key: one role that may read, one that may change.
locals {
  repository           = "${var.github.owner}/${var.github.repository}"
  repository_immutable = "${var.github.owner}@${var.github.owner_id}/${var.github.repository}@${var.github.repository_id}"

  subjects = {
    # Only pull requests of the repository itself get a token with this subject; GitHub gives forks none.
    plan = [
      "repo:${local.repository}:pull_request",
      "repo:${local.repository_immutable}:pull_request",
    ]
    # The environment's own rules (reviewers, branches) stand between a commit and this role.
    apply = [
      "repo:${local.repository}:environment:${var.github.environment}",
      "repo:${local.repository_immutable}:environment:${var.github.environment}",
    ]
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.subjects

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:sub"
      values   = each.value
    }
  }
}

# Reads what a plan reads, takes the state's lock, changes nothing. It reads state: keep secrets out of state.
resource "aws_iam_role" "plan" {
  name                 = "${var.project}-plan"
  path                 = "/${var.project}/"
  assume_role_policy   = data.aws_iam_policy_document.github_trust["plan"].json
  permissions_boundary = aws_iam_policy.boundary.arn
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "plan" {
  name   = "plan"
  role   = aws_iam_role.plan.id
  policy = templatefile("${path.module}/iam/plan.json.tftpl", local.iam)
}

resource "aws_iam_role" "apply" {
  name                 = "${var.project}-apply"
  path                 = "/${var.project}/"
  assume_role_policy   = data.aws_iam_policy_document.github_trust["apply"].json
  permissions_boundary = aws_iam_policy.boundary.arn
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "apply" {
  for_each = {
    plan       = "plan.json.tftpl"
    apply      = "apply.json.tftpl"
    controller = "controller.json.tftpl"
  }

  name   = each.key
  role   = aws_iam_role.apply.id
  policy = templatefile("${path.module}/iam/${each.value}", local.iam)
}
