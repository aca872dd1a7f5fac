"""deploy/: what can be checked of cluster files without a cluster: syntax, versions, and commands that this CLI has."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from curate.cli import app
from tests.slurm_stubs import slurm_job
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


def test_a_slurm_job_that_runs_out_of_time_finishes_its_blocks_and_is_queued_again(tmp_path: Path) -> None:
    with slurm_job(tmp_path, "run.yaml", "--set", "seed=1") as job:
        job.wait_for("curate run")
        job.process.send_signal(signal.SIGTERM)  # Slurm's, 120 s before the limit
        assert job.process.wait(timeout=20) == 130
        assert [line for line in job.log if not line.startswith("ray")] == [
            "curate run run.yaml --set seed=1 --address node1:20007 with 2 nodes", "curate finished its blocks",
            "scontrol requeue 7"]
        assert sum("ray start --head" in line for line in job.log) == 1
        assert sum("ray start --address=node1:20007" in line for line in job.log) == 1


@pytest.mark.parametrize("code", ["0", "1"])
def test_a_slurm_job_that_ends_by_itself_is_not_queued_again(code: str, tmp_path: Path) -> None:
    with slurm_job(tmp_path, "run.yaml", nodes=1, CURATE_CODE=code) as job:
        assert job.process.wait(timeout=20) == int(code)
        assert not any(line.startswith("scontrol") for line in job.log)


def test_a_training_on_slurm_joins_the_ray_of_its_nodes(tmp_path: Path) -> None:
    with slurm_job(tmp_path, "train", "c.yaml", "--set", "workers=2", CURATE_CODE="0") as job:
        assert job.process.wait(timeout=30) == 0
        assert "curate train c.yaml --set workers=2 --set ray_address=node1:20007 with 2 nodes" in job.log


def test_a_slurm_job_waits_for_its_nodes_and_no_longer_than_it_may(tmp_path: Path) -> None:
    with slurm_job(tmp_path / "slow", "run.yaml", CURATE_CODE="0", RAY_DELAY_S="2") as job:
        assert job.process.wait(timeout=30) == 0
        assert "curate run run.yaml --address node1:20007 with 2 nodes" in job.log
    with slurm_job(tmp_path / "lost", "run.yaml", nodes=3, CURATE_CODE="0", START_LIMIT_S="2", NODES_LOST="1") as job:
        assert job.process.wait(timeout=30) == 0
        assert "2 of 3 nodes have joined after 2 s" in (tmp_path / "lost" / "stderr").read_text()
    with slurm_job(tmp_path / "dead", "run.yaml", START_LIMIT_S="1", RAY_DELAY_S="60") as job:
        assert job.process.wait(timeout=30) == 1
        assert not any(line.startswith("curate") for line in job.log)


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
