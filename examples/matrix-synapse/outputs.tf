output "components" {
  description = "Status of each component."
  value       = myelin_stack.synapse.components_status
}
