# Launches two workers for real in the account of the environment, and ends them.
variables {
  project          = "synkti-test"
  subnets          = ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0bbbbbbbbbbbbbbb2"]
  security_groups  = ["sg-0a1b2c3d4e5f60718"]
  instance_profile = "synkti-test-worker"
}

run "workers_come_up" {
  command = apply

  assert {
    condition     = length(output.workers) == 2 && length(output.peers) == 2
    error_message = "Two workers have to run and to find each other."
  }

  assert {
    condition     = alltrue([for worker in values(output.workers) : worker.lifecycle == "spot"])
    error_message = "Workers are spot."
  }
}
