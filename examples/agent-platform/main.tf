terraform {
  required_version = ">= 1.11"
  required_providers {
    myelin = { source = "myelin-dev/myelin" }
  }
}

provider "myelin" {
  kubeconfig = var.kubeconfig
}

resource "myelin_stack" "platform" {
  name      = "synapse"
  namespace = "synapse-${var.environment}"
  source    = "${path.module}/k8s/overlays/${var.environment}"

  images     = { "synapse/core" = var.image_tag }
  substitute = { HOST = var.host }

  components = {
    config = { path = "../../base/config" }
    stores = {
      path   = "../../base/stores"
      after  = ["config"]
      tokens = ["database"]
      verify = [{ http = { service = "qdrant", path = "/readyz" } }]
    }
    app = {
      path   = "../../base/app"
      after  = ["stores"]
      verify = [{ http = { service = "synapse", port = "api", path = "/health" } }]
    }
    monitoring = { path = "../../base/monitoring", after = ["config"], tokens = ["grafana"] }
    backup     = { path = "../../base/backup", after = ["stores"] }
  }

  # Minted once, in the cluster; in no plan, no state and no commit.
  tokens = {
    database = { issuer = { random = { bytes = 24 } }, secret = { name = "synapse-database", key = "password" } }
    grafana  = { issuer = { random = { bytes = 18 } }, secret = { name = "grafana-admin", key = "password" } }
  }
}
