# What becomes of the variables, and what is refused before anything changes.

mock_provider "helm" {}
mock_provider "kubernetes" {}

variables {
  origins = {
    web    = "https://tre.example.org"
    hub    = "https://hub.work.example.net"
    viewer = "https://viewer.work.example.net:8443"
  }
  log_name = "tre.example.org/audit"
  images = {
    broch    = "registry.example.org/broch/broch@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    clamav   = "registry.example.org/broch/clamav@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    prefixes = ["registry.example.org/broch/"]
  }
  profiles = [{
    name  = "standard"
    title = "Standard: 2 cores, 4 GiB"
    image = "registry.example.org/broch/workspace-python@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    cpu   = 2
  }]
  tls      = { issuer = { name = "broch-authority" } }
  oidc     = { issuer = "https://id.example.org/realms/broch" }
  tokens   = { existing_secret = "broch-tokens" }
  database = { existing_secret = "broch-database", ca_secret = "broch-database-ca" }
  blobs    = { bucket = "broch-blobs", prefix = "airlock", region = "eu-west-2" }
  datasets = { source = { type = "nfs", server = "nfs.example.org", path = "/export" } }
  network = {
    database = [{ cidr = "10.0.0.5/32" }]
    s3       = [{ cidr = "10.0.0.6/32" }]
    oidc     = [{ cidr = "10.0.0.7/32", port = 8443 }]
  }
}

run "values_are_those_of_the_chart" {
  command = plan

  assert {
    condition     = local.values.s3.blobs == "s3://broch-blobs/airlock" && local.values.viewerUrl == "https://viewer.work.example.net:8443"
    error_message = "Addresses are not put together as the chart wants them."
  }
  assert {
    condition     = jsonencode(local.values.network.database) == jsonencode([{ cidr = "10.0.0.5/32", port = 5432 }]) && local.values.network.oidc[0].port == 8443
    error_message = "Ports have their usual values, and those that are said."
  }
  assert {
    condition     = keys(local.values.zones.profiles[0]) == ["cpu", "image", "name", "title"]
    error_message = "What a profile does not say is left to the chart."
  }
  assert {
    condition     = local.values.tokens.existingSecret == "broch-tokens" && local.values.tokens.generate == false
    error_message = "Tokens are those of the Secret that was named, and none are made."
  }
  assert {
    condition     = local.values.tls.certManager.enabled && local.values.tls.certManager.issuer.kind == "ClusterIssuer"
    error_message = "Certificates come from the issuer that was named."
  }
  assert {
    condition     = alltrue([for mode in ["enforce", "audit", "warn"] : local.namespace_labels["pod-security.kubernetes.io/${mode}"] == "restricted"])
    error_message = "The namespace holds its pods to the level `restricted`."
  }
}

run "the_log_has_its_name_and_its_export" {
  command = plan
  variables {
    audit_export = "s3://broch-audit/log"
    web_role     = "arn:aws:iam::123456789012:role/broch-web"
    network = {
      database = [{ cidr = "10.0.0.5/32" }]
      s3       = [{ cidr = "10.0.0.6/32" }]
      sts      = [{ cidr = "10.0.0.8/32" }]
      oidc     = [{ cidr = "10.0.0.7/32", port = 8443 }]
    }
  }
  assert {
    condition     = local.values.web.settings == { LOG_NAME = "tre.example.org/audit", AUDIT_EXPORT = "s3://broch-audit/log" }
    error_message = "Settings of web: the log's name, and where it is exported to."
  }
  assert {
    condition     = local.values.web.serviceAccount.annotations["eks.amazonaws.com/role-arn"] == "arn:aws:iam::123456789012:role/broch-web"
    error_message = "Web has its role."
  }
  assert {
    condition     = contains(local.values.network.s3[*].cidr, "10.0.0.8/32")
    error_message = "Web reaches what gives out the role's credentials."
  }
}

run "a_role_without_a_way_to_its_credentials_is_refused" {
  command = plan
  variables { web_role = "arn:aws:iam::123456789012:role/broch-web" }
  expect_failures = [var.web_role]
}

run "another_revision_of_secrets_begins_services_anew" {
  command = plan
  variables { tokens = { existing_secret = "broch-tokens", revision = 3 } }
  assert {
    condition     = local.values.tokens.revision == 3 && local.values.database.revision == 1
    error_message = "The chart begins anew whoever read the old ones at its start."
  }
}

run "secrets_can_be_given_as_values" {
  command = plan
  variables {
    database      = {}
    database_urls = { url = "postgresql+psycopg://app@db/broch", owner-url = "postgresql+psycopg://owner@db/broch" }
  }
  assert {
    condition     = local.values.database.existingSecret == "broch-given-database"
    error_message = "The chart takes the Secret that is made of the values."
  }
  assert {
    condition     = !strcontains(jsonencode(local.values), "postgresql")
    error_message = "A secret stands among the chart's values."
  }
}

