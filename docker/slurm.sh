#!/usr/bin/env bash
# One run on the nodes of a Slurm allocation: sbatch docker/slurm.sh configs/quickstart.toml run.rounds=1000
# Submitted again with the run's folder instead of a config, it goes on from the last checkpoint.
# The signal before the time limit is for this script alone (B:), which has the coordinator write a checkpoint while Ray is
# still there; `scancel --batch --signal=TERM JOB` does the same. When a node is lost the run goes on with the others.
#SBATCH --job-name=peer-consensus
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --no-kill
#SBATCH --no-requeue
#SBATCH --output=%x-%j.log
set -euo pipefail

what=${1:?usage: sbatch docker/slurm.sh CONFIG_OR_RUN [section.key=value ...]}
shift
runs=${RUNS:-$PWD/runs}           # on a file system that all nodes mount
export STORE=${STORE:-1500000000} # bytes of a node's /dev/shm for messages; jobs that share a node add up

umask 077
token=$HOME/.ray/auth_token # a home that all nodes mount; only its owner may read it
mkdir -p "$HOME/.ray"
if [[ ! -e $token ]]; then
  openssl rand -hex 32 >"$token.$SLURM_JOB_ID"
  ln "$token.$SLURM_JOB_ID" "$token" || true # of two jobs at once the first one's counts
  rm "$token.$SLURM_JOB_ID"
fi
chmod 600 "$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # when Ray is ended here, nothing is left that it should wait for

start_ray() { # on this node until this shell ends, with folders and ports that no other job has
  folder=$(mktemp -d /tmp/ray-XXXXXX)
  trap '{ kill "$ray"; wait "$ray"; } 2>/dev/null || true; rm -rf "$folder"' EXIT
  ray start --block --temp-dir="$folder/t" --num-cpus="$SLURM_CPUS_PER_TASK" --object-store-memory="$STORE" \
    --dashboard-agent-listen-port=0 "$@" >&2 &
  ray=$!
}
await() { # to the end, as `wait` alone is not when a signal comes
  while kill -0 "$1" 2>/dev/null; do wait "$1" || true; done
  wait "$1"
}
child=''
trap 'kill -TERM "$child" 2>/dev/null || exit 143' TERM

# This script runs on the first node. The last one tells by which address it was reached from here, so that Ray is given
# no name, which not every resolver knows.
others=$((SLURM_JOB_NUM_NODES - 1))
step=(srun --no-kill --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK")
ip=$("${step[@]}" --nodes=1 --ntasks=1 --relative="$others" printenv SLURM_LAUNCH_NODE_IPADDR)
port=$((20000 + SLURM_JOB_ID % 6000 * 2))
start_ray --head --node-ip-address="$ip" --port="$port" --ray-client-server-port=$((port + 1)) --include-dashboard=false
until ray health-check --address "$ip:$port" 2>/dev/null; do kill -0 "$ray"; done
((others == 0)) || "${step[@]}" --nodes="$others" --ntasks="$others" --relative=1 bash -euo pipefail -c \
  "umask 077; $(declare -f start_ray); trap 'exit 143' TERM; start_ray --address=$ip:$port; wait" &

python -c 'if True:
  import sys, time, ray
  ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
  end = time.monotonic() + 300
  while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]) and time.monotonic() < end:
    time.sleep(1)' "$ip:$port" "$SLURM_JOB_NUM_NODES" &
child=$!
await "$child"

if [[ -d $what ]]; then
  python -m coordinator resume "$what" "$@" hosting.address="$ip:$port" &
else
  python -m coordinator run "$what" "$@" --output "$runs" --address "$ip:$port" checkpoint.path="$runs/checkpoints" &
fi
child=$!
await "$child"
