"""`curate doctor`: what is broken is found, said and given a fix; what works is not called broken."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from curate.cli import app
from curate.models import ZOO
from curate.trust import checks
from curate.trust.checks import Finding, check_requirements, disk, zoo
from curate.trust.doctor import examine


def test_the_shipped_models_are_whole(tmp_path: Path) -> None:
    there = [finding for finding in zoo() if (ZOO / finding.name.removeprefix("zoo:")).is_dir()]
    assert len(there) >= 5 and {finding.state for finding in there} == {"ok"}
    folder = Path(shutil.copytree(ZOO / "csd", tmp_path / "csd"))
    assert next(f for f in zoo(tmp_path) if f.name == "zoo:csd").state == "ok"
    data = (folder / "model.safetensors").read_bytes()
    (tmp_path / "cut").mkdir()
    cut = Path(shutil.copytree(folder, tmp_path / "cut" / "csd"))
    (cut / "model.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = {finding.name: finding for finding in zoo(tmp_path / "cut")}
    assert found["zoo:csd"].state == "broken" and "damaged" in found["zoo:csd"].says and found["zoo:csd"].fix
    assert found["zoo:clip"].state == "warning" and found["zoo:clip"].fix == "curate zoo build clip"


def test_missing_and_old_packages_are_named_with_the_command() -> None:
    found = list(check_requirements(["numpy>=99", "nobody-has-this", "pytest>=2", 'ruff<0; extra == "dev"']))
    assert [(f.name, f.state) for f in found] == [("numpy", "broken"), ("nobody-has-this", "broken")]
    assert found[0].fix == "pip install -c constraints.txt 'numpy>=99'" and "not installed" in found[1].says
    assert [f.state for f in check_requirements(["pytest>=2"])] == ["ok"]


def test_a_full_or_foreign_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.state for f in disk(tmp_path)] == ["ok"] or shutil.disk_usage(tmp_path).free < 5e9
    monkeypatch.setattr(checks, "LOW_DISK_GB", 1e9)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert [f.state for f in disk(tmp_path)] == ["warning", "broken"]


def test_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody_listens.getsockname()[1]}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        (found,) = checks.hub()
    assert found.state == "warning" and "HF_ENDPOINT" in found.fix
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert next(iter(checks.hub())).state == "ok"


def test_a_gpu_is_named_and_a_driver_that_torch_cannot_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(name="Card 9000", total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: card)
    found = list(checks.gpu())
    assert [(f.name, f.state, f.fix) for f in found] == [("gpu 0", "ok", ""), ("gpu 1", "ok", "")]
    assert found[0].says.startswith("Card 9000, 24 GiB, torch ")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for program, state in (("/usr/bin/nvidia-smi", "warning"), (None, "ok")):
        monkeypatch.setattr(shutil, "which", lambda name, program=program: program)
        (found_one,) = checks.gpu()
        assert found_one.state == state and "sees none" in found_one.says
        assert ("torch built for its CUDA" in found_one.fix) == (state == "warning")


@pytest.mark.parametrize(("trial", "says"), [("raise OSError('no port is free')", "OSError: no port is free"),
                                             ("import time; time.sleep(60)", "did not start within 0.5 s")])
def test_a_ray_that_does_not_start_is_broken(trial: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "RAY_TRIAL", trial)
    monkeypatch.setattr(checks, "RAY_S", 60 if "OSError" in says else 0.5)
    (found,) = (finding for finding in checks.ray() if finding.name == "ray")
    assert (found.state, found.says) == ("broken", says) and "kind: local" in found.fix


def test_a_check_that_fails_is_a_finding() -> None:
    def burns() -> Iterator[Finding]:
        yield Finding("first", "ok", "fine")
        raise RuntimeError("smoke")

    found = list(examine([burns, checks.python]))
    assert [f.state for f in found] == ["ok", "broken", "ok"] and "smoke" in found[1].says


def test_the_command_says_all_and_its_exit_code_says_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ray", lambda: iter([Finding("ray", "ok", "left out here")]))
    monkeypatch.setattr(checks, "hub", lambda: iter([Finding("hub", "warning", "not reached", "a [bracket] fix")]))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0 and "zoo:restyle" in result.output and "-> a [bracket] fix" in result.output
    monkeypatch.setattr(checks, "hub", lambda: iter([Finding("hub", "broken", "gone")]))
    assert CliRunner().invoke(app, ["doctor"]).exit_code == 1


@pytest.mark.slow
def test_ray_starts() -> None:
    assert [f.state for f in checks.ray() if f.name == "ray"] == ["ok"]