run "plain_http_is_refused" {
  command = plan
  variables { origins = { web = "http://tre.example.org", hub = "https://hub.example.net", viewer = "https://viewer.example.net" } }
  expect_failures = [var.origins]
}

run "one_host_for_pages_and_files_is_refused" {
  command = plan
  variables { origins = { web = "https://tre.example.org", hub = "https://hub.example.net", viewer = "https://tre.example.org:8443" } }
  expect_failures = [var.origins]
}

run "an_image_without_its_digest_is_refused" {
  command = plan
  variables {
    images = {
      broch    = "registry.example.org/broch/broch:latest"
      clamav   = "registry.example.org/broch/clamav@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      prefixes = ["registry.example.org/broch/"]
    }
  }
  expect_failures = [var.images]
}

run "a_prefix_without_its_slash_is_refused" {
  command = plan
  variables {
    images = {
      broch    = "registry.example.org/broch/broch@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      clamav   = "registry.example.org/broch/clamav@sha256:0000000000000000000000000000000000000000000000000000000000000000"
      prefixes = ["registry.example.org/broch"]
    }
  }
  expect_failures = [var.images]
}

run "a_profile_out_of_another_registry_is_refused" {
  command = plan
  variables {
    profiles = [{ name = "own", title = "Own", image = "elsewhere.example.org/own@sha256:0000000000000000000000000000000000000000000000000000000000000000" }]
  }
  expect_failures = [var.profiles]
}

run "certificates_from_two_places_are_refused" {
  command = plan
  variables { tls = { issuer = { name = "broch-authority" }, secrets = {} } }
  expect_failures = [var.tls]
}

run "certificates_from_nowhere_are_refused" {
  command = plan
  variables { tls = {} }
  expect_failures = [var.tls]
}

run "tokens_from_nowhere_are_refused" {
  command = plan
  variables { tokens = {} }
  expect_failures = [var.token_values]
}

run "a_token_that_is_missing_is_refused" {
  command = plan
  variables {
    tokens       = {}
    token_values = { hub = "0123456789012345678901234567890123456789012" }
  }
  expect_failures = [var.token_values]
}

run "the_package_routes_token_may_be_among_them" {
  command = plan
  variables {
    tokens = {}
    token_values = {
      for key in ["hub", "hub-oauth", "web", "controller", "gateway", "packages", "sandboxes", "web-secret", "oidc"] : key => "token-of-${key}-0123456789012345678901234567890"
    }
  }
}

run "an_app_that_owns_its_schema_is_refused" {
  command = plan
  variables {
    database      = {}
    database_urls = { url = "postgresql+psycopg://owner@db/broch", owner-url = "postgresql+psycopg://owner@db/broch" }
  }
  expect_failures = [var.database_urls]
}

run "an_endpoint_without_tls_is_refused" {
  command = plan
  variables { blobs = { bucket = "broch-blobs", endpoint = "http://s3.example.org" } }
  expect_failures = [var.blobs]
}

run "addresses_of_ipv6_are_refused" {
  command = plan
  variables {
    network = { database = [{ cidr = "fd00::5/128" }], s3 = [{ cidr = "10.0.0.6/32" }], oidc = [{ cidr = "10.0.0.7/32" }] }
  }
  expect_failures = [var.network]
}

run "a_database_anywhere_is_refused" {
  command = plan
  variables {
    network = { database = [{ cidr = "0.0.0.0/0" }], s3 = [{ cidr = "10.0.0.6/32" }], oidc = [{ cidr = "10.0.0.7/32" }] }
  }
  expect_failures = [var.network]
}

run "a_namespace_of_projects_is_refused" {
  command = plan
  variables { namespace = { name = "zone-x" } }
  expect_failures = [var.namespace]
}

run "looser_pod_security_is_refused" {
  command = plan
  variables { namespace = { labels = { "pod-security.kubernetes.io/enforce" = "privileged" } } }
  expect_failures = [var.namespace]
}

run "a_chart_without_its_version_is_refused" {
  command = plan
  variables { chart = { path = "oci://registry.example.org/charts/broch" } }
  expect_failures = [var.chart]
}

run "no_second_factor_is_refused" {
  command = plan
  variables { oidc = { issuer = "https://id.example.org", mfa = [] } }
  expect_failures = [var.oidc]
}

run "data_from_an_unknown_place_is_refused" {
  command = plan
  variables { datasets = { source = { type = "ftp", server = "ftp.example.org" } } }
  expect_failures = [var.datasets]
}
