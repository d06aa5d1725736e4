# Broch on a cluster that exists: a namespace, what secrets it is given, and the chart.

resource "kubernetes_namespace_v1" "this" {
  count = var.namespace.create ? 1 : 0

  metadata {
    name   = var.namespace.name
    labels = local.namespace_labels
  }

  lifecycle {
    # Keys, exports and everything that people have stored lie in its claims.
    prevent_destroy = true
  }
}

# Write-only: values go to the cluster, and neither plan nor state holds them.
resource "kubernetes_secret_v1" "tokens" {
  count = var.tokens.existing_secret == null ? 1 : 0

  metadata {
    name      = local.token_secret
    namespace = local.namespace
  }
  data_wo          = var.token_values
  data_wo_revision = var.tokens.revision
}

resource "kubernetes_secret_v1" "database" {
  count = var.database.existing_secret == null ? 1 : 0

  metadata {
    name      = local.database_secret
    namespace = local.namespace
  }
  data_wo          = var.database_urls
  data_wo_revision = var.database.revision
}

locals {
  # Through the resource, so that what lies in it waits for it.
  namespace = var.namespace.create ? kubernetes_namespace_v1.this[0].metadata[0].name : var.namespace.name
}

resource "helm_release" "broch" {
  name      = var.release
  namespace = local.namespace
  chart     = coalesce(var.chart.path, "${path.module}/../../../helm/broch")
  version   = var.chart.version
  values    = concat([yamlencode(local.values)], var.extra_values)

  # A release is whole or it is not there: migrations are a hook, and what did not become ready is rolled back.
  atomic          = true
  wait            = true
  wait_for_jobs   = true
  cleanup_on_fail = true
  timeout         = var.seconds
  max_history     = 10
  # Values of an earlier release must not live on unseen.
  reset_values = true

  depends_on = [kubernetes_secret_v1.tokens, kubernetes_secret_v1.database]
}

data "kubernetes_service_v1" "entrance" {
  for_each = var.entrances.type == "LoadBalancer" ? toset(["web", "hub"]) : toset([])

  metadata {
    name      = "${var.release}-${each.key}-public"
    namespace = local.namespace
  }

  depends_on = [helm_release.broch]
}
