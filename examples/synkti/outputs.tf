output "workers" {
  description = "Workers by id, with type, zone and addresses."
  value       = myelin_node_pool.workers.nodes
}

output "peers" {
  description = "Private addresses of everything that has the cluster's discovery tags."
  value       = data.myelin_nodes.peers.private_ips
}
