"""The manifests for Kubernetes: true to the schemas, and what a nightly run needs is in them."""

import shlex

import jsonschema
import kubernetes_validate
import pytest

from pipeline.execution.pools import DECODER_MEMORY, FILTER_MEMORY, plan_pools
from pipeline.labeling.flags import parser
from tests.infra.manifests import (
    OVERLAYS,
    base,
    crd_schema,
    needs_crds,
    needs_kustomize,
    only,
    overlay,
)

KUBERNETES = "1.33"
GIB = 1024**3

everywhere = pytest.mark.parametrize(
    "manifests",
    [
        pytest.param(base, id="base"),
        *(
            pytest.param(lambda name=name: overlay(name), id=name, marks=needs_kustomize)
            for name in OVERLAYS
        ),
    ],
)


def ray_job(manifests):
    return only(manifests(), "RayJob")


def cluster(manifests):
    return ray_job(manifests)["spec"]["rayClusterSpec"]


def groups(manifests):
    found = cluster(manifests)
    return [found["headGroupSpec"], *found["workerGroupSpecs"]]


def container(group):
    (found,) = group["template"]["spec"]["containers"]
    return found


def mebibytes(text):
    return int(text.removesuffix("Gi")) * 1024


def entrypoint(manifests):
    python, dash_m, module, *arguments = shlex.split(ray_job(manifests)["spec"]["entrypoint"])
    assert (python, dash_m, module) == ("python", "-m", "jobs.label_k400")
    return parser("k400").parse_args(arguments)


@everywhere
@needs_crds
def test_the_ray_job_is_what_kuberay_accepts(manifests):
    jsonschema.validate(ray_job(manifests), crd_schema("rayjobs"))


@needs_crds
def test_the_schema_refuses_a_field_that_kuberay_does_not_know():
    job = ray_job(base)
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxWorkers"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxWorkers"):
        jsonschema.validate(job, crd_schema("rayjobs"))


@everywhere
def test_everything_else_is_what_kubernetes_accepts(manifests):
    core = [each for each in manifests() if each["kind"] != "RayJob"]
    assert {"CronJob", "Role", "RoleBinding", "ServiceAccount", "PodDisruptionBudget"} <= {
        each["kind"] for each in core
    }
    for each in core:
        kubernetes_validate.validate(each, KUBERNETES, strict=True)


@everywhere
def test_the_command_is_one_that_the_job_understands_and_its_groups_can_hold(manifests):
    asked, (_, *workers) = entrypoint(manifests), groups(manifests)
    cpus = sum(g["maxReplicas"] * int(g["rayStartParams"]["num-cpus"]) for g in workers)
    gpus = sum(g["maxReplicas"] * int(g["rayStartParams"].get("num-gpus", 0)) for g in workers)
    assert (asked.max_cpus, asked.max_gpus or 0) == (cpus, gpus)
    pools = plan_pools(
        cpus=cpus, gpus=gpus, decoders=asked.decoders or (1, 1), labelers=asked.labelers
    )
    assert pools.labelers == (asked.labelers or 1)


@everywhere
def test_input_and_output_carry_the_night(manifests):
    asked = entrypoint(manifests)
    assert asked.input.endswith("/{date}")
    assert asked.output.endswith("/{date}")


@everywhere
def test_the_head_does_no_work_and_the_groups_grow_from_nothing(manifests):
    head, *workers = groups(manifests)
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert cluster(manifests)["enableInTreeAutoscaling"] is True
    for group in workers:
        assert (group["minReplicas"], group["replicas"]) == (0, 0)
        assert group["maxReplicas"] > 0
    # KubeRay refuses the second autoscaler with anything else.
    early_exits = {group["template"]["spec"]["restartPolicy"] for group in (head, *workers)}
    assert early_exits == {"Never"}


