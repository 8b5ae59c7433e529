"""The checks of `gpu.py`: each fills figures, and raises `Mismatch` if what it finds is not what the project claims."""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from common import in_turn, ratio, rounds_of
from gpu_runs import (
    MIB,
    Figures,
    Memory,
    Mismatch,
    Place,
    Skipped,
    Watch,
    compare_losses,
    in_network,
    missing,
    ratios,
    simulated,
    told_by,
    trained,
)
from gpu_unequal import unequal

from coordinator.measures.gains import Condition
from coordinator.planning.plan import Plan, load_data, prepare
from coordinator.pools.ray_cluster import shared_ray
from coordinator.records.files.result import Result

PRECISIONS: dict[str, dict[str, Any]] = {  # sections that differ from the usual ones
    "float32": {},
    "tf32": {"hosting": {"precision": "tf32"}},
    "bfloat16": {"hosting": {"precision": "bfloat16"}},
    "channels last": {"hosting": {"layout": "channels-last"}},
    "channels last, tf32": {"hosting": {"layout": "channels-last", "precision": "tf32"}},
    "channels last, bfloat16": {"hosting": {"layout": "channels-last", "precision": "bfloat16"}},
    "not deterministic": {"hosting": {"deterministic": False}},
    "data in host memory": {"hosting": {"data_on_device": False}},
}
ONLY_ON_GPU = ("tf32", "channels last, tf32")
AIM = 15.0  # seconds of the paper's main run
UNDERESTIMATED = 1.25  # memory over its estimate from which on the estimate misleads


@dataclass(frozen=True)
class Check:
    """cuda: whether it means nothing without a GPU; ray: whether it needs Ray."""

    make: Callable[[Place, Figures], None]
    cuda: bool = False
    ray: bool = False


def equality(place: Place, figures: Figures) -> None:
    """A run with BatchNorm is the same on both devices, to tolerance: losses, measures, probes, form of the digest."""
    rounds, images = place.size(10, 3), {"num_train": place.size(2048, 128), "num_test": place.size(512, 64)}
    probes = {"probes": ["knn", "linear"], "calibration_passes": 3, "every": 5, "probe_train": place.size(1024, 40)}
    batch, found = place.size(64, 16), {}
    for device in ("cpu", place.device):
        config = place.config(batch=batch, rounds=rounds, data=images, evaluation=probes, hosting={"device": device})
        found[device] = simulated(config)
    (here, by_cpu), (there, by_device) = found["cpu"], found[place.device]
    if [len(each) for each in by_cpu.digests] != [len(each) for each in by_device.digests]:
        raise Mismatch("the digests are not of the same number and length")
    figures["same_bits"] = here.summary["digest"] == there.summary["digest"]
    figures["losses"] = compare_losses(by_cpu.losses, by_device.losses, first=1e-4, later=2e-2)
    one, other = _measures(here), _measures(there)
    figures["measures"] = len(one)
    figures["furthest"] = {
        name: (one[name], other[name]) for name in sorted(one, key=lambda name: -abs(one[name] - other[name]))[:3]
    }
    apart = [name for name in one if not math.isclose(one[name], other[name], rel_tol=0.02, abs_tol=0.02)]
    if one.keys() != other.keys() or apart:
        raise Mismatch(f"measures differ by more than 2%: {', '.join(apart)}")


def _measures(result: Result) -> dict[str, float]:
    """The measures of the last round, and the accuracy of every probe in every condition."""
    found = {name: each["last"] for name, each in result.summary["consensus"].items()}
    for probe, row in result.summary["probes"].items():
        found |= {f"{probe} {condition}": row[condition] for condition in Condition if condition in row}
    return found


def repeats(place: Place, figures: Figures) -> None:
    """Two runs of one config give the same bits, whatever the options, since algorithms are deterministic."""
    batch, rounds = place.size(64, 8), place.size(10, 2)
    variants = {name: ("small-cnn", sections) for name, sections in PRECISIONS.items() if name != "not deterministic"}
    stacked = {"execution": "vectorised"}
    variants["vectorised"] = ("small-cnn", {"hosting": stacked})
    variants["vectorised, bfloat16"] = ("small-cnn", {"hosting": {**stacked, "precision": "bfloat16"}})
    variants["paper-cnn"] = ("paper-cnn", {})
    for name, (model, sections) in variants.items():
        if place.device == "cpu" and name in ONLY_ON_GPU:
            continue
        config = place.config(model, batch=batch, rounds=rounds, **sections)
        figures[name] = trained(config).digests == trained(config).digests
    if not all(figures.values()):
        raise Mismatch(f"not repeatable: {', '.join(name for name, equal in figures.items() if not equal)}")


