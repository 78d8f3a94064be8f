# Deploys the dev overlay for real and destroys it at the end. Set TF_VAR_kubeconfig to a cluster that may be used for that.
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
