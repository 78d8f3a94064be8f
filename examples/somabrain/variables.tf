variable "kubeconfig" {
  description = "Path of the kubeconfig of the cluster."
  type        = string
}

variable "environment" {
  description = "Which overlay: dev, staging or prod."
  type        = string
  default     = "dev"

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "The environment is dev, staging or prod."
  }
}

variable "image_tag" {
  description = "Tag of somatechlat/somabrain. The API and the migration run the same image, so another tag runs the migration again."
  type        = string
  default     = "stable-20260101"
}

variable "host" {
  description = "Host name of the ingress."
  type        = string
  default     = "somabrain.internal"
}
