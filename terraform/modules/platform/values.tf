# The chart's values out of the variables. No provider is asked here.

locals {
  hosts = { for part, origin in var.origins : part => regex("^https://([^:/]+)", origin)[0] }

  token_secret    = coalesce(var.tokens.existing_secret, "${var.release}-given-tokens")
  database_secret = coalesce(var.database.existing_secret, "${var.release}-given-database")

  values = {
    url       = var.origins.web
    hubUrl    = var.origins.hub
    viewerUrl = var.origins.viewer
    images = {
      broch       = var.images.broch
      clamav      = var.images.clamav
      prefixes    = var.images.prefixes
      pullSecrets = [for name in var.images.pull_secrets : { name = name }]
    }
    tls = {
      secrets = coalesce(var.tls.secrets, {})
      certManager = {
        enabled = var.tls.issuer != null
        issuer  = { name = try(var.tls.issuer.name, ""), kind = try(var.tls.issuer.kind, "ClusterIssuer") }
      }
    }
    tokens = { existingSecret = local.token_secret, generate = false, revision = var.tokens.revision }
    database = {
      existingSecret = local.database_secret
      caSecret       = var.database.ca_secret
      revision       = var.database.revision
    }
    s3 = {
      blobs          = join("/", compact(["s3:/", var.blobs.bucket, var.blobs.prefix]))
      endpoint       = var.blobs.endpoint
      region         = var.blobs.region
      kmsKey         = var.blobs.kms_key
      existingSecret = var.blobs.secret
      caSecret       = var.blobs.ca_secret
    }
    oidc = merge(
      {
        issuer     = var.oidc.issuer
        clientId   = var.oidc.client_id
        adminGroup = var.oidc.admin_group
        caSecret   = var.oidc.ca_secret
      },
      var.oidc.mfa == null ? {} : { mfa = var.oidc.mfa },
    )
    datasets = {
      existingClaim = var.datasets.existing_claim
      storageClass  = var.datasets.storage_class
      size          = var.datasets.size
      source        = var.datasets.source
    }
    zones = {
      # What was not said is left out: the chart's schema knows no null, and has the defaults.
      profiles        = [for profile in var.profiles : { for name, value in profile : name => value if value != null }]
      breakGlassGroup = var.break_glass_group
    }
    web = {
      settings = merge(
        { LOG_NAME = var.log_name },
        var.audit_export == "" ? {} : { AUDIT_EXPORT = var.audit_export },
      )
      serviceAccount = {
        annotations = var.web_role == null ? {} : { "eks.amazonaws.com/role-arn" = var.web_role }
      }
    }
    network = {
      database  = var.network.database
      s3        = concat(var.network.s3, var.network.sts)
      oidc      = var.network.oidc
      apiServer = var.network.api_server
      browsers  = [for cidr in var.network.browsers : { ipBlock = { cidr = cidr } }]
    }
    public = { for entrance in ["web", "hub"] : entrance => {
      type                     = var.entrances.type
      annotations              = var.entrances.annotations
      loadBalancerSourceRanges = var.entrances.source_ranges
    } }
  }

  namespace_labels = merge(var.namespace.labels, {
    for mode in ["enforce", "audit", "warn"] : "pod-security.kubernetes.io/${mode}" => "restricted"
  })
}
