resource "myelin_provisioning_token" "database" {
  namespace = "shop"
  name      = "database"
  issuer    = { random = { bytes = 24 } }
  secret    = { name = "database", key = "password" }
}

# Read when it is needed, and held in memory alone.
ephemeral "myelin_secret" "password" {
  namespace = "shop"
  name      = "database"
  key       = "password"
  after     = myelin_provisioning_token.database.secret_uid
}

# For what takes values that are never stored: a provider block, a write-only attribute.
resource "myelin_stack" "reports" {
  name      = "reports"
  namespace = "reports"
  source    = "${path.module}/k8s"

  substitute_wo         = { DATABASE_PASSWORD = ephemeral.myelin_secret.password.value }
  substitute_wo_version = myelin_provisioning_token.database.value_hash
}
