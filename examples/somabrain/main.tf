terraform {
  required_version = ">= 1.11"
  required_providers {
    myelin = { source = "myelin-dev/myelin" }
  }
}

provider "myelin" {
  kubeconfig = var.kubeconfig
}

resource "myelin_stack" "somabrain" {
  name      = "somabrain"
  namespace = "somabrain-${var.environment}"
  source    = "${path.module}/k8s/overlays/${var.environment}"

  images     = { "somatechlat/somabrain" = var.image_tag }
  substitute = { HOST = var.host }

  # A release that does not answer is rolled back to the previous one.
  on_failure = "rollback"

  components = {
    postgres = {
      path   = "../../base/postgres"
      tokens = ["postgres"]
      verify = [{
        exec = { pod = "postgres-0", command = ["pg_isready", "-U", "soma", "-d", "somabrain"] }
      }]
    }
    redis   = { path = "../../base/redis" }
    opa     = { path = "../../base/opa" }
    migrate = { path = "../../base/migrate", after = ["postgres"], timeout = "10m" }
    api = {
      path   = "../../base/api"
      after  = ["migrate", "redis", "opa"]
      verify = [{ http = { service = "somabrain", port = "http", path = "/health" }, timeout = "1m" }]
    }
    ingress = { path = "../../base/ingress", after = ["api"] }
  }

  # Minted once; it is in no plan, no state and no commit. Postgres reads it only when its volume is empty.
  tokens = {
    postgres = {
      issuer = { random = { bytes = 24 } }
      secret = { name = "somabrain-postgres", key = "POSTGRES_PASSWORD" }
    }
  }
}
