"""What deploy/slurm.sh calls, as small scripts on PATH that write down how they were called: no Slurm, no Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "deploy" / "slurm.sh"
STUBS = {
    "scontrol": 'case $1 in show) printf "node1\\nnode2\\n";; *) echo "scontrol $*" >> "$STUB_LOG";; esac',
    # one task a node, each under the name of a node; options before the command are srun's
    "srun": 'count=1; while [[ $1 == --* ]]; do [[ $1 == --ntasks=* ]] && count=${1#*=}; shift; done\n'
            '((count > 1)) && ((count -= ${NODES_LOST:-0}))\n'
            'if ((count == 1)); then exec "$@"; fi\n'
            'for ((i = 0; i < count; i++)); do "$@" & done; wait',
    "ray": 'echo "ray $*" >> "$STUB_LOG"; sleep "${RAY_DELAY_S:-0}"; touch "$STUB_NODES/$$"; exec sleep 60',
    "python": 'ls "$STUB_NODES" | wc -l',  # the script's question: how many nodes are alive
    "curate": 'echo "curate $* with $(ls "$STUB_NODES" | wc -l) nodes" >> "$STUB_LOG"\n'
              'trap "sleep 0.5; echo curate finished its blocks >> \\"$STUB_LOG\\"; exit 130" TERM\n'
              '[[ -n ${CURATE_CODE:-} ]] && exit "$CURATE_CODE"\n'
              'for ((i = 0; i < 600; i++)); do sleep 0.1; done',
}


class SlurmJob:
    """The script at work; ``log`` is what its commands have written down."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.process, self.folder = process, folder

    @property
    def log(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []

    def wait_for(self, begin: str, seconds: float = 20.0) -> None:
        until = time.monotonic() + seconds
        while not any(line.startswith(begin) for line in self.log):
            assert time.monotonic() < until and self.process.poll() is None, self.log
            time.sleep(0.05)


@contextmanager
def slurm_job(folder: Path, *arguments: str, nodes: int = 2, **settings: str) -> Iterator[SlurmJob]:
    """The script as Slurm would start it on ``nodes`` machines; what it leaves running is ended with it."""
    bin_, alive = folder / "bin", folder / "alive"
    for place in (bin_, alive):
        place.mkdir(parents=True)
    for name, body in STUBS.items():
        (bin_ / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (bin_ / name).chmod(0o755)
    (bin_ / "activate").write_text(f'export PATH="{bin_}:$PATH"\n')
    environment: Mapping[str, str] = {
        **os.environ, "VENV": str(folder), "STUB_LOG": str(folder / "log"), "STUB_NODES": str(alive),
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": str(nodes), **settings}
    with open(folder / "stderr", "w") as said:
        process = subprocess.Popen(["bash", SCRIPT, *arguments], env=environment, stderr=said, start_new_session=True)
    try:
        yield SlurmJob(folder, process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
