# Deploys the dev overlay to the cluster that TF_VAR_kubeconfig names, and destroys it at the end. `terraform get` first.
run "sandbox" {
  module {
    source = "./tests/cluster"
  }
}

run "first_release" {
  command = apply

  assert {
    condition     = alltrue([for status in values(output.components) : status == "ready"])
    error_message = "Every component has to be ready."
  }
}

run "next_release" {
  command = apply

  variables {
    image_tag = "stable-20260102"
  }

  assert {
    condition     = strcontains(myelin_stack.somabrain.objects["batch/Job/somabrain-dev/somabrain-migrate"], "stable-20260102")
    error_message = "The migration runs again with the new image."
  }
}
