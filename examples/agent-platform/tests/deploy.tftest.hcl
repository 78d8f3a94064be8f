# Deploys the dev overlay to the cluster that TF_VAR_kubeconfig names, and destroys it at the end. `terraform get` first.
run "sandbox" {
  module {
    source = "./tests/cluster"
  }
}

run "comes_up" {
  command = apply

  assert {
    condition     = alltrue([for status in values(output.components) : status == "ready"])
    error_message = "Every component has to be ready."
  }

  assert {
    condition     = !can(jsondecode(myelin_stack.platform.objects["apps/Deployment/synapse-dev/synapse"]).spec.replicas)
    error_message = "The replicas are the autoscaler's."
  }
}
