#!/usr/bin/env bash
# A run on Slurm: one Ray node on each machine of the allocation, the command on the first.
#
#   sbatch --nodes=4 deploy/slurm.sh configs/quickstart.yaml --set output=/shared/runs/quickstart
#   sbatch --nodes=4 deploy/slurm.sh train /shared/train.yaml --set workers=4     # a training; see docs/cluster.md
#
# * The code, its environment (VENV) and the output lie on a disk that all nodes share, or the output is a bucket.
# * Ray starts on the first node with the driver (and its gate); the others join it. `--block` keeps srun's task alive,
#   so a node that Slurm takes away is one that Ray loses: its blocks in flight are made again elsewhere.
# * 120 s before the time limit Slurm sends SIGTERM to this script, which passes it to the driver: blocks in flight are
#   finished, the exit code is 130 and the job is put into the queue again. The same command resumes. A training just
#   ends then: submit it again, and it goes on from its last checkpoint.
# * It begins when all nodes have joined, or after START_LIMIT_S (300) with those that have.
# * A port that depends on the job id keeps two jobs on one machine apart.
#SBATCH --job-name=curate
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail

VENV=${VENV:-.venv}
START_LIMIT_S=${START_LIMIT_S:-300}
(($# > 0)) || { echo "usage: sbatch deploy/slurm.sh [train] CONFIG [--set KEY=VALUE ...]" >&2; exit 2; }
# shellcheck disable=SC1091  # a path of the user's
source "$VENV/bin/activate"

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST") # `| head -n 1` would end scontrol by SIGPIPE
head_node=${hosts[0]}
port=$((20000 + SLURM_JOB_ID % 20000))
gpus=${SLURM_GPUS_ON_NODE:-0}
cpus=${SLURM_CPUS_PER_TASK:-1}

alive_nodes() {
  python -c 'import sys, ray; ray.init(sys.argv[1], log_to_driver=False); print(sum(n["Alive"] for n in ray.nodes()))' \
    "$head_node:$port" 2>/dev/null | tail -n 1 || echo 0
}
wait_for_nodes() { # until so many have joined; fails where they do not in START_LIMIT_S
  local until=$((SECONDS + START_LIMIT_S))
  until (($(alive_nodes) >= $1)); do
    ((SECONDS < until)) || return 1
    sleep 1
  done
}

srun --nodes=1 --ntasks=1 --nodelist="$head_node" --overlap \
  ray start --head --node-ip-address="$head_node" --port="$port" --num-cpus="$cpus" --num-gpus="$gpus" \
  --disable-usage-stats --block &
wait_for_nodes 1 || { echo "no Ray on $head_node after $START_LIMIT_S s" >&2; exit 1; }
if ((SLURM_JOB_NUM_NODES > 1)); then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head_node" --overlap \
    ray start --address="$head_node:$port" --num-cpus="$cpus" --num-gpus="$gpus" --disable-usage-stats --block &
  wait_for_nodes "$SLURM_JOB_NUM_NODES" ||
    echo "$(alive_nodes) of $SLURM_JOB_NUM_NODES nodes have joined after $START_LIMIT_S s; beginning with those" >&2
fi

if [[ $1 == train ]]; then
  command=("$@" --set "ray_address=$head_node:$port")
else
  command=(run "$@" --address "$head_node:$port")
fi
srun --nodes=1 --ntasks=1 --nodelist="$head_node" --overlap curate "${command[@]}" &
driver=$!
trap 'kill -TERM "$driver"' TERM
code=0
wait "$driver" || code=$?
if ((code > 128 && code != 130)); then # the wait was interrupted by our own trap: the driver still finishes its blocks
  code=0
  wait "$driver" || code=$?
fi
if ((code == 130)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
