variable "project" {
  description = "Name of the cluster: `--project` of infra/bootstrap.sh, prefix of the buckets that it made."
  type        = string
}

variable "checksums" {
  description = "SHA-256 of what workers boot, as infra/bootstrap.sh prints it: myelin-agent, myelin-agent.service, synkti."
  type        = object({ agent = string, unit = string, synkti = string })

  validation {
    condition     = alltrue([for sum in values(var.checksums) : can(regex("^[0-9a-f]{64}$", sum))])
    error_message = "A SHA-256 has 64 hexadecimal digits."
  }
}

variable "worker_count" {
  description = "Number of workers."
  type        = number
  default     = 2
}

variable "instance_types" {
  description = "Types with a GPU, the preferred one first. More types find spot capacity more often."
  type        = list(string)
  default     = ["g4dn.xlarge", "g5.xlarge"]
}

variable "image_parameter" {
  description = "SSM parameter that names the image; pinned at the first apply. With NVIDIA's driver: /aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id."
  type        = string
  default     = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

variable "subnets" {
  description = "Subnets of the workers, one in each zone."
  type        = list(string)
}

variable "security_groups" {
  description = "Security groups: output `security_group` of infra/, in a list."
  type        = list(string)
}

variable "instance_profile" {
  description = "Instance profile: output `instance_profile` of infra/."
  type        = string
}

variable "health" {
  description = "What makes a worker healthy: `tag` (its agent says so) or `statusChecks` (EC2 does; for a first try on the sandbox, where user data is not run)."
  type        = string
  default     = "tag"
}
