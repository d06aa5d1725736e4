# A key for each bucket. Its administrators cannot use it, and who uses it can do so through S3, for that bucket alone.

resource "aws_kms_key" "this" {
  for_each = local.kinds

  description             = "Broch: ${each.key} of ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
  policy                  = data.aws_iam_policy_document.key[each.key].json
  tags                    = local.tags
}

resource "aws_kms_alias" "this" {
  for_each = local.kinds

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.this[each.key].key_id
}

data "aws_iam_policy_document" "key" {
  for_each = local.kinds

  statement {
    sid = "Administration"
    # No Decrypt, no GenerateDataKey, and no CreateGrant, by which the first two could be had.
    actions = [
      "kms:CancelKeyDeletion", "kms:DescribeKey", "kms:DisableKey", "kms:EnableKey", "kms:EnableKeyRotation",
      "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListGrants", "kms:ListKeyPolicies", "kms:ListResourceTags",
      "kms:ListRetirableGrants", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:ScheduleKeyDeletion", "kms:TagResource",
      "kms:UntagResource", "kms:UpdateAlias", "kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateKeyDescription",
    ]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = length(var.key_administrators) > 0 ? var.key_administrators : ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    # The account's policies say who; this says that it is through S3 and for this bucket, whoever it is.
    sid       = "UseThroughTheBucket"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account]
    }
    condition {
      # With the bucket's own data key S3 names the bucket, without it the object.
      test     = "StringLike"
      variable = "kms:EncryptionContext:aws:s3:arn"
      values   = [local.arns[each.key], "${local.arns[each.key]}/*"]
    }
  }
}
