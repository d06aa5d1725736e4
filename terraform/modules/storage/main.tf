# What Broch keeps in AWS: bytes of airlock requests, which must be gone once they are deleted, and the exported audit
# log, which must stay whoever wants it gone. The two have nothing in common, so they have two buckets and two keys.

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  region    = data.aws_region.here.id

  kinds = toset(["blobs", "audit"])
  # Known before anything exists, so that policies of keys and of buckets can name each other.
  names  = { for kind in local.kinds : kind => "${var.name}-${local.account}-${kind}" }
  arns   = { for kind in local.kinds : kind => "arn:${local.partition}:s3:::${local.names[kind]}" }
  prefix = { blobs = var.blobs_prefix, audit = var.audit_prefix }
  tags   = merge(var.tags, { "broch:part" = "storage" })
}

resource "aws_s3_bucket" "this" {
  for_each = local.kinds

  bucket = local.names[each.key]
  # Said at birth: Object Lock cannot be taken away from a bucket.
  object_lock_enabled = each.key == "audit"
  # Never a bucket with something in it.
  force_destroy = false
  tags          = local.tags
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.kinds

  bucket = aws_s3_bucket.this[each.key].id
  versioning_configuration {
    # A version that is kept is a file that was not deleted, whatever the certificate of deletion says. "Disabled" is
    # said so that somebody who turns it on is seen in the next plan.
    status = each.key == "audit" ? "Enabled" : "Disabled"
  }
}

resource "aws_s3_bucket_object_lock_configuration" "audit" {
  bucket = aws_s3_bucket.this["audit"].id
  rule {
    default_retention {
      # Governance mode has a way past it for who has the right; compliance mode has none.
      mode = "COMPLIANCE"
      days = var.audit_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.kinds

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.kinds

  bucket = aws_s3_bucket.this[each.key].id
  rule {
    # No access lists at all: who may what stands in policies alone.
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.kinds

  bucket = aws_s3_bucket.this[each.key].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.this[each.key].arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.kinds

  bucket = aws_s3_bucket.this[each.key].id
  rule {
    id     = "incomplete-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = var.incomplete_upload_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.kinds

  bucket = aws_s3_bucket.this[each.key].id
  policy = data.aws_iam_policy_document.bucket[each.key].json

  # While a policy is written, the block of public ones must be there to judge it.
  depends_on = [aws_s3_bucket_public_access_block.this]
}