def network(place: Place, figures: Figures) -> None:
    """Steps over late messages repeat to the bit; without delays they are those of a run without a network."""
    late = {"compute": {"kind": "lognormal", "sigma": 0.6}, "latency": {"seconds": 0.7}}
    comes_and_goes = {"churn": {"kind": "exponential", "up": 6.0, "down": 2.0, "on_return": "neighbour"}}
    variants: dict[str, dict[str, Any]] = {
        "free-running": {"clock": "free-running", **late},
        "deadline": {"clock": "deadline", "deadline": 0.5, "late": "use", **late},
        "gossip": {"clock": "gossip", **late},
        "churn": {"clock": "free-running", **late, **comes_and_goes},
        "checkpoint": {"clock": "free-running", "message": "checkpoint", **late},
    }
    batch, rounds = place.size(64, 8), place.size(20, 4)

    def digests(execution: str, section: dict[str, Any] | None) -> list[bytes]:
        sections: dict[str, Any] = {"hosting": {"execution": execution}}
        if section is not None:
            sections["network"] = section
        return in_network(place.config(batch=batch, rounds=rounds, **sections))

    for execution in ("loop", "vectorised"):
        plain = digests(execution, None)
        same = {
            f"{message}, in time": {"clock": "free-running", "message": message}
            for message in ("outputs", "checkpoint")
        }
        if execution == "vectorised":
            del same["checkpoint, in time"]  # a teacher's forward pass is then another one: equal to rounding only
        for name, section in same.items():
            figures[f"{execution}, {name}"] = digests(execution, section) == plain
        for name, section in variants.items():
            figures[f"{execution}, {name}"] = digests(execution, section) == digests(execution, section)
    if not all(figures.values()):
        raise Mismatch(f"not the same: {', '.join(name for name, equal in figures.items() if not equal)}")


def fractions(place: Place, figures: Figures) -> None:
    """A ring of four in Ray actors that share the GPU, one or several peers each, agrees with one process."""
    batch, rounds = place.size(64, 8), place.size(20, 3)
    share = {"gpus_per_peer": 0.25} if place.device == "cuda" else {}
    variants: dict[str, dict[str, Any]] = {
        "4 hosts": {"peers_per_host": 1, **share},
        "2 hosts": {"peers_per_host": 2, **share},
        "2 hosts, share by default": {"peers_per_host": 2},
        "2 hosts, vectorised": {"peers_per_host": 2, "execution": "vectorised", **share},
    }
    alone = trained(place.config(batch=batch, rounds=rounds), warm_up=2)
    figures["in process"] = {"rounds_per_second": round(rounds / alone.seconds, 2)}
    with shared_ray(""):
        for name, hosting in variants.items():
            start = time.perf_counter()
            with Memory(place) as memory:
                config = place.config(batch=batch, rounds=rounds, hosting={"pool": "ray", **hosting})
                found = trained(config, warm_up=2)
            figures[name] = {
                **compare_losses(alone.losses, found.losses, first=1e-3, later=2e-2),
                "same_bits": found.digests == alone.digests,
                "rounds_per_second": round(rounds / found.seconds, 2),
                "seconds_in_all": round(time.perf_counter() - start, 2),
                **memory.figures,
            }
        small = {"probe_train": 64, "calibration_passes": 2, "controls": ["alone"], "probes": ["knn", "linear"]}
        config = place.config(
            batch=batch, rounds=rounds, evaluation=small, hosting={"pool": "ray", "peers_per_host": 2}
        )
        figures["a whole run with a control"] = simulated(config)[1].stages


