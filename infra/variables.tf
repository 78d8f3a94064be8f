variable "project" {
  description = "Name of the project: prefix of every bucket and role, and the value of the cluster tag of its nodes."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.project))
    error_message = "Use 3 to 32 characters of a-z, 0-9 and '-', beginning with a letter: it becomes part of bucket names."
  }
}

variable "region" {
  description = "AWS region of everything here."
  type        = string
}

variable "account_id" {
  description = "Account that may be changed. A plan against another account fails before it reads anything."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id has twelve digits."
  }
}

variable "vpc_id" {
  description = "VPC of the workers' security group."
  type        = string
}

variable "cluster_tag" {
  description = "Tag key that names the cluster of a node; the launcher sets it, nodes may not change it."
  type        = string
  default     = "myelin.dev:cluster"
}

variable "checkpoint_days" {
  description = "Days after which a checkpoint is deleted."
  type        = number
  default     = 7

  validation {
    condition     = var.checkpoint_days >= 1
    error_message = "A checkpoint lives for at least one day."
  }
}

variable "github" {
  description = <<-EOT
    Repository that deploys. `owner_id` and `repository_id` are the numbers that GitHub puts into the immutable form of the
    subject (`gh api repos/OWNER/NAME --jq '.owner.id, .id'`); repositories made, renamed or moved after 15 July 2026 present
    that form, older ones the form without numbers. Both are trusted exactly, neither with a wildcard.
  EOT
  type = object({
    owner         = string
    owner_id      = number
    repository    = string
    repository_id = number
    environment   = optional(string, "production")
  })

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.github.owner)) && can(regex("^[A-Za-z0-9._-]+$", var.github.repository)) && can(regex("^[A-Za-z0-9_-]+$", var.github.environment))
    error_message = "Owner, repository and environment are plain names: a '*' or '?' in a trust policy would let others in."
  }
}
