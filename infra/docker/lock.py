"""Writes the hash-locked lists of packages that the images install, for Linux on x86_64.

``python infra/docker/lock.py`` (with uv and packaging: `pip install uv packaging`) resolves
pyproject.toml under constraints.txt, and writes `requirements-cpu.txt` and `requirements-cuda.txt`
beside this file. A line has one package with the hashes of the wheels that fit, or of its source
where there is no wheel. The CUDA build of torch is PyPI's; its CPU build comes from PyTorch's own
index, or from another address or folder that `--cpu-wheels` names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

_ROOT = Path(__file__).resolve().parents[2]
_PYTHON = (3, 11)
_GLIBC = 36  # Debian 12
_PLATFORMS = [
    *(f"manylinux_2_{minor}_x86_64" for minor in range(_GLIBC, 4, -1)),
    *(f"manylinux{year}_x86_64" for year in (2014, 2010, 1)),
    "linux_x86_64",
]
_CPU_WHEELS = "https://download.pytorch.org/whl/cpu/torch/"


def lock(kind: str, cpu_wheels: str) -> str:
    """The lines of a list."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    constraints = (_ROOT / "constraints.txt").read_text()
    # Sources are built without isolation, by the packages that pyproject.toml builds with.
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"], "wheel"]
    with tempfile.TemporaryDirectory() as folder:
        asked, result = Path(folder, "asked.in"), Path(folder, "pylock.toml")
        asked.write_text("\n".join(wanted))
        command = ["uv", "pip", "compile", asked, "-c", _ROOT / "constraints.txt", "--quiet"]
        command += ["--format", "pylock.toml", "--generate-hashes", "-o", result]
        command += ["--python-version", ".".join(map(str, _PYTHON))]
        command += ["--python-platform", "x86_64-manylinux_2_28"]
        if kind == "cpu":
            torch = next(line for line in constraints.splitlines() if line.startswith("torch=="))
            Path(folder, "cpu.in").write_text(f"{torch}+cpu")
            command += ["--override", Path(folder, "cpu.in"), "--find-links", cpu_wheels]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
        subprocess.run(command, check=True, env=environment)
        packages = tomllib.loads(result.read_text())["packages"]
    return "".join(f"{_line(package)}\n" for package in packages)


def _line(package: dict[str, Any]) -> str:
    fitting = _tags()
    chosen = [
        wheel
        for wheel in package.get("wheels", [])
        if parse_wheel_filename(wheel["url"].rpartition("/")[2].replace("%2B", "+"))[3] & fitting
    ]
    hashes = sorted(each["hashes"]["sha256"] for each in chosen or [package["sdist"]])
    said = " ".join(f"--hash=sha256:{each}" for each in hashes)
    return f"{package['name']}=={package['version']} {said}"


def _tags() -> frozenset[Tag]:
    return frozenset(cpython_tags(_PYTHON, platforms=_PLATFORMS)) | frozenset(
        compatible_tags(_PYTHON, interpreter="cp311", platforms=_PLATFORMS)
    )


def main(argv: list[str]) -> int:
    """Writes both lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu-wheels", default=_CPU_WHEELS, metavar="URL")
    arguments = parser.parse_args(argv)
    for kind in ("cpu", "cuda"):
        path = Path(__file__).with_name(f"requirements-{kind}.txt")
        path.write_text(lock(kind, arguments.cpu_wheels))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
