"""Which precision a device computes fast, by what the system tells of the processor."""

import pytest

from workers import machine
from workers.precisions import fast_precision

ZEN_4 = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu avx512_bf16 avx512_vnni\n"
SAPPHIRE_RAPIDS = "model name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx512f amx_bf16 amx_tile\n"
SKYLAKE = "model name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx2 avx512f avx512bw\n"
GRAVITON_3 = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd sve bf16 i8mm\n"
GRAVITON_2 = "processor\t: 0\nFeatures\t: fp asimd asimddp\n"


@pytest.mark.parametrize(
    ("cpuinfo", "precision"),
    [
        (ZEN_4, "bfloat16"),
        (SAPPHIRE_RAPIDS, "bfloat16"),
        (GRAVITON_3, "bfloat16"),
        (SKYLAKE, "float32"),
        (GRAVITON_2, "float32"),
        ("", "float32"),
    ],
)
def test_a_processor_with_instructions_for_bfloat16_computes_it_fast(
    tmp_path, monkeypatch, cpuinfo, precision
):
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert fast_precision("cpu") == precision
    assert fast_precision("cuda") == "bfloat16"


def test_a_system_without_proc_computes_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "absent")
    assert fast_precision("cpu") == "float32"
    assert machine.cpu_model() == machine.platform.machine()
