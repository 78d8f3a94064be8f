# What a sandbox has to be told before it can play this system. On a real cluster it is a ConfigMap that nobody reads.
terraform {
  required_providers {
    myelin = { source = "myelin-dev/myelin" }
  }
}

variable "kubeconfig" {
  description = "Path of the kubeconfig of the cluster."
  type        = string
}

provider "myelin" {
  kubeconfig = var.kubeconfig
}

resource "myelin_stack" "sandbox" {
  name      = "sandbox"
  namespace = "synapse-dev"
  source    = "${path.module}/k8s"
}
