import {
  to = myelin_node_pool.workers
  identity = {
    cluster = "prod"
    name    = "workers"
  }
}
