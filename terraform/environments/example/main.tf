# One TRE on a cluster that exists, with its buckets in AWS. Copy this folder, and change what is yours.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
    helm = {
      source  = "hashicorp/helm"
      version = "~> 3.0"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 3.0"
    }
  }

  # The state names every secret's place and holds none. Whoever can write it can still change the TRE: keep it in a
  # bucket of its own, versioned, locked and read by few.
  # backend "s3" {}
}

provider "aws" {
  region = var.region
}

provider "kubernetes" {
  config_path    = var.kubeconfig
  config_context = var.kubeconfig_context
}

provider "helm" {
  kubernetes = {
    config_path    = var.kubeconfig
    config_context = var.kubeconfig_context
  }
}

module "storage" {
  source = "../../modules/storage"

  name              = "broch-example"
  audit_days        = var.audit_days
  identity_provider = var.identity_provider
}

module "platform" {
  source = "../../modules/platform"

  origins = {
    web    = "https://tre.example.org"
    hub    = "https://hub.work.example.net"
    viewer = "https://viewer.work.example.net"
  }
  log_name = "tre.example.org/audit"

  images   = var.images
  profiles = var.profiles

  tls  = { issuer = { name = "broch-authority" } }
  oidc = { issuer = "https://id.example.org/realms/broch" }

  # Made beforehand, by whom the secrets are (docs/terraform.md).
  tokens   = { existing_secret = "broch-tokens" }
  database = { existing_secret = "broch-database", ca_secret = "broch-database-ca" }

  blobs        = module.storage.blobs
  audit_export = module.storage.audit_export
  web_role     = module.storage.web_role

  datasets = {
    storage_class = "efs"
    size          = "1Ti"
    source        = var.datasets_source
  }

  network = var.network
}

output "entrances" {
  description = "Where DNS has to point."
  value       = module.platform.entrances
}

output "policies" {
  description = "Policies to attach: `audit-read` for auditors; the others where no role was made."
  value       = module.storage.policies
}

output "versions" {
  description = "What is installed."
  value       = module.platform.versions
}