def vectorised(place: Place, figures: Figures) -> None:
    """Vectorised execution equals the loop to tolerance; how many times as fast it is, and what "auto" chooses."""
    count, batch, rounds = place.size(16, 4), place.size(64, 8), place.size(10, 2)
    for model in ("small-cnn", "mlp"):
        configs = {
            execution: place.config(model, count, batch, rounds, hosting={"execution": execution})
            for execution in ("loop", "vectorised")
        }
        one, other = (trained(config).losses for config in configs.values())
        figures[model] = compare_losses(one, other, first=1e-3, later=2e-2)
        with ExitStack() as stack:
            blocks = {name: stack.enter_context(rounds_of(config)) for name, config in configs.items()}
            seconds = in_turn(blocks, rounds, place.size(5, 1))
        figures[model]["times_as_fast"] = ratio(seconds["loop"], seconds["vectorised"])
        figures[model]["rounds_per_second"] = {name: round(rounds / min(each), 2) for name, each in seconds.items()}
        config = place.config(model, count, batch, 1, hosting={"execution": "auto"})
        figures[model]["auto"] = trained(config).execution


def precision(place: Place, figures: Figures) -> None:
    """Each precision and memory order runs, near float32 in its first round; how many times as fast it is."""
    count, batch, rounds = place.size(4, 2), place.size(512, 8), place.size(10, 1)
    variants = {name: each for name, each in PRECISIONS.items() if place.device == "cuda" or name not in ONLY_ON_GPU}
    for model in ("paper-cnn", "small-cnn"):
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        losses = {}
        plan = prepare(place.config(model, count, batch, rounds))
        for _ in range(place.size(3, 1)):  # one after the other, since a process has one precision at a time
            for name, sections in variants.items():
                config = place.config(model, count, batch, rounds, **sections)
                found = trained(config, 2, plan)
                seconds[name].append(found.seconds)
                losses[name] = found.losses
        figures[model] = {
            "times_as_fast_as_float32": ratios(seconds, "float32"),
            "rounds_per_second": {name: round(rounds / min(each), 2) for name, each in seconds.items()},
        }
        bounds = {name: 0.1 if "bfloat16" in name else 1e-2 if "tf32" in name else 1e-3 for name in variants}
        figures[model]["deviation"] = {
            name: compare_losses(losses["float32"][:1], each[:1], bounds[name], bounds[name])["first_round"]
            for name, each in losses.items()
        }


def measures_in_float32(place: Place, figures: Figures) -> None:
    """Whatever the precision of the rounds, what is measured before them has the same bits as with float32."""
    batch, small = place.size(256, 16), {"probes": ["knn", "linear"], "calibration_passes": 3}
    images = {"num_train": place.size(2048, 128), "num_test": place.size(512, 64)}
    first: dict[str, dict[str, float]] = {}
    for name in ("float32", "bfloat16", *(("tf32",) if place.device == "cuda" else ())):
        hosting = {"precision": name}
        config = place.config(batch=batch, rounds=1, data=images, evaluation=small, hosting=hosting)
        summary = simulated(config)[0].summary
        first[name] = {measure: each["first"] for measure, each in summary["consensus"].items()}
        for condition in (Condition.RAW_PIXELS, Condition.UNTRAINED, Condition.CALIBRATED):
            first[name] |= {f"{probe} {condition}": row[condition] for probe, row in summary["probes"].items()}
    figures["measures"] = len(first["float32"])
    for name, found in first.items():
        figures[name] = {
            measure: (first["float32"][measure], found[measure])
            for measure in found
            if found[measure] != first["float32"][measure]
        }
    if differ := [name for name in first if figures[name]]:
        raise Mismatch(f"measures before the first round change with hosting.precision = {', '.join(differ)}")


def paper_main(place: Place, figures: Figures) -> None:
    """The paper's main run from start to end, with its probes, in one process."""
    _time_paper(place, figures)


def paper_main_tf32(place: Place, figures: Figures) -> None:
    """The same with tf32: how far the arithmetic of float32 is what takes the time."""
    _time_paper(place, figures, "hosting.precision=tf32")


def paper_main_ray(place: Place, figures: Figures) -> None:
    """The same in four Ray actors that share the GPU; the start of Ray counts."""
    _time_paper(place, figures, "hosting.pool=ray", "hosting.peers_per_host=4")


def _time_paper(place: Place, figures: Figures, *overrides: str) -> None:
    config, watch = place.paper(*overrides), Watch()
    figures |= {"data": config.data.kind, "peers": config.peers.count, "rounds": config.run.rounds}
    figures["stages"] = watch.stages  # filled during the run, and so told if it is ended
    made = load_data(config) if config.data.kind == "synthetic" else None  # the making of images is not timed
    start = time.perf_counter()
    with Memory(place) as memory:
        result, _ = simulated(config, watch, made)
    seconds = time.perf_counter() - start
    figures |= {"seconds": round(seconds, 2), "aim_seconds": AIM, "within_aim": seconds <= AIM}
    figures |= {"rounds_per_second": result.summary["rounds_per_second"], **memory.figures}
    figures |= {"digest": result.summary["digest"], "notes": watch.notes}


