terraform {
  required_providers {
    myelin = {
      source = "myelin-dev/myelin"
    }
  }
}

provider "myelin" {
  kubeconfig = pathexpand("~/.kube/config")
  context    = "production"
}
