variable "project" {
  description = "Name of the cluster; prefix of the buckets that infra/ made."
  type        = string
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
  description = "SSM parameter that names the image. It is pinned at the first apply."
  type        = string
  default     = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

variable "subnets" {
  description = "Subnets of the workers, one in each zone."
  type        = list(string)
}

variable "security_groups" {
  description = "Security groups: output security_group of infra/."
  type        = list(string)
}

variable "instance_profile" {
  description = "Instance profile: output instance_profile of infra/."
  type        = string
}
