variable "kubeconfig" {
  description = "Path of the kubeconfig that names the cluster. Null leaves the choice to the provider's environment variables."
  type        = string
  default     = null
}

variable "context" {
  description = "Context of the kubeconfig. Null means the one it names as current."
  type        = string
  default     = null
}

variable "image_tags" {
  description = "Image tag of each service. A changed tag rolls that service alone, after those it waits for are ready."
  type = object({
    aha      = optional(string, "v2.256.0")
    axon     = optional(string, "v2.256.0")
    jsonstor = optional(string, "v2.256.0")
    cortex   = optional(string, "v2.256.0")
    optic    = optional(string, "v2.x.x") # has versions of its own
  })
  default = {}
}

variable "storage" {
  description = "Size of each service's volume. Kubernetes does not let a StatefulSet change it afterwards: a plan that tries says so."
  type = object({
    aha      = optional(string, "1Gi")
    axon     = optional(string, "10Gi")
    jsonstor = optional(string, "2Gi")
    cortex   = optional(string, "10Gi")
    optic    = optional(string, "1Gi")
  })
  default = {}
}

variable "optic_host" {
  description = "Host name, with a port if it is not 443, at which people reach Optic. It is written into links and log-in redirects."
  type        = string
  default     = "synapse.example.com"

  validation {
    condition     = !strcontains(var.optic_host, "/")
    error_message = "Give a host name, with a port if need be, and no scheme or path: synapse.example.com or localhost:4443."
  }
}
