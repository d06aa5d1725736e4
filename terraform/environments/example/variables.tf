variable "region" {
  description = "AWS region of the buckets."
  type        = string
}

variable "kubeconfig" {
  description = "File that says how to reach the cluster."
  type        = string
  default     = "~/.kube/config"
}

variable "kubeconfig_context" {
  description = "Its context. No default: a plan for the wrong cluster looks just like one for the right cluster."
  type        = string
}

variable "audit_days" {
  description = "Days for which nobody can delete exported records of the audit log."
  type        = number
}

variable "identity_provider" {
  description = "OIDC provider of the cluster, for web's role (modules/storage)."
  type = object({
    arn    = string
    issuer = string
  })
}

variable "images" {
  description = "Images with digests, and where zones may run images from (modules/platform)."
  type = object({
    broch    = string
    clamav   = string
    prefixes = list(string)
  })
}

variable "profiles" {
  description = "What people choose workspaces from (modules/platform)."
  type = list(object({
    name         = string
    title        = string
    image        = string
    cpu          = optional(number)
    memory_bytes = optional(number)
  }))
}

variable "datasets_source" {
  description = "Where zones mount datasets from (docs/cluster.md, Data sources)."
  type        = any
}

variable "network" {
  description = "Where PostgreSQL, S3, STS and the provider of identities are (modules/platform)."
  type = object({
    database   = list(object({ cidr = string, port = optional(number) }))
    s3         = list(object({ cidr = string, port = optional(number) }))
    sts        = optional(list(object({ cidr = string, port = optional(number) })), [])
    oidc       = list(object({ cidr = string, port = optional(number) }))
    api_server = optional(list(object({ cidr = string, port = optional(number) })), [])
  })
}
