output "components" {
  description = "Status of each component."
  value       = myelin_stack.somabrain.components_status
}
