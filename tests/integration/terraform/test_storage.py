"""Buckets, keys and policies made by the real AWS provider on moto's server: what they hold, and what they let happen.

moto evaluates no conditions of policies: what a policy says word for word is in `policies.json` beside this file
(written anew by `BROCH_UPDATE_GOLDEN=1`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import moto.settings
import pytest
from botocore.exceptions import ClientError
from moto.core.responses import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer

from broch_core.audit.exports.s3 import S3Place
from broch_core.blobs import Blobs
from broch_core.blobs_s3 import S3Blobs
from support import terraform
from support.blob_contract import CONTRACT, put
from support.terraform import Terraform

pytestmark = pytest.mark.timeout(900)  # the provider waits a minute for rules of a bucket to settle

REGION, ACCOUNT = "eu-west-2", "123456789012"
BLOBS, AUDIT = f"broch-{ACCOUNT}-blobs", f"broch-{ACCOUNT}-audit"
GOLDEN = Path(__file__).parent / "policies.json"
ROOT_MODULE = """
variable "endpoint" { type = string }
provider "aws" {
  region                  = "eu-west-2"
  access_key              = "test"
  secret_key              = "test"
  skip_metadata_api_check = true
  s3_use_path_style       = true
  max_retries             = 2
  endpoints {
    s3  = var.endpoint
    kms = var.endpoint
    iam = var.endpoint
    sts = var.endpoint
  }
}
module "storage" {
  source     = "./storage"
  audit_days = 30
  identity_provider = {
    arn    = "arn:aws:iam::123456789012:oidc-provider/oidc.example.org/id/A"
    issuer = "oidc.example.org/id/A"
  }
}
output "storage" { value = module.storage }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    return terraform.ready(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="module")
def folder(program: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the module, and the provider in reach."""
    folder = tmp_path_factory.mktemp("applied")
    terraform.copy("storage", folder)
    (folder / "main.tf").write_text(ROOT_MODULE)
    if not program.offer(folder, "aws"):
        pytest.skip(f"hashicorp/aws is not installed; {terraform.PLUGINS} names a folder that has it")
    program.run(folder, "init", "-input=false")
    return folder


@pytest.fixture(scope="module")
def applied(program: Terraform, folder: Path, server: str) -> dict[str, Any]:
    """Apply the module; return what it puts out."""
    program.run(folder, "apply", "-auto-approve", "-input=false", "-var", f"endpoint={server}")
    storage: dict[str, Any] = program.outputs(folder)["storage"]
    return storage


@pytest.fixture(scope="module")
def ask(server: str, applied: dict[str, Any]) -> Callable[[str], Any]:
    """Return a function that makes clients of the account's administrator."""
    assert applied

    def client(service: str) -> Any:
        return boto3.client(service, endpoint_url=server, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")  # fmt: skip

    return client


def test_the_module_is_valid_and_passes_its_own_tests(program: Terraform, tmp_path: Path):
    module = terraform.copy("storage", tmp_path)
    if not program.offer(module, "aws"):
        pytest.skip(f"hashicorp/aws is not installed; {terraform.PLUGINS} names a folder that has it")
    program.run(module, "init", "-input=false")
    program.run(module, "validate")
    assert " 0 failed" in program.run(module, "test").stdout


def test_deleted_bytes_are_gone_and_records_stay(ask: Callable[[str], Any]):
    s3 = ask("s3")
    # A bucket that never had versions says nothing about them.
    assert "Status" not in s3.get_bucket_versioning(Bucket=BLOBS)
    assert s3.get_bucket_versioning(Bucket=AUDIT)["Status"] == "Enabled"
    lock = s3.get_object_lock_configuration(Bucket=AUDIT)["ObjectLockConfiguration"]
    kept = lock["Rule"]["DefaultRetention"]
    assert (kept["Mode"], kept["Days"]) == ("COMPLIANCE", 30)
    with pytest.raises(ClientError, match="ObjectLockConfigurationNotFound"):
        s3.get_object_lock_configuration(Bucket=BLOBS)


@pytest.mark.parametrize(("bucket", "kind"), [(BLOBS, "blobs"), (AUDIT, "audit")])
def test_a_bucket_is_closed_encrypted_and_keeps_no_half_uploads(
    bucket: str, kind: str, ask: Callable[[str], Any], applied: dict[str, Any]
):
    s3 = ask("s3")
    closed = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert closed == dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": applied["keys"][kind],
    }
    (life,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert life["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    # Nothing ends by age: Broch deletes, with a certificate.
    assert "Expiration" not in life
    (owner,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert owner["ObjectOwnership"] == "BucketOwnerEnforced"
    key = applied["keys"][kind]
    assert ask("kms").get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is True


def test_policies_say_what_was_reviewed(ask: Callable[[str], Any], applied: dict[str, Any]):
    s3, kms, iam = ask("s3"), ask("kms"), ask("iam")
    policies = {
        f"bucket {kind}": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        for kind, bucket in (("audit", AUDIT), ("blobs", BLOBS))
    }
    for kind, key in applied["keys"].items():
        policies[f"key {kind}"] = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    for kind, arn in applied["policies"].items():
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        policies[f"identity {kind}"] = iam.get_policy_version(PolicyArn=arn, VersionId=version)[
            "PolicyVersion"
        ]["Document"]
    policies["trust web"] = iam.get_role(RoleName="broch-web")["Role"]["AssumeRolePolicyDocument"]
    text = json.dumps(policies, indent=1, sort_keys=True) + "\n"
    for kind, key in applied["keys"].items():
        text = text.replace(key, f"<key of {kind}>")
    if os.environ.get("BROCH_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_a_second_plan_changes_nothing(
    program: Terraform, folder: Path, server: str, applied: dict[str, Any]
):
    assert applied
    words = ("plan", "-detailed-exitcode", "-input=false", "-var", f"endpoint={server}")
    assert program.run(folder, *words, check=False).returncode == 0


@contextmanager
def _without_bucket_policies(ask: Callable[[str], Any]) -> Iterator[None]:
    """Take policies of buckets away: moto denies whatever a denial names, without a look at its conditions."""
    s3 = ask("s3")
    said = {bucket: s3.get_bucket_policy(Bucket=bucket)["Policy"] for bucket in (BLOBS, AUDIT)}
    for bucket in said:
        s3.delete_bucket_policy(Bucket=bucket)
    try:
        yield
    finally:
        for bucket, text in said.items():
            s3.put_bucket_policy(Bucket=bucket, Policy=text)


@contextmanager
def _as(policy: str, ask: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be somebody who has one of the module's policies and nothing else; moto holds every call to it."""
    iam = ask("iam")
    arn = f"arn:aws:iam::{ACCOUNT}:policy/broch-{policy}"
    # moto asks whether many objects may be deleted as if they were the bucket: a right that S3 does not know.
    crutch = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{BLOBS}"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [crutch]})
    iam.create_user(UserName=policy)
    iam.attach_user_policy(UserName=policy, PolicyArn=arn)
    iam.put_user_policy(UserName=policy, PolicyName="moto", PolicyDocument=document)
    key = iam.create_access_key(UserName=policy)["AccessKey"]
    try:
        with _without_bucket_policies(ask), monkeypatch.context() as patch:
            patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
            patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
            patch.setenv("AWS_DEFAULT_REGION", REGION)
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers who somebody was
            patch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
            patch.setattr(ActionAuthenticatorMixin, "request_count", 0)
            yield
    finally:
        iam.delete_access_key(UserName=policy, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=policy, PolicyName="moto")
        iam.detach_user_policy(UserName=policy, PolicyArn=arn)
        iam.delete_user(UserName=policy)


def _refused(call: Callable[..., Any], **arguments: Any) -> None:
    with pytest.raises(ClientError, match=r"AccessDenied|403"):
        call(**arguments)


@pytest.mark.parametrize("holds", CONTRACT, ids=lambda check: check.__name__)
def test_the_policy_of_blobs_is_enough_for_blobs(
    holds: Callable[[Blobs], None],
    ask: Callable[[str], Any],
    applied: dict[str, Any],
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    with _as("blobs", ask, monkeypatch):
        place = applied["blobs"]
        prefix = f"{place['prefix']}/{holds.__name__}"
        holds(S3Blobs(place["bucket"], prefix, tmp_path, endpoint=server, kms_key=place["kms_key"]))


def test_the_policy_of_blobs_is_for_blobs_alone(
    ask: Callable[[str], Any],
    applied: dict[str, Any],
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    with _as("blobs", ask, monkeypatch):
        put(S3Blobs(BLOBS, applied["blobs"]["prefix"], tmp_path, endpoint=server))
        s3 = boto3.client("s3", endpoint_url=server)
        s3.put_object(Bucket=BLOBS, Key="airlock/x", Body=b"")
        s3.delete_object(Bucket=BLOBS, Key="airlock/x")
        _refused(s3.put_object, Bucket=BLOBS, Key="elsewhere/x", Body=b"")
        _refused(s3.delete_object, Bucket=BLOBS, Key="elsewhere/x")
        _refused(s3.put_object, Bucket=AUDIT, Key="log/x", Body=b"")
        _refused(s3.get_object, Bucket=AUDIT, Key="log/x")
        _refused(s3.put_bucket_versioning, Bucket=BLOBS, VersioningConfiguration={"Status": "Enabled"})


def test_the_log_can_be_added_to_and_read_and_nobody_deletes_from_it(
    ask: Callable[[str], Any],
    applied: dict[str, Any],
    server: str,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket, prefix = applied["audit_export"].removeprefix("s3://").split("/")
    with _as("audit-export", ask, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server)
        place = S3Place(bucket, prefix)
        place.add("records/0000", b"record")
        assert place.names("records") == ["0000"]
        assert place.read("records/0000") == b"record"
        s3 = boto3.client("s3")
        _refused(s3.delete_object, Bucket=AUDIT, Key="log/records/0000")
        _refused(s3.get_object, Bucket=BLOBS, Key="airlock/x")
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    with _as("audit-read", ask, monkeypatch):
        s3 = boto3.client("s3", endpoint_url=server)
        assert s3.get_object(Bucket=AUDIT, Key="log/records/0000")["Body"].read() == b"record"
        _refused(s3.put_object, Bucket=AUDIT, Key="log/records/0001", Body=b"")
    with _without_bucket_policies(ask):  # Object Lock alone, against the account's administrator
        s3 = ask("s3")
        (version,) = s3.list_object_versions(Bucket=AUDIT)["Versions"]
        _refused(
            s3.delete_object,
            Bucket=AUDIT,
            Key=version["Key"],
            VersionId=version["VersionId"],
            BypassGovernanceRetention=True,
        )
