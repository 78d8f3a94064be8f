output "buckets" {
  description = "Names of the buckets."
  value       = local.buckets
}

output "instance_profile" {
  description = "Instance profile for a pool's `instance_profile`."
  value       = aws_iam_instance_profile.worker.name
}

output "security_group" {
  description = "Security group for a pool's `security_groups`."
  value       = aws_security_group.workers.id
}

output "plan_role_arn" {
  description = "Role for the plan on pull requests: repository variable AWS_PLAN_ROLE_ARN."
  value       = aws_iam_role.plan.arn
}

output "apply_role_arn" {
  description = "Role for the apply on main: variable AWS_APPLY_ROLE_ARN of the environment."
  value       = aws_iam_role.apply.arn
}
