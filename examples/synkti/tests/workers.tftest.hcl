# Launches two workers in the account of the environment, adds a third, and ends them. On the sandbox: -var health=statusChecks.
variables {
  project          = "synkti-test"
  subnets          = ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0bbbbbbbbbbbbbbb2"]
  security_groups  = ["sg-0a1b2c3d4e5f60718"]
  instance_profile = "synkti-test-worker"
  checksums = {
    agent  = "0000000000000000000000000000000000000000000000000000000000000000"
    unit   = "1111111111111111111111111111111111111111111111111111111111111111"
    synkti = "2222222222222222222222222222222222222222222222222222222222222222"
  }
}

run "a_checksum_that_is_none_is_refused" {
  command = plan

  variables {
    checksums = { agent = "v1.2.3", unit = "", synkti = "" }
  }

  expect_failures = [var.checksums]
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

run "one_more" {
  command = apply

  variables {
    worker_count = 3
  }

  assert {
    condition     = length(setsubtract(keys(run.workers_come_up.workers), keys(output.workers))) == 0 && length(output.workers) == 3
    error_message = "A third worker comes, the two stay."
  }
}