@everywhere
def test_a_token_is_asked_for_and_a_cluster_ends_with_its_job(manifests):
    spec = ray_job(manifests)["spec"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["suspend"] is True  # a template


@everywhere
def test_object_store_and_actors_fit_into_the_memory_of_each_pod(manifests):
    for group in groups(manifests):
        params, found = group["rayStartParams"], container(group)
        assert found["resources"]["requests"]["memory"] == found["resources"]["limits"]["memory"]
        limit = mebibytes(found["resources"]["limits"]["memory"])
        (shm,) = (v for v in group["template"]["spec"]["volumes"] if v["name"] == "shm")
        assert {"name": "shm", "mountPath": "/dev/shm"} in found["volumeMounts"]
        store = int(params["object-store-memory"]) / 2**20
        assert store < mebibytes(shm["emptyDir"]["sizeLimit"]) < limit
        heap = int(params.get("memory", 0)) / 2**20
        assert store + heap + 2 * 1024 <= limit
        if heap:
            decoders = int(params["num-cpus"])
            assert decoders * DECODER_MEMORY + FILTER_MEMORY <= heap * 2**20


@everywhere
def test_no_pod_runs_as_root_or_gains_rights(manifests):
    pods = [group["template"]["spec"] for group in groups(manifests)]
    nightly = only(manifests(), "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    submitter = ray_job(manifests)["spec"]["submitterPodTemplate"]["spec"]
    every = [*pods, nightly, submitter]
    for pod in every:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    # KubeRay puts its autoscaler into the head's pod.
    containers = [each for pod in every for each in pod["containers"]]
    for each in (*containers, cluster(manifests)["autoscalerOptions"]):
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@everywhere
def test_workers_have_time_to_drain_and_show_their_metrics(manifests):
    head, *workers = groups(manifests)
    for group in workers:
        spec = group["template"]["spec"]
        drain = {e["name"]: e["value"] for e in container(group)["env"]}
        seconds = int(drain["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        # AWS announces the end of a spot machine two minutes before it.
        assert seconds < spec["terminationGracePeriodSeconds"] <= 120
    for group in (head, *workers):
        assert {"name": "metrics", "containerPort": 8080} in container(group)["ports"]


@everywhere
def test_no_file_holds_a_key(manifests):
    for group in groups(manifests):
        assert group["template"]["spec"]["serviceAccountName"] == "label-k400"
        names = {each["name"] for each in container(group).get("env", [])}
        assert not {name for name in names if "KEY" in name or "SECRET" in name or "TOKEN" in name}
    assert not [each for each in manifests() if each["kind"] == "Secret"]


@everywhere
def test_the_submitter_may_create_ray_jobs_and_nothing_more(manifests):
    rules = only(manifests(), "Role")["rules"]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "create"}
    assert {kind for rule in rules for kind in rule["resources"]} == {"rayjobs"}
    (readable,) = (rule for rule in rules if rule["verbs"] == ["get"])
    assert readable["resourceNames"] == [ray_job(manifests)["metadata"]["name"]]
    pod = only(manifests(), "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == readable["resourceNames"]
    assert pod["serviceAccountName"] == only(manifests(), "RoleBinding")["subjects"][0]["name"]


@needs_kustomize
def test_gpu_machines_are_asked_for_by_the_labeling_group_alone():
    head, decode, label = groups(lambda: overlay("prod"))
    assert "nvidia.com/gpu" not in container(head)["resources"]["limits"]
    assert "nvidia.com/gpu" not in container(decode)["resources"]["limits"]
    assert container(label)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for group, keys in ((decode, {"spot"}), (label, {"spot", "nvidia.com/gpu"})):
        assert {each["key"] for each in group["template"]["spec"]["tolerations"]} == keys


@needs_kustomize
@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_names_real_images_and_a_role(name):
    found = overlay(name)
    account = next(e for e in found if e["metadata"]["name"] == "label-k400")
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].startswith("arn:aws:")
    for group in groups(lambda: found):
        registry, _, image = container(group)["image"].rpartition("/")
        assert registry
        assert ":" in image
    assert {each["metadata"]["namespace"] for each in found} == {f"label{'-dev' * (name == 'dev')}"}


@needs_kustomize
def test_nights_start_by_themselves_in_prod_alone():
    assert only(overlay("dev"), "CronJob")["spec"]["suspend"] is True
    nightly = only(overlay("prod"), "CronJob")["spec"]
    assert not nightly.get("suspend")
    assert nightly["concurrencyPolicy"] == "Forbid"
