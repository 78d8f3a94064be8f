output "ready" {
  description = "Whether every component was ready at the end of the last apply or refresh."
  value       = myelin_stack.synapse.ready
}

output "components" {
  description = "Status of each component."
  value       = myelin_stack.synapse.components_status
}

output "cortex" {
  description = "Where pods of the same cluster reach the Cortex's HTTPS API."
  value       = "https://cortex.${myelin_stack.synapse.namespace}.svc:4443"
}

output "optic" {
  description = "Where people reach Optic, once a route to its Service carries this name."
  value       = "https://${var.optic_host}"
}
