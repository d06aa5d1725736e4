# Without a cloud: what would be made, and what is refused. The apply against a server is in tests/integration/terraform.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-2" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  audit_days = 3650
}

run "deleted_bytes_are_gone_and_records_stay" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.this["blobs"].versioning_configuration[0].status == "Disabled" && !aws_s3_bucket.this["blobs"].object_lock_enabled
    error_message = "The bucket of blobs must keep no versions: what was deleted must be gone."
  }
  assert {
    condition     = aws_s3_bucket_versioning.this["audit"].versioning_configuration[0].status == "Enabled" && aws_s3_bucket.this["audit"].object_lock_enabled
    error_message = "The bucket of the log must keep versions, locked."
  }
  assert {
    condition     = aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].mode == "COMPLIANCE" && aws_s3_bucket_object_lock_configuration.audit.rule[0].default_retention[0].days == 3650
    error_message = "Nobody may shorten how long records stay."
  }
  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.enable_key_rotation]) && alltrue([for bucket in aws_s3_bucket.this : !bucket.force_destroy])
    error_message = "Keys turn, and no bucket goes with something in it."
  }
  assert {
    condition     = length(aws_iam_role.web) == 0
    error_message = "No role is made unless a provider of identities is named."
  }
}

run "no_time_for_records_is_refused" {
  command = plan
  variables { audit_days = 0 }
  expect_failures = [var.audit_days]
}

run "half_days_are_refused" {
  command = plan
  variables { audit_days = 1.5 }
  expect_failures = [var.audit_days]
}

run "a_prefix_with_slashes_around_is_refused" {
  command = plan
  variables { blobs_prefix = "airlock/" }
  expect_failures = [var.blobs_prefix]
}

run "an_empty_prefix_is_refused" {
  command = plan
  variables { audit_prefix = "" }
  expect_failures = [var.audit_prefix]
}

run "a_whole_account_as_administrator_is_refused" {
  command = plan
  variables { key_administrators = ["arn:aws:iam::123456789012:root"] }
  expect_failures = [var.key_administrators]
}

run "a_role_for_any_account_of_the_cluster_is_refused" {
  command = plan
  variables {
    identity_provider = {
      arn             = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org/id/A"
      issuer          = "oidc.example.org/id/A"
      service_account = "*"
    }
  }
  expect_failures = [var.identity_provider]
}
