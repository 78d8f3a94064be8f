# Deploys into the namespace matrix of the cluster that TF_VAR_kubeconfig names, and destroys it at the end. `terraform get` first.
variables {
  server_name = "matrix.example.com"
}

# What others own comes first. Leave this run out where the operators are really there.
run "phase_1" {
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
    condition     = length(myelin_stack.synapse.tokens_status) == 7
    error_message = "Six secrets and the signing key are minted."
  }
}

run "grows" {
  command = apply

  variables {
    size = "medium"
  }

  assert {
    condition     = jsondecode(myelin_stack.synapse.objects["apps/StatefulSet/matrix/synapse-main"]).spec.template.spec.containers[0].resources.requests.memory == "4Gi"
    error_message = "The size is an overlay."
  }

  assert {
    condition     = alltrue([for token in values(myelin_stack.synapse.tokens_status) : token.mints == 1])
    error_message = "Another size mints nothing."
  }
}
