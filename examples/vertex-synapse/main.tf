# The Synapse stack: five services that start in order, each only when those it needs are ready.
terraform {
  required_version = ">= 1.8"
  required_providers {
    myelin = {
      source = "myelin-dev/myelin"
    }
  }
}

# The cluster comes from the environment (KUBE_CONFIG_PATH) or from the variables; nothing is guessed.
provider "myelin" {
  kubeconfig = var.kubeconfig
  context    = var.context
}

resource "myelin_stack" "synapse" {
  name      = "synapse"
  namespace = "synapse"
  source    = "${path.module}/k8s"

  images = {
    "vertexproject/synapse-aha"      = var.image_tags.aha
    "vertexproject/synapse-axon"     = var.image_tags.axon
    "vertexproject/synapse-jsonstor" = var.image_tags.jsonstor
    "vertexproject/synapse-cortex"   = var.image_tags.cortex
    "vertexproject/optic"            = var.image_tags.optic
  }

  substitute = {
    AHA_STORAGE      = var.storage.aha
    AXON_STORAGE     = var.storage.axon
    JSONSTOR_STORAGE = var.storage.jsonstor
    CORTEX_STORAGE   = var.storage.cortex
    OPTIC_STORAGE    = var.storage.optic
    OPTIC_NETLOC     = var.optic_host
  }

  # AHA mints a one-time URL for each service, once, after AHA is ready and before the service starts. A new volume needs a new one.
  tokens = {
    for service in ["axon", "jsonstor", "cortex", "optic"] : service => {
      issuer = {
        exec = {
          pod     = "aha-0"
          command = ["python", "-m", "synapse.tools.aha.provision.service", "00.${service}"]
        }
      }
      extract     = "url"
      secret      = { name = "${service}-provision", key = "SYN_${upper(service)}_AHA_PROVISION" }
      rotate_with = ["PersistentVolumeClaim/data-${service}-0"]
      restart     = ["StatefulSet/${service}"]
    }
  }

  components = {
    aha      = { path = "base/aha" }
    axon     = { path = "base/axon", after = ["aha"], tokens = ["axon"] }
    jsonstor = { path = "base/jsonstor", after = ["aha"], tokens = ["jsonstor"] }
    cortex   = { path = "base/cortex", after = ["aha", "axon", "jsonstor"], tokens = ["cortex"] }
    optic    = { path = "base/optic", after = ["aha", "cortex", "axon"], tokens = ["optic"] }
  }
}
