# What is said here is checked here, before anything changes; the chart's own schema and checks judge it again.

variable "release" {
  description = "Name of the release. Names of services, certificates and cluster-wide rights begin with it."
  type        = string
  default     = "broch"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.release))
    error_message = "release: 1 to 40 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "namespace" {
  description = "Namespace of the services. It is made here, with the Pod Security level `restricted`, unless `create` is false: then whoever made it answers for its labels."
  type = object({
    name   = optional(string, "broch")
    create = optional(bool, true)
    labels = optional(map(string), {})
  })
  default = {}

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace.name))
    error_message = "namespace.name: a name of Kubernetes, 1 to 63 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = !startswith(var.namespace.name, "zone-") && !contains(["default", "kube-system", "kube-public"], var.namespace.name)
    error_message = "namespace.name: a namespace of its own; names that begin with `zone-` are those of projects."
  }

  validation {
    condition     = alltrue([for label in keys(var.namespace.labels) : !startswith(label, "pod-security.kubernetes.io/") && !startswith(label, "broch.dev/")])
    error_message = "namespace.labels: labels of pod-security.kubernetes.io/ and broch.dev/ are not yours to set."
  }
}

variable "chart" {
  description = "The chart: a folder, or oci://REGISTRY/PATH with a version. Unset: the one of this checkout."
  type = object({
    path    = optional(string)
    version = optional(string)
  })
  default = {}

  validation {
    condition     = !startswith(coalesce(var.chart.path, "here"), "oci://") || var.chart.version != null
    error_message = "chart.version: a chart out of a registry wants its version; the newest one may be another tomorrow."
  }
}

variable "origins" {
  description = "Origins as browsers see them. Workspaces have names below the hub's host: its DNS and certificate need a wildcard. Hub and viewer should lie under another registrable domain than web (docs/design.md, Origins)."
  type = object({
    web    = string
    hub    = string
    viewer = string
  })

  validation {
    condition     = alltrue([for origin in values(var.origins) : can(regex("^https://[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[0-9]{1,5})?$", origin))])
    error_message = "origins: each is https://HOST or https://HOST:PORT, lower-case, without a path or a slash at the end."
  }

  validation {
    condition     = length(distinct([for origin in values(var.origins) : regex("^(?:https://)?([^:/]*)", origin)[0]])) == 3
    error_message = "origins: web, hub and viewer are three hosts. What runs in a workspace or lies in a file must not have the host of the pages."
  }
}

variable "images" {
  description = "Images of services and scanner, with digests, and where zones may run images from, each up to and with a slash."
  type = object({
    broch        = string
    clamav       = string
    prefixes     = list(string)
    pull_secrets = optional(list(string), [])
  })

  validation {
    condition     = alltrue([for image in [var.images.broch, var.images.clamav] : can(regex("^[a-z0-9.:/_-]{1,300}@sha256:[0-9a-f]{64}$", image))])
    error_message = "images: broch and clamav want their digests, REGISTRY/NAME@sha256:...; a tag may mean something else tomorrow."
  }

  validation {
    condition     = length(var.images.prefixes) > 0 && alltrue([for prefix in var.images.prefixes : can(regex("^[a-z0-9][a-z0-9.:/_-]{0,200}/$", prefix))])
    error_message = "images.prefixes: at least one, and each ends in a slash: without it, `example.org/tre` would let `example.org/tre-of-somebody-else` in."
  }

  validation {
    condition     = anytrue([for prefix in var.images.prefixes : startswith(var.images.broch, prefix)])
    error_message = "images.prefixes: zones run importers out of images.broch, which begins with none of them."
  }
}

variable "profiles" {
  description = "What people choose workspaces from; the first is the usual one. Bytes, hours, devices by resource name."
  type = list(object({
    name          = string
    title         = string
    image         = string
    cpu           = optional(number)
    memory_bytes  = optional(number)
    tmp_bytes     = optional(number)
    devices       = optional(map(number))
    hours         = optional(number)
    node_selector = optional(map(string))
    runtime_class = optional(string)
  }))

  validation {
    condition     = length(var.profiles) > 0 && length(distinct(var.profiles[*].name)) == length(var.profiles)
    error_message = "profiles: at least one, each with a name of its own."
  }

  validation {
    condition     = alltrue([for image in var.profiles[*].image : can(regex("^[a-z0-9.:/_-]{1,300}@sha256:[0-9a-f]{64}$", image))])
    error_message = "profiles: every image wants its digest, REGISTRY/NAME@sha256:..."
  }

  validation {
    condition     = alltrue([for image in var.profiles[*].image : anytrue([for prefix in var.images.prefixes : startswith(image, prefix)])])
    error_message = "profiles: every image begins with one of images.prefixes, or no zone could run it."
  }
}

