terraform {
  required_version = ">= 1.11"
  required_providers {
    myelin = { source = "myelin-dev/myelin" }
  }
}

provider "myelin" {
  kubeconfig = var.kubeconfig
}

locals {
  generated = ["macaroon-secret", "registration-secret", "form-secret", "replication-secret", "turn-secret", "key-vault-api-key"]
}

resource "myelin_stack" "synapse" {
  name      = "synapse"
  namespace = "matrix"
  source    = "${path.module}/k8s/overlays/${var.size}"

  images     = { "matrixdotorg/synapse" = var.synapse_version }
  substitute = { SERVER_NAME = var.server_name }

  # Phase 1 belongs to others: it is waited for and never touched.
  requires = [
    { api_version = "postgresql.cnpg.io/v1", kind = "Cluster", name = "matrix-postgresql" },
    { api_version = "apps/v1", kind = "StatefulSet", name = "redis" },
    {
      api_version = "minio.min.io/v2", kind = "Tenant", name = "minio"
      fields      = { "status.currentState" = "Initialized" }
    },
  ]

  policies = [{
    match   = { kind = "StatefulSet", name = "synapse-main" }
    rule    = "object.spec.replicas == 1"
    message = "the main process runs exactly once; add workers to scale"
  }]

  components = {
    config = { path = "../../base/config", tokens = concat(local.generated, ["signing-key"]) }
    main   = { path = "../../base/main", after = ["config"] }
    services = {
      path  = "../../base/services"
      after = ["main"]
      verify = [
        { http = { service = "synapse-client", path = "/health" } },
        { http = { service = "synapse-metrics", path = "/_synapse/metrics", body = "synapse_" } },
        {
          exec = {
            pod     = "synapse-main-0"
            command = ["psql", "-h", "matrix-postgresql-rw", "-U", "synapse", "-d", "matrix", "-c", "SELECT version();"]
            output  = "PostgreSQL"
          }
        },
        { exec = { pod = "synapse-main-0", command = ["redis-cli", "-h", "redis", "ping"], output = "PONG" } },
      ]
    }
    monitoring = { path = "../../base/monitoring", after = ["services"] }
  }

  # Minted once, in the cluster; in no plan, no state and no commit.
  tokens = merge(
    {
      for name in local.generated : name => {
        issuer = { random = { bytes = 32 } }
        secret = { name = "synapse-secrets", key = upper(replace(name, "-", "_")) }
      }
    },
    {
      signing-key = {
        issuer = { signing_key = {} }
        secret = { name = "synapse-signing-key", key = "signing.key" }
      }
    },
  )
}