def ring_of_16(place: Place, figures: Figures) -> None:
    """All peers of the paper's run on a ring: time of a round, and memory against the project's own estimate."""
    variants = {"loop": "loop", "loop, recompute": "loop", "vectorised": "vectorised"}
    plan: Plan | None = None
    for name, execution in variants.items():
        hosting = [f"hosting.execution={execution}", *(["hosting.recompute=true"] if "recompute" in name else [])]
        config = place.paper("topology.kind=ring", f"run.rounds={place.size(10, 1)}", *hosting)
        plan = plan or prepare(config)
        with Memory(place) as memory:
            found = trained(config, warm_up=2, plan=plan)
        figures[name] = {"rounds_per_second": round(config.run.rounds / found.seconds, 2), **memory.figures}
    assert plan is not None
    without_probes = sum(each.count * (each.state_bytes + each.activation_bytes) for each in plan.groups)
    with_probes = sum(each.count * each.peer_bytes for each in plan.groups)
    figures["estimated_mib"] = {
        "peers without probes": round(without_probes / MIB),
        "peers": round(with_probes / MIB),
        "run": round(plan.memory_bytes / MIB),
        "data": round(plan.data_bytes / MIB),
    }
    if place.device == "cuda":
        peak = figures["loop"]["allocated_mib"] * MIB
        figures["over_estimate"] = [round(peak / estimate, 3) for estimate in (without_probes, with_probes)]
        if peak > UNDERESTIMATED * with_probes:
            raise Mismatch(f"the peers take {peak / with_probes:.2f} times the memory that is estimated")


def out_of_memory(place: Place, figures: Figures) -> None:
    """What does not fit is told in one line without a traceback: a batch in the rounds, and the data at the start."""
    large = ["data.kind=synthetic", "data.batch_size=8192", "data.num_train=8192", "data.num_test=256"]
    large += ["data.shape=[3, 32, 32]", "topology.kind=ring", "evaluation.probes=['knn']", "run.rounds=3"]
    large += ["evaluation.probe_train=64", "evaluation.probe_test=64", "evaluation.calibration_passes=1"]
    many = ["data.kind=synthetic", "data.shape=[3, 32, 32]", "data.num_train=50000"]
    limited = "import sys, torch; torch.cuda.set_per_process_memory_fraction(5e-4); import coordinator.cli as cli; "
    variants: dict[str, tuple[list[str], list[str]]] = {
        "batch": (["-m", "coordinator"], [*large, "hosting.pool=in-process"]),
        "data": (["-c", limited + "cli.main()"], [*many, "hosting.pool=in-process"]),
        "batch, ray": (["-m", "coordinator"], [*large, "peers.count=8", "hosting.peers_per_host=4"]),
    }
    for name, (start, overrides) in variants.items():
        if "ray" in name and missing("ray"):
            continue
        figures[name] = told_by(start, [*overrides, f"hosting.device={place.device}", "tracking.enabled=false"])
    if wrong := [name for name, told in figures.items() if not told["as_claimed"]]:
        raise Mismatch(f"not told in one line with exit code 2: {', '.join(wrong)}")


def check_possible(check: Check, place: Place) -> None:
    """Raises: Skipped, if a check cannot be made here."""
    if check.cuda and place.device != "cuda":
        raise Skipped("needs a CUDA device")
    if check.ray and (why := missing("ray")):
        raise Skipped(why)


CHECKS = {
    "equality": Check(equality),
    "repeats": Check(repeats),
    "vectorised": Check(vectorised),
    "network": Check(network),
    "unequal": Check(unequal),
    "precision": Check(precision),
    "measures-in-float32": Check(measures_in_float32),
    "paper-main": Check(paper_main),
    "ring-of-16": Check(ring_of_16),
    "fractions": Check(fractions, ray=True),
    "out-of-memory": Check(out_of_memory, cuda=True),
    "paper-main-tf32": Check(paper_main_tf32, cuda=True),
    "paper-main-ray": Check(paper_main_ray, ray=True),
}
