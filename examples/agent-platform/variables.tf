variable "kubeconfig" {
  description = "Path of the kubeconfig of the cluster."
  type        = string
}

variable "environment" {
  description = "Which overlay: dev (to 10 users), staging (to 50) or prod (to 200)."
  type        = string
  default     = "dev"

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "The environment is dev, staging or prod."
  }
}

variable "image_tag" {
  description = "Tag of synapse/core."
  type        = string
  default     = "3.1.0"
}

variable "host" {
  description = "Host name of the ingress."
  type        = string
  default     = "synapse.example.com"
}
