# cluster/name
terraform import myelin_node_pool.workers prod/workers
