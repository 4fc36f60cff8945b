"""The nightly submitter against an API server: one RayJob per night, named by its date."""

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import pytest

from tests.infra.manifests import (
    KUBERAY,
    base,
    crd_schema,
    needs_crds,
    needs_kustomize,
    only,
    overlay,
)

_PATH = KUBERAY / "base" / "submit_nightly.py"
_SPEC = importlib.util.spec_from_file_location("submit_nightly", _PATH)
submit_nightly = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(submit_nightly)

TEMPLATE = only(base(), "RayJob")
NAME = TEMPLATE["metadata"]["name"]


@pytest.fixture
def api_server(tmp_path, monkeypatch):
    """Those RayJobs that were created, by name, at a server that knows one token."""
    created = {}

    class Handler(BaseHTTPRequestHandler):
        def answer(self, code, body):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def is_known(self):
            return self.headers["Authorization"] == "Bearer a-token"

        def do_GET(self):
            wanted = f"/apis/ray.io/v1/namespaces/label/rayjobs/{NAME}"
            known = self.is_known() and self.path == wanted
            self.answer(200, TEMPLATE) if known else self.answer(403, {})

        def do_POST(self):
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = job["metadata"]["name"]
            if self.path != "/apis/ray.io/v1/namespaces/label/rayjobs" or not self.is_known():
                self.answer(403, {})
            elif name in created:
                self.answer(409, {"reason": "AlreadyExists"})
            else:
                created[name] = job
                self.answer(201, job)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "namespace").write_text("label")
    (tmp_path / "token").write_text("a-token\n")
    monkeypatch.setattr(submit_nightly.ssl, "create_default_context", lambda cafile: None)
    monkeypatch.setenv("SERVICE_ACCOUNT", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVER", f"http://127.0.0.1:{server.server_port}")
    yield created
    server.shutdown()
    server.server_close()


def test_a_night_is_created_once_and_refused_by_name_the_second_time(
    api_server, monkeypatch, capsys
):
    monkeypatch.setenv("DATE", "2026-11-25")
    assert submit_nightly.main([NAME]) == 0
    assert submit_nightly.main([NAME]) == 0
    assert list(api_server) == ["label-k400-2026-11-25"]
    first, second = capsys.readouterr().out.splitlines()
    assert first == "rayjob label-k400-2026-11-25 created"
    assert second == "rayjob label-k400-2026-11-25 exists already; nothing was submitted"


def test_the_date_is_in_input_and_output_and_the_job_may_run(api_server, monkeypatch):
    monkeypatch.setenv("DATE", "2026-11-25")
    submit_nightly.main([NAME])
    spec = api_server["label-k400-2026-11-25"]["spec"]
    assert "s3://example-videos/2026-11-25 s3://example-labels/2026-11-25 " in spec["entrypoint"]
    assert "{" not in spec["entrypoint"]
    assert spec["suspend"] is False
    assert spec["rayClusterSpec"] == TEMPLATE["spec"]["rayClusterSpec"]


def test_without_a_date_it_is_yesterday(api_server, monkeypatch):
    class Clock(submit_nightly.datetime.datetime):
        @classmethod
        def now(cls, zone):
            return cls(2026, 12, 1, 1, 15, tzinfo=zone)

    monkeypatch.setattr(submit_nightly.datetime, "datetime", Clock)
    monkeypatch.delenv("DATE", raising=False)
    submit_nightly.main([NAME])
    assert list(api_server) == ["label-k400-2026-11-30"]


@pytest.mark.parametrize(
    ("name", "value"), [("DATE", "yesterday"), ("KUBERNETES_SERVER", "http://127.0.0.1:1")]
)
def test_what_cannot_be_submitted_is_an_error_in_one_line(
    api_server, monkeypatch, capsys, name, value
):
    monkeypatch.setenv(name, value)
    assert submit_nightly.main([NAME]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("error: ")
    assert not api_server


@needs_crds
@needs_kustomize
def test_the_night_of_prod_goes_through_kueue_and_is_what_kuberay_accepts():
    found = overlay("prod")
    pod = only(found, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    labels, annotations = (submit_nightly.pairs(env[each]) for each in ("LABELS", "ANNOTATIONS"))
    night = submit_nightly.nightly(only(found, "RayJob"), "2026-11-25", labels, annotations)
    jsonschema.validate(night, crd_schema("rayjobs"))
    assert night["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "nightly-labeling"
    # Kueue refuses RayJobs that scale by themselves and do not say this.
    assert night["metadata"]["annotations"] == {"kueue.x-k8s.io/elastic-job": "true"}
    assert len(night["metadata"]["name"]) <= 47  # KubeRay adds suffixes of its own
