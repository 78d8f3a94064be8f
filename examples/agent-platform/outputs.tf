output "components" {
  description = "Status of each component."
  value       = myelin_stack.platform.components_status
}
