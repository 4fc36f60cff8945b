"""The manifests for Kubernetes: true to the schemas, and what a nightly run needs is in them."""

import ipaddress
import json
import shlex

import jsonschema
import kubernetes_validate
import pytest

from pipeline.execution import node_roles
from pipeline.execution.pools import DECODER_MEMORY, FILTER_CPUS, FILTER_MEMORY, plan_pools
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
CACHE = {"PersistentVolumeClaim"}
GIB = 1024**3
APP = "app.kubernetes.io"
ROLE = "eks.amazonaws.com/role-arn"
METADATA = ipaddress.ip_network("169.254.169.254/32")

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


def gibibytes(text):
    number = float(text[:-2])
    return number / 1024 if text.endswith("Mi") else number


def pods(manifests):
    """(labels, spec) of every pod that the manifests make."""
    cron = only(manifests(), "CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    made = [group["template"] for group in groups(manifests)]
    made += [cron, ray_job(manifests)["spec"]["submitterPodTemplate"]]
    return [(each["metadata"]["labels"], each["spec"]) for each in made]


def containers(manifests):
    """Every container; KubeRay puts its autoscaler into the head's pod."""
    found = [each for _, spec in pods(manifests) for each in spec["containers"]]
    found += [each for _, spec in pods(manifests) for each in spec.get("initContainers", [])]
    return [*found, cluster(manifests)["autoscalerOptions"]]


def selected(policy, labels):
    """Whether a NetworkPolicy is one of a pod with these labels."""
    selector = policy["spec"]["podSelector"]
    same = all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())
    expressions = selector.get("matchExpressions", [])
    assert {each["operator"] for each in expressions} <= {"In"}
    return same and all(labels.get(each["key"]) in each["values"] for each in expressions)


def egress(manifests, component):
    """What a pod of a component may connect to."""
    labels = next(
        labels for labels, _ in pods(manifests) if labels[f"{APP}/component"] == component
    )
    policies = [each for each in manifests() if each["kind"] == "NetworkPolicy"]
    return [
        rule
        for policy in policies
        if selected(policy, labels) and "Egress" in policy["spec"]["policyTypes"]
        for rule in policy["spec"].get("egress", [])
    ]


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
    kinds = {"CronJob", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}
    assert kinds | {"PodDisruptionBudget"} == {each["kind"] for each in core} - {
        "ConfigMap",
        *CACHE,
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
def test_no_container_runs_as_root_gains_rights_or_writes_into_its_image(manifests):
    for _, spec in pods(manifests):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not [each for each in spec.get("volumes", []) if "hostPath" in each]
    for each in containers(manifests):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@everywhere
def test_ray_finds_the_folders_that_it_writes_to_and_no_disk_fills_up(manifests):
    for each in containers(manifests):
        limits = each["resources"]["limits"]
        assert gibibytes(limits["ephemeral-storage"]) > 0
        assert each["resources"]["requests"]["ephemeral-storage"] == limits["ephemeral-storage"]
    for each in containers(manifests):
        if each.get("name") != "submit":
            mounted = {mount["mountPath"] for mount in each["volumeMounts"]}
            assert {"/tmp", "/home/ray"} <= mounted
    for _, spec in pods(manifests):
        disks = [v["emptyDir"] for v in spec.get("volumes", []) if "emptyDir" in v]
        held = sum(gibibytes(d["sizeLimit"]) for d in disks if d.get("medium") != "Memory")
        limits = [c["resources"]["limits"]["ephemeral-storage"] for c in spec["containers"]]
        assert held <= sum(map(gibibytes, limits))


@everywhere
def test_every_pod_has_a_network_policy_for_both_directions(manifests):
    policies = [each for each in manifests() if each["kind"] == "NetworkPolicy"]
    for labels, _ in pods(manifests):
        kinds = {
            kind
            for policy in policies
            if selected(policy, labels)
            for kind in policy["spec"]["policyTypes"]
        }
        assert kinds == {"Ingress", "Egress"}, labels


@everywhere
def test_workers_reach_ray_names_and_the_object_store_alone(manifests):
    workers = {
        group["template"]["metadata"]["labels"][f"{APP}/component"]
        for group in groups(manifests)[1:]
    }
    for component in workers:
        rules = egress(manifests, component)
        blocks = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer]
        (store,) = blocks
        network = ipaddress.ip_network(store["cidr"])
        assert network.num_addresses <= 256
        assert not network.overlaps(METADATA)
        (ports,) = (rule["ports"] for rule in rules if "ipBlock" in rule["to"][0])
        assert ports == [{"protocol": "TCP", "port": 443}]
        for rule in rules:
            assert rule["to"], "a rule without peers allows everything"
            for peer in rule["to"]:
                names = peer.get("podSelector", {}).get("matchLabels", {})
                assert "ipBlock" in peer or names in (
                    {f"{APP}/name": "label-k400"},
                    {"k8s-app": "kube-dns"},
                )


@everywhere
def test_no_pod_reaches_the_metadata_of_its_machine(manifests):
    for labels, _ in pods(manifests):
        for rule in egress(manifests, labels[f"{APP}/component"]):
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                inside = METADATA.subnet_of(ipaddress.ip_network(block["cidr"]))
                excepted = [ipaddress.ip_network(each) for each in block.get("except", [])]
                assert not inside or any(METADATA.subnet_of(each) for each in excepted)


@everywhere
def test_decoders_and_what_writes_the_output_have_nodes_and_accounts_of_their_own(manifests):
    head, *workers = groups(manifests)
    environment = {each["name"]: each["value"] for each in container(head)["env"]}
    assert environment[node_roles.VARIABLE] == "1"
    roles = {
        group["groupName"]: json.loads(json.loads(group["rayStartParams"]["resources"]))
        for group in workers
    }
    accounts = {
        group["groupName"]: group["template"]["spec"]["serviceAccountName"] for group in workers
    }
    assert {role for offered in roles.values() for role in offered} == {"decode", "label"}
    if len(workers) == 1:  # a trial, whose one group does everything
        assert accounts == {"decode": "label-k400"}
        return
    assert {name: set(offered) for name, offered in roles.items()} == {
        "decode": {"decode"},
        "label": {"label"},
    }
    assert accounts == {"decode": "label-k400-decode", "label": "label-k400-label"}
    for group in workers:
        # Neither the account's token nor Ray's autoscaler's rights are in a worker.
        assert group["template"]["spec"]["automountServiceAccountToken"] is False
    asked = entrypoint(manifests)
    decode = next(group for group in workers if group["groupName"] == "decode")
    cpus = decode["maxReplicas"] * int(decode["rayStartParams"]["num-cpus"])
    assert asked.decoders[1] <= cpus - FILTER_CPUS


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
    accounts = {
        each["metadata"]["name"] for each in manifests() if each["kind"] == "ServiceAccount"
    }
    for group in groups(manifests):
        assert group["template"]["spec"]["serviceAccountName"] in accounts
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
    roles = {
        each["metadata"]["name"]: each["metadata"].get("annotations", {}).get(ROLE, "")
        for each in found
        if each["kind"] == "ServiceAccount"
    }
    assert "eks" not in roles.pop("submit-nightly")
    assert {role.rpartition("-")[2] for role in roles.values()} == {"head", "decode", "label"}
    assert all(role.startswith("arn:aws:iam::") for role in roles.values())
    store = next(e for e in found if e["metadata"]["name"] == "label-k400-store")
    assert store["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"] != "192.0.2.0/24"
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