variable "tls" {
  description = "Certificates of the components: an issuer of cert-manager whose authority is your own, or Secrets that exist (component -> name; those left out are RELEASE-COMPONENT-tls)."
  type = object({
    issuer = optional(object({
      name = string
      kind = optional(string, "ClusterIssuer")
    }))
    secrets = optional(map(string))
  })

  validation {
    condition     = (var.tls.issuer == null) != (var.tls.secrets == null)
    error_message = "tls: either issuer or secrets; `secrets = {}` takes the names that the chart expects."
  }

  validation {
    condition     = contains(["Issuer", "ClusterIssuer"], try(var.tls.issuer.kind, "Issuer"))
    error_message = "tls.issuer.kind: Issuer or ClusterIssuer."
  }

  validation {
    condition     = length(setsubtract(keys(coalesce(var.tls.secrets, {})), ["web", "hub", "controller", "gateway", "packages", "sandboxes", "clamd"])) == 0
    error_message = "tls.secrets: components are web, hub, controller, gateway, packages, sandboxes and clamd."
  }
}

variable "oidc" {
  description = "The provider that people sign in with (docs/sign-in.md). Its client secret is among the tokens, as `oidc`."
  type = object({
    issuer      = string
    client_id   = optional(string, "broch")
    mfa         = optional(list(string))
    admin_group = optional(string, "broch-admins")
    ca_secret   = optional(string, "")
  })

  validation {
    condition     = can(regex("^https://[^\\s?#]{3,280}$", var.oidc.issuer))
    error_message = "oidc.issuer: an address that begins with https://."
  }

  validation {
    condition     = try(length(var.oidc.mfa) > 0, true)
    error_message = "oidc.mfa: an empty list would let everybody in with one factor, or nobody; leave it out for the usual values."
  }
}

variable "blobs" {
  description = "Where bytes of airlock requests lie; output `blobs` of the module `storage`. `secret` holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; empty: web's own identity."
  type = object({
    bucket    = string
    prefix    = optional(string, "")
    region    = optional(string, "")
    kms_key   = optional(string, "")
    endpoint  = optional(string, "")
    secret    = optional(string, "")
    ca_secret = optional(string, "")
  })

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.blobs.bucket))
    error_message = "blobs.bucket: the name of a bucket alone, without s3:// or a path."
  }

  validation {
    condition     = can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", var.blobs.prefix))
    error_message = "blobs.prefix: without slashes around it."
  }

  validation {
    condition     = can(regex("^(https://[^\\s?#]{3,280})?$", var.blobs.endpoint))
    error_message = "blobs.endpoint: https, for others than AWS; empty for AWS."
  }
}

variable "audit_export" {
  description = "Place that the audit log is exported to, s3://BUCKET/PREFIX; output `audit_export` of the module `storage`. Empty: nowhere."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(s3://[a-z0-9.-]{3,63}(/[A-Za-z0-9._/-]{0,200})?)?$", var.audit_export))
    error_message = "audit_export: s3://BUCKET/PREFIX."
  }
}

variable "log_name" {
  description = "Name of the audit log in checkpoints and receipts, such as `tre.example.org/audit`. Say it once: a log keeps its name."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9./-]{2,100}$", var.log_name))
    error_message = "log_name: lower-case letters, digits, `.`, `-` and `/`, such as tre.example.org/audit."
  }
}

variable "web_role" {
  description = "ARN of web's role in AWS; output `web_role` of the module `storage`. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.web_role == null || length(var.network.sts) > 0
    error_message = "web_role: web fetches its credentials from AWS's STS; say where in network.sts, such as the addresses of an interface endpoint."
  }
}

variable "datasets" {
  description = "Dataset versions: the claim's class and size where web writes them, and the same place as zones mount it, a data source of docs/cluster.md such as {type = \"nfs\", server = \"...\", path = \"...\"}."
  type = object({
    existing_claim = optional(string, "")
    storage_class  = optional(string, "")
    size           = optional(string, "100Gi")
    source         = any
  })

  validation {
    condition = contains(
      ["nfs", "s3", "efs", "fsx-lustre", "azure-files", "azure-blob", "cephfs", "host-path"],
      try(var.datasets.source.type, "none"),
    )
    error_message = "datasets.source.type: nfs, s3, efs, fsx-lustre, azure-files, azure-blob, cephfs, or host-path for tests."
  }

  validation {
    condition     = can(regex("^[0-9]+(Mi|Gi|Ti)$", var.datasets.size))
    error_message = "datasets.size: such as 500Gi or 2Ti."
  }
}

