variable "kubeconfig" {
  description = "Path of the kubeconfig of the cluster."
  type        = string
}

variable "size" {
  description = "small (to 1,000 users at a time), medium (to 5,000) or large (to 20,000)."
  type        = string
  default     = "small"

  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "The size is small, medium or large."
  }
}

variable "server_name" {
  description = "The Matrix server name. It can never change once users exist."
  type        = string
}

variable "synapse_version" {
  description = "Tag of matrixdotorg/synapse."
  type        = string
  default     = "v1.119.0"
}
