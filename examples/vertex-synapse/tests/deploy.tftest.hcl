# Deploys to the cluster that TF_VAR_kubeconfig names, and destroys it at the end; the volumes stay.
run "comes_up" {
  command = apply

  assert {
    condition     = output.ready && alltrue([for status in values(output.components) : status == "ready"])
    error_message = "Every component has to be ready."
  }

  assert {
    condition     = alltrue([for token in values(myelin_stack.synapse.tokens_status) : token.mints == 1])
    error_message = "One URL is minted for each service, once."
  }
}

run "optic_moves" {
  command = apply

  variables {
    optic_host = "optic.example.com"
  }

  assert {
    condition     = strcontains(myelin_stack.synapse.objects["core/ConfigMap/synapse/optic"], "optic.example.com")
    error_message = "The host name is in Optic's configuration."
  }

  assert {
    condition     = alltrue([for token in values(myelin_stack.synapse.tokens_status) : token.mints == 1])
    error_message = "Nothing is minted again."
  }
}
