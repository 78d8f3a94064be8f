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

provider "postgresql" {
  host     = "database.shop.example.com"
  username = "admin"
  password = ephemeral.myelin_secret.password.value
}
