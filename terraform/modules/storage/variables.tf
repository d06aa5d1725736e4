variable "name" {
  description = "What the buckets, keys and policies are called after; such as `broch-hospital`. Buckets also have the account's number, because their names are the world's."
  type        = string
  default     = "broch"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,29}[a-z0-9]$", var.name))
    error_message = "name: 3 to 31 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "blobs_prefix" {
  description = "Prefix of the keys of airlock blobs, without slashes around it. Nothing else is read or written by Broch."
  type        = string
  default     = "airlock"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.blobs_prefix))
    error_message = "blobs_prefix: words of letters, digits, `.`, `_` and `-`, with single slashes between them and none around."
  }
}

variable "audit_prefix" {
  description = "Prefix of the keys of the exported audit log, without slashes around it."
  type        = string
  default     = "log"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.audit_prefix))
    error_message = "audit_prefix: words of letters, digits, `.`, `_` and `-`, with single slashes between them and none around."
  }
}

variable "audit_days" {
  description = "Days for which no one, not even the account's root, can delete an exported record. No default: for records that exist, it can be made longer, never shorter."
  type        = number

  validation {
    condition     = var.audit_days >= 1 && var.audit_days <= 36500 && floor(var.audit_days) == var.audit_days
    error_message = "audit_days: whole days, 1 to 36500. It cannot be undone; ask who answers for records how long they are kept."
  }
}

variable "incomplete_upload_days" {
  description = "Days after which parts of uploads that never ended are deleted. They are bytes too, and no list shows them."
  type        = number
  default     = 1

  validation {
    condition     = var.incomplete_upload_days >= 1 && var.incomplete_upload_days <= 30 && floor(var.incomplete_upload_days) == var.incomplete_upload_days
    error_message = "incomplete_upload_days: whole days, 1 to 30."
  }
}

variable "key_deletion_days" {
  description = "Days between asking for a key's deletion and losing all that it encrypts."
  type        = number
  default     = 30

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30 && floor(var.key_deletion_days) == var.key_deletion_days
    error_message = "key_deletion_days: 7 to 30, as AWS wants it."
  }
}

variable "key_administrators" {
  description = "ARNs that may manage the keys, and not use them. Empty: whom the account's own policies let."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.key_administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$", arn))])
    error_message = "key_administrators: ARNs of roles or users, such as arn:aws:iam::123456789012:role/security. A whole account or `*` would let everybody there."
  }
}

variable "identity_provider" {
  description = "OIDC provider of the cluster (IRSA), to make a role for web that no other account of the cluster can take: its ARN, its issuer without `https://`, and namespace and name of web's service account. Unset: no role is made; attach the policies yourself."
  type = object({
    arn             = string
    issuer          = string
    namespace       = optional(string, "broch")
    service_account = optional(string, "broch-web")
  })
  default = null

  validation {
    condition     = var.identity_provider == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/.+$", var.identity_provider.arn))
    error_message = "identity_provider.arn: such as arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-west-2.amazonaws.com/id/ABC."
  }

  validation {
    condition     = var.identity_provider == null || can(regex("^[a-z0-9.-]+(/[A-Za-z0-9._/-]+)?$", var.identity_provider.issuer))
    error_message = "identity_provider.issuer: as in the ARN, without `https://`."
  }

  validation {
    # The trust policy compares the whole subject: a pattern in it would let other accounts in.
    condition = var.identity_provider == null || alltrue([
      for word in try([var.identity_provider.namespace, var.identity_provider.service_account], []) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", word))
    ])
    error_message = "identity_provider: namespace and service_account are names of Kubernetes, not patterns."
  }
}

variable "tags" {
  description = "Tags of everything that can have some."
  type        = map(string)
  default     = {}
}
