"""The cluster launcher's file: accepted by Ray, and as safe and as elastic as it says."""

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from pipeline.execution import node_roles
from tests.infra.manifests import ROOT

CONFIG = yaml.safe_load((ROOT / "infra" / "aws" / "cluster.yaml").read_text())
TYPES = CONFIG["available_node_types"]
WORKERS = {name: kind for name, kind in TYPES.items() if name != CONFIG["head_node_type"]}


def test_ray_accepts_it():
    validate_config(prepare_config(CONFIG))


def test_ray_refuses_a_field_that_it_does_not_know():
    with pytest.raises(Exception, match="max_machines"):
        validate_config(prepare_config(CONFIG | {"max_machines": 3}))


def test_the_head_does_no_work_and_the_groups_grow_from_nothing():
    assert TYPES[CONFIG["head_node_type"]]["resources"] == {"CPU": 0}
    assert set(WORKERS) == {"decode", "label"}
    assert {kind["min_workers"] for kind in WORKERS.values()} == {0}
    assert sum(kind["max_workers"] for kind in WORKERS.values()) == CONFIG["max_workers"]
    assert [name for name, kind in WORKERS.items() if kind["resources"].get("GPU")] == ["label"]


def test_workers_are_spot_machines_and_the_head_is_not():
    for name, kind in TYPES.items():
        market = kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType")
        assert market == (None if name == "head" else "spot")


def test_credentials_come_from_instance_profiles_and_a_token_guards_the_cluster():
    for kind in TYPES.values():
        assert kind["node_config"]["IamInstanceProfile"]["Arn"].startswith("arn:aws:iam::")
        options = kind["node_config"]["MetadataOptions"]
        assert options == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    text = yaml.safe_dump(CONFIG)
    assert "AWS_SECRET_ACCESS_KEY" not in text
    assert "--env RAY_AUTH_MODE=token" in CONFIG["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in CONFIG["file_mounts"]


def test_decoders_and_what_writes_have_machines_and_profiles_of_their_own():
    for role, kind in WORKERS.items():
        assert set(kind["resources"]) & {"decode", "label"} == {role}
        assert kind["node_config"]["IamInstanceProfile"]["Arn"].endswith(f"/label-{role}")
    assert f"--env {node_roles.VARIABLE}=1" in CONFIG["docker"]["run_options"]


def test_containers_on_gpu_machines_are_given_their_gpus():
    assert "--env NVIDIA_VISIBLE_DEVICES=all" in CONFIG["docker"]["run_options"]
