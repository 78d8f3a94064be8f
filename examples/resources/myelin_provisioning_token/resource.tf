# AHA's tool prints `one-time use URL: ssl://…`; the URL alone goes into the Secret. A used URL is refused on a fresh
# volume, so a new volume means a new URL, and the axon starts anew with it.
resource "myelin_provisioning_token" "axon" {
  namespace = "synapse"
  name      = "axon"

  issuer = {
    exec = {
      pod     = "aha-0"
      command = ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"]
    }
  }
  extract = "url"

  secret = {
    name = "axon-provision"
    key  = "SYN_AXON_AHA_PROVISION"
  }

  rotate_with = ["PersistentVolumeClaim/data-axon-0"]
  restart     = ["StatefulSet/axon"]
}

# A password that Myelin makes itself and renews every ninety days.
resource "myelin_provisioning_token" "database" {
  namespace     = "synapse"
  name          = "database"
  issuer        = { random = { bytes = 24, encoding = "base64url" } }
  secret        = { name = "database", key = "password" }
  expires_after = 90 * 24 * 60 * 60
}
