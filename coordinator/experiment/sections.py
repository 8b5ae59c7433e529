"""The config sections that only the coordinator reads: run, evaluation, hosting, tracking, checkpoint."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from peers.base.layout import Layout
from peers.base.precision import Precision
from peers.base.section import Section
from peers.learning.control import Control
from peers.probing.config import ProbeConfig

MANY = 65_536  # upper limit for numbers of processes, threads and devices
LONG = 1e7  # upper limit for times, in seconds: four months


class StopRule(Section):
    """When a run ends before its last round: as soon as one of `below`, `above` and `patience` holds of the measure.

    Learning rates that follow `run.rounds` still follow it, not the round at which the run ends.
    """

    measure: str = Field(
        "consensus.relative_distance",
        description="what the rule looks at: consensus.NAME (as in summary.json) and loss every evaluation.every "
        "rounds; probes.PROBE.trained and probes.PROBE.gain every evaluation.probe_every rounds",
    )
    below: float | None = Field(None, description="the run ends once the measure is below this")
    above: float | None = Field(None, description="the run ends once the measure is above this")
    patience: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="the run ends after so many measurements in a row that did not improve on the best one",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        description="improvement on the best value that counts for patience: any by default, or more than this",
    )
    mode: Literal["min", "max"] | None = Field(
        None,
        description="whether lower or higher values are an improvement, for patience; left out: what the measure says",
    )

    @model_validator(mode="after")
    def _check(self) -> "StopRule":
        if self.below is None and self.above is None and self.patience is None:
            raise ValueError("run.stop says of its measure no limit: set one of below, above and patience")
        if self.patience is None and (self.mode is not None or self.min_delta):
            named = "mode" if self.mode is not None else "min_delta"
            raise ValueError(
                f"run.stop.{named} is about patience, which is not set: set patience, or leave {named} out"
            )
        return self


class RunSection(Section):
    name: str = Field(
        "run",
        pattern=r"^[A-Za-z0-9._-]+$",
        max_length=100,
        description="name of the run: its folder is called NAME-TIME, and MLflow shows it",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        strict=True,
        description="seed of everything drawn at random: weights, batches, links, roles, probe images",
    )
    rounds: int = Field(
        100, ge=1, le=10**9, strict=True, description="number of rounds; a round is one mini-batch that all peers share"
    )
    on_nonfinite: Literal["stop", "drop-peer"] = Field(
        "stop",
        description="when a peer's loss or outputs are NaN or infinite: stop the run, or go on without this peer",
    )
    stop: StopRule | None = Field(
        None,
        description="early stopping: a rule by which the run ends before its last round; final probes, control runs "
        "and verdicts are then those of a run of so many rounds; left out: none",
    )


class EvaluationConfig(ProbeConfig):
    every: int = Field(
        20, ge=1, strict=True, description="rounds between two measurements of consensus, collapse and similarity"
    )
    probe_every: int = Field(
        0, ge=0, strict=True, description="rounds between two evaluations of the probes; 0: at the start and end only"
    )
    probe_peers: int = Field(
        64,
        ge=2,
        strict=True,
        description="number of peers that are probed, the same in every condition; where there are more, a sample "
        "drawn by the run's seed: honest students of every group in proportion, at least two of each, then liars and "
        "frozen peers",
    )
    controls: tuple[Control, ...] = Field(
        (),
        description="further runs that the run is compared with, each about as long as the run: alone, every student "
        "is its own teacher; stranger, teachers' messages come from random networks that nobody trains; shuffled, they "
        "are permuted over the samples of the batch; supervised, labels instead of teachers; alone-matched, as alone "
        "with the run's gradient norms; single-teacher, one of a student's teachers in each round; irrelevant, "
        "teachers' messages come from networks that learn by themselves from the data set [irrelevant]; private-only, "
        "own terms on private data without exchange; pooled, the same on the private data of all; truthful, nobody "
        "lies",
    )
    recalibrated: bool = Field(
        False,
        description="also probe the trained peers with their BatchNorm buffers estimated anew, by the forward passes "
        "of the calibrated control",
    )
    buffers: Literal["as-is", "recalibrated"] = Field(
        "as-is",
        description="BatchNorm buffers with which the trained peers and those of control runs are probed: as training "
        "has left them, or estimated anew in every arm by the forward passes of the calibrated control",
    )
    reset: bool = Field(
        False,
        description="also probe the trained peers with their BatchNorm buffers put back to their values at the start",
    )

    @model_validator(mode="after")
    def _check_controls(self) -> "EvaluationConfig":
        twice = next((control for control in self.controls if self.controls.count(control) > 1), None)
        if twice is not None:
            raise ValueError(f"evaluation.controls has '{twice}' twice: remove one")
        if self.recalibrated and self.buffers == "recalibrated":
            raise ValueError(
                "evaluation.recalibrated probes the trained peers again with the buffers that evaluation.buffers "
                "'recalibrated' gives them in any case: leave evaluation.recalibrated out"
            )
        return self


class HostingConfig(Section):
    pool: Literal["ray", "in-process"] = Field(
        "ray", description="where hosts run: each a Ray actor (a process of its own), or all in this process"
    )
    peers_per_host: Annotated[int, Field(ge=1, le=MANY, strict=True)] | Literal["auto"] = Field(
        "auto",
        description="number of peers in one Ray actor, at most; auto: 1 where there is a core or GPU for each, or for "
        "every second one and enough memory; else, and where vectorised, at most an actor a core or GPU",
    )
    execution: Literal["loop", "vectorised", "auto"] = Field(
        "loop",
        description="how a host computes its peers: one after the other; as one stacked network where they are alike "
        "(equal to the loop up to rounding); or whichever is faster, timed at the start and noted in the run's config",
    )
    address: str = Field(
        "",
        description="address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; empty: a local Ray that the run "
        "starts and ends, or inside a Ray job that job's cluster",
    )
    workers: Literal["auto", "forked", "spawned"] = Field(
        "auto",
        description="how Ray's worker processes begin: forked from one process that has imported torch and the peers' "
        "code, which takes a fraction of the time and memory, or each started anew; auto: forked on Linux without GPUs "
        "in a local Ray that the run starts, of a release that this was tested with; it changes no result",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="device of the peers; auto: GPUs if there is one for each peer, else the CPU; cuda: GPUs, which "
        "peers share if there are fewer",
    )
    gpus_per_peer: Annotated[float, Field(ge=0, le=MANY)] | Literal["auto"] = Field(
        "auto",
        description="GPUs reserved for each peer, below 1 a share of one; auto: 1 if each peer can have one, else 0",
    )
    cpus_per_peer: Annotated[float, Field(gt=0, le=MANY)] | Literal["auto"] = Field(
        "auto",
        description="CPUs reserved for each peer; auto: 1 for each host, or an equal share where there are more hosts "
        "than CPUs",
    )
    resources: dict[str, Annotated[float, Field(gt=0, le=1e12)]] = Field(
        {}, description="custom resources of the Ray cluster that each host reserves: amount by name"
    )
    placement: Literal["spread", "pack"] = Field(
        "spread",
        description="how hosts are placed on the nodes of a Ray cluster: evenly, so that a lost node takes few of "
        "them, or on as few nodes as possible, so that few messages cross the network",
    )
    layout: Literal[Layout, "auto"] = Field(
        "by-rule",
        description="in what order images and convolutions' weights lie in memory, equal up to rounding; by-rule: "
        "channels-last on the CPU for small-cnn and paper-cnn, which are faster so there, else contiguous (vectorised "
        "peers always); auto: whichever is faster, timed at the start and noted in the run's config",
    )
    precision: Literal[Precision, "auto"] = Field(
        "float32",
        description="arithmetic of a round's forward and backward passes; tf32 needs CUDA; weights, losses and "
        "measures stay in float32; auto: the fastest, timed at the start and noted in the run's config",
    )
    deterministic: bool = Field(
        True,
        description="on a GPU use deterministic algorithms only, so that equal runs give equal numbers, at some cost "
        "in speed; CPU runs always do",
    )
    data_on_device: bool = Field(
        True, description="on a GPU keep the whole data set in its memory; false: copy each batch there"
    )
    threads: int = Field(1, ge=1, le=1024, description="torch threads of each host")
    evaluators: Annotated[int, Field(ge=0, le=MANY, strict=True)] | Literal["auto"] = Field(
        "auto",
        description="number of Ray processes that only evaluate probes, while rounds go on; auto: one for each CPU "
        "that the hosts leave idle, at most one for each host, none where hosts have GPUs",
    )
    side_runs: Annotated[int, Field(ge=0, le=MANY, strict=True)] | Literal["auto"] = Field(
        "auto",
        description="number of control runs that go on beside the run, each on Ray processes of its own; auto: as many "
        "as the CPUs and GPUs hold that the run leaves idle; 0: all after the run, on its processes",
    )
    lookahead: int = Field(
        3, ge=1, le=MANY, description="number of rounds that may be under way at once; it changes no result"
    )
    recompute: bool = Field(
        False,
        description="keep no activations between publishing and learning, and run the forward pass a second time: "
        "less memory, more time",
    )
    start_timeout: float = Field(
        300.0, gt=0, le=LONG, description="seconds to wait for the hosts to start, and for an ablation's next run"
    )
    timeout: float = Field(
        1800.0, gt=0, le=LONG, description="seconds that one call of a host may take; a host that takes longer is ended"
    )
    max_failures: int = Field(
        5,
        ge=0,
        strict=True,
        description="number of times that a run replaces lost hosts and goes on from its last checkpoint, before it "
        "stops; 0: it stops at the first",
    )

    @model_validator(mode="after")
    def _check(self) -> "HostingConfig":
        if self.device == "cpu" and self.gpus_per_peer not in ("auto", 0):
            raise ValueError(
                f"hosting.gpus_per_peer is {self.gpus_per_peer:g} but hosting.device is 'cpu': leave one of them out"
            )
        if self.execution == "vectorised" and self.pool == "ray" and self.peers_per_host == 1:
            raise ValueError(
                "hosting.execution 'vectorised' runs the peers of a host together, but hosting.peers_per_host is 1: "
                "raise it, or set hosting.execution to loop"
            )
        for name, count in (("evaluators", self.evaluators), ("side_runs", self.side_runs)):
            if self.pool == "in-process" and count not in ("auto", 0):
                raise ValueError(f"hosting.{name} is {count} but hosting.pool is 'in-process': set hosting.pool to ray")
        if self.pool == "in-process" and self.workers == "forked":
            raise ValueError("hosting.workers is 'forked' but hosting.pool is 'in-process': set hosting.pool to ray")
        if self.device == "cuda" and self.gpus_per_peer == 0:
            raise ValueError("hosting.device is 'cuda' but hosting.gpus_per_peer is 0: leave one of them out")
        return self


MOST_LOGGED = 64  # peers with numbers of their own in MLflow, which are some 13 charts for each


class TrackingConfig(Section):
    enabled: bool = Field(True, description="record the run in MLflow")
    uri: str = Field("", description="an MLflow tracking URI; empty: an SQLite file in the output folder")
    experiment: str = Field(
        "peer-consensus", min_length=1, max_length=500, description="MLflow experiment that the run belongs to"
    )
    per_peer: bool = Field(
        False,
        description="log each peer's own numbers too (peers/3/loss): loss, measures and accuracies, at the rounds that "
        "are measured or probed; for at most 64 peers, as metrics/peers.parquet has them for any number",
    )

    @model_validator(mode="after")
    def _check(self) -> "TrackingConfig":
        if self.uri.startswith("~"):
            raise ValueError(
                f"tracking.uri must be a URI, in which ~ is no home, got '{self.uri}': write the path out, such as "
                "sqlite:////home/me/mlflow.db"
            )
        return self


class CheckpointConfig(Section):
    every: int = Field(
        100, ge=0, strict=True, description="rounds between two checkpoints; 0: no checkpoints, not even at the end"
    )
    seconds: float = Field(
        300.0,
        ge=0,
        le=LONG,
        description="seconds after which a checkpoint is due whatever the rounds, and the first one after at most 5; "
        "0: only rounds count",
    )
    keep: int = Field(2, ge=1, strict=True, description="number of checkpoints kept; older ones are deleted")
    path: str = Field(
        "",
        description="folder that every node reaches, or a URL (fsspec, pyarrow); empty: in the run's folder",
    )
