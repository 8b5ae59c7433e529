#!/usr/bin/env bash
# One run on the nodes of a Slurm allocation: sbatch docker/slurm.sh configs/quickstart.toml run.rounds=1000
# Submitted again with the run's folder instead of a config, it goes on from the last checkpoint.
#SBATCH --job-name=peer-consensus
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@180
#SBATCH --output=%x-%j.log
set -euo pipefail

what=${1:?usage: sbatch docker/slurm.sh CONFIG_OR_RUN [section.key=value ...]}
shift
runs=${RUNS:-$PWD/runs} # on a file system that all nodes mount
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

umask 077
token=$HOME/.ray/auth_token # a home that all nodes mount; only its owner may read it
mkdir -p "$HOME/.ray"
[[ -s $token ]] || openssl rand -hex 32 >"$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1

if [[ -d $what ]]; then
  command=(python -m coordinator resume "$what" "$@" hosting.address=auto)
else
  command=(python -m coordinator run "$what" "$@" --output "$runs" --address auto checkpoint.path="$runs/checkpoints")
fi

# starts Ray on every node, runs the command on the head's, and ends Ray; SIGTERM comes three minutes before the limit
srun ray symmetric-run --address "$head:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" -- "${command[@]}"
