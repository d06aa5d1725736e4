# What web may, by the calls that it makes and no others, and what an auditor may.

data "aws_iam_policy_document" "blobs" {
  statement {
    sid       = "Bytes"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = ["${local.arns.blobs}/${var.blobs_prefix}/*"]
  }

  statement {
    # Without it S3 answers 403 where nothing is, and Broch could not tell "gone" from "refused". A condition on the
    # prefix would not do: asking for an object or for the bucket names none. Nothing else lies in this bucket.
    sid       = "WhetherThere"
    actions   = ["s3:ListBucket"]
    resources = [local.arns.blobs]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.this["blobs"].arn]
  }
}

data "aws_iam_policy_document" "audit_export" {
  statement {
    # No delete, no retention, no legal hold.
    sid       = "AddAndRead"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${local.arns.audit}/${var.audit_prefix}/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.arns.audit]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.audit_prefix}/*"]
    }
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.this["audit"].arn]
  }
}

data "aws_iam_policy_document" "audit_read" {
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention"]
    resources = ["${local.arns.audit}/${var.audit_prefix}/*"]
  }

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions"]
    resources = [local.arns.audit]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.audit_prefix}/*"]
    }
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.this["audit"].arn]
  }
}

locals {
  policies = {
    blobs        = { json = data.aws_iam_policy_document.blobs.json, says = "Bytes of airlock requests: get, put, delete." }
    audit-export = { json = data.aws_iam_policy_document.audit_export.json, says = "The exported audit log: add and read, never delete." }
    audit-read   = { json = data.aws_iam_policy_document.audit_read.json, says = "The exported audit log: read, for auditors." }
  }
}

resource "aws_iam_policy" "this" {
  for_each = local.policies

  name        = "${var.name}-${each.key}"
  description = each.value.says
  policy      = each.value.json
  tags        = local.tags
}

data "aws_iam_policy_document" "trust" {
  count = var.identity_provider == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [var.identity_provider.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.identity_provider.issuer}:sub"
      values   = ["system:serviceaccount:${var.identity_provider.namespace}:${var.identity_provider.service_account}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.identity_provider.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "web" {
  count = var.identity_provider == null ? 0 : 1

  name               = "${var.name}-web"
  description        = "Broch's web: bytes of airlock requests and the exported audit log."
  assume_role_policy = data.aws_iam_policy_document.trust[0].json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "web" {
  for_each = var.identity_provider == null ? toset([]) : toset(["blobs", "audit-export"])

  role       = aws_iam_role.web[0].name
  policy_arn = aws_iam_policy.this[each.key].arn
}
