output "blobs" {
  description = "For `blobs` of the module `platform`."
  value = {
    bucket  = aws_s3_bucket.this["blobs"].id
    prefix  = var.blobs_prefix
    region  = local.region
    kms_key = aws_kms_key.this["blobs"].arn
  }

  # Bytes must not come in before the rules are there.
  depends_on = [
    aws_s3_bucket_policy.this, aws_s3_bucket_versioning.this, aws_s3_bucket_server_side_encryption_configuration.this,
    aws_s3_bucket_ownership_controls.this,
  ]
}

output "audit_export" {
  description = "For `audit_export` of the module `platform`: the place that the audit log is exported to."
  value       = "s3://${aws_s3_bucket.this["audit"].id}/${var.audit_prefix}"

  depends_on = [
    aws_s3_bucket_object_lock_configuration.audit, aws_s3_bucket_policy.this,
    aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_ownership_controls.this,
  ]
}

output "policies" {
  description = "ARNs of the policies: `blobs` and `audit-export` for web, `audit-read` for auditors."
  value       = { for kind, policy in aws_iam_policy.this : kind => policy.arn }
}

output "web_role" {
  description = "ARN of web's role, for the annotation of its service account; null where none was made."
  value       = one(aws_iam_role.web[*].arn)
}

output "keys" {
  description = "ARNs of the keys."
  value       = { for kind, key in aws_kms_key.this : kind => key.arn }
}
