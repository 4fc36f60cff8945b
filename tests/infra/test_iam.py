"""The IAM policies: decoders can write nothing, and what writes cannot read the input."""

import fnmatch
import json

import pytest

from tests.infra.manifests import ROOT

FOLDER = ROOT / "infra" / "iam"
POLICIES = {
    path.stem: json.loads(path.read_text())
    for path in FOLDER.glob("*.json")
    if path.stem != "trust"
}
INPUT = "arn:aws:s3:::VIDEOS/2026-11-25/a.mp4"
CHECKPOINT = "arn:aws:s3:::MODELS/vit.safetensors"
OUTPUT = "arn:aws:s3:::LABELS/2026-11-25/units/1.parquet"
MANIFEST = "arn:aws:s3:::LABELS/2026-11-25/manifest/0.parquet"
IDS = "arn:aws:s3:::LABELS/2026-11-25/_checkpoint/0.parquet"

# (who, read, written): what each may do with objects.
READ = {
    "head": {INPUT, CHECKPOINT, OUTPUT, MANIFEST, IDS},
    "decode": {INPUT, MANIFEST, IDS},
    "label": {CHECKPOINT, OUTPUT, MANIFEST, IDS},
}
WRITTEN = {"head": {OUTPUT, MANIFEST, IDS}, "decode": set(), "label": {OUTPUT, MANIFEST, IDS}}


def listed(value):
    return value if isinstance(value, list) else [value]


def allows(policy, action, resource):
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatch.fnmatchcase(action, each) for each in listed(statement["Action"]))
        and any(fnmatch.fnmatchcase(resource, each) for each in listed(statement["Resource"]))
        for statement in policy["Statement"]
    )


def test_there_is_a_policy_for_each_account():
    assert POLICIES.keys() == READ.keys()


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("resource", [INPUT, CHECKPOINT, OUTPUT, MANIFEST, IDS])
def test_each_reads_and_writes_what_it_needs_and_nothing_else(name, resource):
    policy = POLICIES[name]
    assert allows(policy, "s3:GetObject", resource) == (resource in READ[name])
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert allows(policy, action, resource) == (resource in WRITTEN[name])


@pytest.mark.parametrize("name", READ)
def test_no_policy_allows_all_actions_or_all_resources(name):
    for statement in POLICIES[name]["Statement"]:
        for action in listed(statement["Action"]):
            assert action.startswith("s3:")
            assert "*" not in action
        for resource in listed(statement["Resource"]):
            bucket = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
            assert bucket in ("VIDEOS", "LABELS", "MODELS")


def test_a_role_can_be_assumed_by_one_account_of_one_namespace():
    (statement,) = json.loads((FOLDER / "trust.json").read_text())["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    conditions = statement["Condition"]["StringEquals"]
    assert conditions["OIDC:sub"] == "system:serviceaccount:label:SERVICE-ACCOUNT"
    assert conditions["OIDC:aud"] == "sts.amazonaws.com"
