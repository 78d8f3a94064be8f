# Deploys for real into the namespace matrix of the cluster that TF_VAR_kubeconfig names, and destroys it at the end.
variables {
  server_name = "matrix.example.com"
}

run "comes_up" {
  command = apply

  assert {
    condition     = alltrue([for status in values(output.components) : status == "ready"])
    error_message = "Every component has to be ready."
  }
}
