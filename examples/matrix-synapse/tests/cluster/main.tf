# What phase 1 leaves behind, cut down for tries on a sandbox: definitions, their objects, and a stand-in for the operators. Not for real
# clusters.
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

resource "myelin_stack" "phase_1" {
  name             = "phase-1"
  namespace        = "matrix"
  source           = "${path.module}/k8s"
  delete_protected = ["CustomResourceDefinition"]
}

# The operators own the status of their objects.
resource "terraform_data" "operators" {
  for_each = {
    "clusters.postgresql.cnpg.io/matrix-postgresql" = { conditions = [{ type = "Ready", status = "True", reason = "ClusterIsReady" }] }
    "tenants.minio.min.io/minio"                    = { currentState = "Initialized" }
  }
  triggers_replace = myelin_stack.phase_1.revision

  provisioner "local-exec" {
    command = "kubectl patch ${each.key} --namespace matrix --subresource status --type merge --patch \"$STATUS\""
    environment = {
      KUBECONFIG = var.kubeconfig
      STATUS     = jsonencode({ status = each.value })
    }
  }
}
