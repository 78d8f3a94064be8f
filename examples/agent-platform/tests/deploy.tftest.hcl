# Deploys the dev overlay for real and destroys it at the end. Set TF_VAR_kubeconfig to a cluster that may be used for that.
run "comes_up" {
  command = apply

  assert {
    condition     = alltrue([for status in values(output.components) : status == "ready"])
    error_message = "Every component has to be ready."
  }
}
