data "myelin_nodes" "workers" {
  cluster = "prod"
  pool    = "workers"
}

output "worker_addresses" {
  value = data.myelin_nodes.workers.private_ips
}
