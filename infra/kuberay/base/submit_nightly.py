"""Creates the RayJob of a night from a template that lies suspended in the same namespace.

``submit_nightly.py TEMPLATE`` runs in a pod, as the service account that may read the template and
create RayJobs. The night is that of the environment variable DATE, or yesterday in UTC. Its name
carries the date, so that Kubernetes refuses a second one. LABELS and ANNOTATIONS (`a=1 b=2`) are
added to it. Exit code 0: the night's RayJob is there; 1: it is not.
"""

from __future__ import annotations

import copy
import datetime
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SUFFIX = "-template"
_EXISTS = 409


def nightly(
    template: dict[str, Any], date: str, labels: dict[str, str], annotations: dict[str, str]
) -> dict[str, Any]:
    """The RayJob of `date`: the template's spec with the date in it, allowed to run."""
    spec = copy.deepcopy(template["spec"])
    spec["suspend"] = False
    spec["entrypoint"] = spec["entrypoint"].replace("{date}", date)
    name = template["metadata"]["name"].removesuffix(_SUFFIX)
    return {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": {
            "name": f"{name}-{date}",
            "labels": template["metadata"].get("labels", {}) | labels,
            "annotations": annotations,
        },
        "spec": spec,
    }


def pairs(text: str) -> dict[str, str]:
    """`a=1 b=2` as a dictionary."""
    return dict(word.split("=", 1) for word in text.split())


def main(argv: list[str]) -> int:
    """Submits, says what happened in one line, and returns the exit code."""
    yesterday = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)
    labels, annotations = (pairs(os.environ.get(name, "")) for name in ("LABELS", "ANNOTATIONS"))
    try:
        date = datetime.date.fromisoformat(os.environ.get("DATE") or yesterday.isoformat())
        job = nightly(_call(argv[0]), date.isoformat(), labels, annotations)
        created = _create(job)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    said = "created" if created else "exists already; nothing was submitted"
    print(f"rayjob {job['metadata']['name']} {said}")
    return 0


def _create(job: dict[str, Any]) -> bool:
    """Whether it was created; False if one of its name exists."""
    try:
        _call("", job)
    except urllib.error.HTTPError as error:
        if error.code != _EXISTS:
            raise
        return False
    return True


def _call(name: str, body: dict[str, Any] | None = None) -> Any:
    """GET of a RayJob, or POST of one, as this pod's service account."""
    server = os.environ.get("KUBERNETES_SERVER", "https://kubernetes.default.svc")
    account = Path(os.environ.get("SERVICE_ACCOUNT", _ACCOUNT))
    namespace, token = ((account / file).read_text().strip() for file in ("namespace", "token"))
    request = urllib.request.Request(
        f"{server}/apis/ray.io/v1/namespaces/{namespace}/rayjobs/{name}".rstrip("/"),
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