variable "network" {
  description = "Where pods reach what lies outside: lists of {cidr, port}. All else is denied. `api_server` empty: looked up by Helm at each upgrade. `browsers`: networks that browsers come from; empty: any that reach the Service. `sts`: with `web_role`, where AWS gives out its credentials."
  type = object({
    database   = list(object({ cidr = string, port = optional(number, 5432) }))
    s3         = list(object({ cidr = string, port = optional(number, 443) }))
    sts        = optional(list(object({ cidr = string, port = optional(number, 443) })), [])
    oidc       = list(object({ cidr = string, port = optional(number, 443) }))
    api_server = optional(list(object({ cidr = string, port = optional(number, 6443) })), [])
    browsers   = optional(list(string), [])
  })

  validation {
    condition     = alltrue([for peers in [var.network.database, var.network.s3, var.network.oidc] : length(peers) > 0])
    error_message = "network: database, s3 and oidc each want at least one {cidr, port}; without it web could reach none of them."
  }

  validation {
    condition = alltrue([
      for cidr in concat(var.network.database[*].cidr, var.network.s3[*].cidr, var.network.sts[*].cidr, var.network.oidc[*].cidr, var.network.api_server[*].cidr, var.network.browsers) :
      can(cidrnetmask(cidr))
    ])
    error_message = "network: every cidr is an IPv4 network such as 10.0.0.5/32; the isolation of zones was tried with IPv4 alone."
  }

  validation {
    condition = alltrue([
      for cidr in concat(var.network.database[*].cidr, var.network.api_server[*].cidr) : !endswith(cidr, "/0")
    ])
    error_message = "network: database and api_server are known addresses, not everywhere (/0)."
  }
}

variable "entrances" {
  description = "Kind of the two public Services, their annotations, and networks that a load balancer lets in."
  type = object({
    type          = optional(string, "LoadBalancer")
    annotations   = optional(map(string), {})
    source_ranges = optional(list(string), [])
  })
  default = {}

  validation {
    condition     = contains(["ClusterIP", "LoadBalancer", "NodePort"], var.entrances.type)
    error_message = "entrances.type: LoadBalancer, NodePort, or ClusterIP behind an Ingress or Gateway of yours."
  }
}

variable "tokens" {
  description = "Tokens by which components know each other, and the provider's client secret: the name of a Secret that exists, or the values of one to be made (docs/terraform.md). Values go to the cluster and are in no state; `revision` is raised when they change."
  type = object({
    existing_secret = optional(string)
    revision        = optional(number, 1)
  })

  validation {
    condition     = var.tokens.revision >= 1
    error_message = "tokens.revision: 1 or more."
  }
}

variable "token_values" {
  description = "Keys hub, hub-oauth, web, controller, gateway, sandboxes, with the package route packages (43 random letters each), web-secret (32 random bytes in base64), oidc. Null: tokens.existing_secret is named."
  type        = map(string)
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = (var.token_values == null) != (var.tokens.existing_secret == null)
    error_message = "token_values: either these or tokens.existing_secret."
  }

  validation {
    condition = var.token_values == null || setsubtract(keys(coalesce(var.token_values, {})), ["packages"]) == toset([
      "hub", "hub-oauth", "web", "controller", "gateway", "sandboxes", "web-secret", "oidc",
    ])
    error_message = "token_values: the keys are hub, hub-oauth, web, controller, gateway, sandboxes, web-secret and oidc, all of them, with the package route packages, and no others."
  }

  validation {
    condition = alltrue([
      for key, value in coalesce(var.token_values, {}) : length(value) >= 32 if key != "oidc"
    ]) && length(distinct(values(coalesce(var.token_values, {})))) == length(coalesce(var.token_values, {}))
    error_message = "token_values: at least 32 characters each, and no two the same: each is the whole right of one component."
  }
}

variable "database" {
  description = "PostgreSQL: the name of a Secret with `url` and `owner-url`, or the values of one to be made; a Secret with `ca.crt` of the server."
  type = object({
    existing_secret = optional(string)
    ca_secret       = optional(string, "")
    revision        = optional(number, 1)
  })

  validation {
    condition     = var.database.revision >= 1
    error_message = "database.revision: 1 or more."
  }
}

variable "database_urls" {
  description = "SQLAlchemy URLs: `url` of the app's role, `owner-url` of the role that owns the schema, which only migrations see. Null: database.existing_secret is named."
  type        = map(string)
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = (var.database_urls == null) != (var.database.existing_secret == null)
    error_message = "database_urls: either these or database.existing_secret."
  }

  validation {
    condition     = var.database_urls == null || toset(keys(coalesce(var.database_urls, {}))) == toset(["url", "owner-url"])
    error_message = "database_urls: the keys are url and owner-url."
  }

  validation {
    condition     = length(distinct(values(coalesce(var.database_urls, {})))) == length(coalesce(var.database_urls, {}))
    error_message = "database_urls: the app's role must not be the owner of the schema."
  }
}

variable "break_glass_group" {
  description = "Group whose members may run commands in a zone, in an emergency."
  type        = string
  default     = "broch:break-glass"
}

variable "extra_values" {
  description = "Further values of the chart, YAML, over all others (helm/broch/values.yaml)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for text in var.extra_values : can(keys(yamldecode(text)))])
    error_message = "extra_values: each is YAML of names and values."
  }
}

variable "seconds" {
  description = "Longest wait for the release, seconds. The first start fetches images and signatures."
  type        = number
  default     = 900
}
