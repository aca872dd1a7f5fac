"""deploy/: what can be checked of cluster files without a cluster: syntax, versions, and commands that this CLI has."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import typer
import yaml

from curate.cli import app
from tests.test_cli import options_of

DEPLOY = Path(__file__).parents[1] / "deploy"
PINS = dict(line.split("==") for line in (DEPLOY.parent / "constraints.txt").read_text().splitlines() if "==" in line)
RAYJOB_KEYS = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
"""Of the RayJob v1 schema (github.com/ray-project/kuberay, ray-operator/apis/ray/v1); a typo would be ignored there."""


def rayjob() -> dict:  # type: ignore[type-arg]
    return yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())


def test_the_slurm_script_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", DEPLOY / "slurm.sh"], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", DEPLOY / "slurm.sh"], check=True)
    bare = subprocess.run(["bash", DEPLOY / "slurm.sh"], capture_output=True, text=True)
    assert bare.returncode == 2 and "usage" in bare.stderr


@pytest.mark.parametrize(
    ("words", "called"),
    [(["c.yaml", "--set", "limit=4"], "curate run c.yaml --set limit=4 --address one:"),
     (["train", "c.yaml", "--set", "workers=2"], "curate train c.yaml --set workers=2 --set ray_address=one:")])
def test_the_slurm_script_calls_the_command_on_the_ray_that_it_started(
        tmp_path: Path, words: list[str], called: str) -> None:
    said = tmp_path / "said"
    stands_in = {"scontrol": "echo one; echo two", "srun": f'echo "$@" >> {said}', "sleep": ""}
    for name, code in stands_in.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{code}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text("")
    slurm = {"SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "VENV": str(tmp_path)}
    environment = {**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", DEPLOY / "slurm.sh", *words], check=True, env=environment)
    begun = time.monotonic()
    while len(lines := said.read_text().splitlines()) < 3 and time.monotonic() - begun < 20:
        time.sleep(0.02)  # the script ends when the command does
    (head,) = (line for line in lines if "--head" in line)
    (worker,) = (line for line in lines if "--address=one:" in line)
    (command,) = (line for line in lines if called in line)
    port = command.rpartition("one:")[2]
    assert f"--port={port}" in head and f"--address=one:{port}" in worker


def test_the_rayjob_has_the_fields_of_its_schema_and_the_tested_ray() -> None:
    job = rayjob()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob") and set(job["spec"]) == RAYJOB_KEYS
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["rayVersion"] == PINS["ray"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        spec = group["template"]["spec"]
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}
        assert spec["containers"][0]["resources"]["requests"] == spec["containers"][0]["resources"]["limits"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]


@pytest.mark.parametrize("text", [rayjob()["spec"]["entrypoint"], 'curate run x --address "$head_node:$port"',
                                  'curate train x --set "ray_address=$head_node:$port"'])
def test_the_commands_exist(text: str) -> None:
    program, command, *rest = shlex.split(text)
    options = {word for word in rest if word.startswith("--")}
    assert program == "curate" and options <= options_of(typer.main.get_command(app))[command]


def test_the_image_copies_what_the_package_needs() -> None:
    copied = {word for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line.startswith("COPY")
              for word in line.split()[1:-1]}
    assert {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "curate/__init__.py"} <= copied
    assert all((DEPLOY.parent / name).exists() for name in copied)
