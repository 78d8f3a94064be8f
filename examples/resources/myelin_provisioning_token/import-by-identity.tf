import {
  to = myelin_provisioning_token.axon
  identity = {
    namespace = "synapse"
    name      = "axon"
  }
}
