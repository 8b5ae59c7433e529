"""Checks of unequal peers on a GPU: views of their own, private data, liars and robust pooling."""

from collections.abc import Mapping
from typing import Any

from gpu_runs import Figures, Mismatch, Place, compare_losses, trained

TWO_SENSORS = {"groups": [{"count": 2, "view": ["crop", "flip", "luminance"]}, {"count": 2, "view": ["chroma"]}]}
OF_ITSELF = {"self_loss": 1.0, "target": {"kind": "sinkhorn"}, "loss": {"kind": "cross-entropy", "temperature": 0.1}}
JITTER = {"kind": "colour-jitter", "saturation": 0.2, "hue": 0.1, "joint": True}
VARIANTS: dict[str, dict[str, Any]] = {  # sections that differ from the usual ones
    "two sensors": {"peers": TWO_SENSORS, "exchange": OF_ITSELF},
    "drawn views": {"peers": {"view": ["resized-crop", JITTER, "greyscale", "blur", "cutout"]}, "exchange": OF_ITSELF},
    "half its own target": {"peers": {"view": ["crop", "noisy"]}, "exchange": {**OF_ITSELF, "target_self_share": 0.5}},
    "anchored teacher, one head": {
        "peers": {"head_shared": True},
        "exchange": {"teacher_anchor": 0.5, "teacher_ema": 0.9},
    },
    "private data": {
        "data": {"partition": {"kind": "dirichlet", "alpha": 0.5}, "public": {"kind": "share", "share": 0.5}},
        "exchange": {"supervised": 1.0},
    },
    **{
        f"{attack}, {rule['kind']}": {
            "peers": {"adversaries": [{"peers": [3], "attack": {"kind": attack}}]},
            "topology": {"kind": "complete", "self_weight": 0.25},
            "exchange": {"what": "probabilities", "target": {"kind": "none"}, "aggregation": rule},
        }
        for attack, rule in (
            ("lma", {"kind": "median"}),
            ("alie", {"kind": "trimmed-mean"}),
            ("sign-flip", {"kind": "geometric-median"}),
            ("hips", {"kind": "nearest"}),
            ("random", {"kind": "cronus", "alpha": 0.5}),
            ("free-rider", {"kind": "self-centred-clipping"}),
        )
    },
}


def unequal(place: Place, figures: Figures) -> None:
    """Rounds of unequal peers repeat to the bit, in a loop and vectorised, and agree with a CPU's to tolerance."""
    batch, rounds = place.size(64, 8), place.size(8, 2)
    for name, sections in VARIANTS.items():
        figures[name] = _of(place, batch, rounds, sections)
    if wrong := [name for name, found in figures.items() if not all(found["repeats"].values())]:
        raise Mismatch(f"not repeatable: {', '.join(wrong)}")


def _of(place: Place, batch: int, rounds: int, sections: Mapping[str, Any]) -> dict[str, Any]:
    """Whether runs repeat, and how far losses are from a CPU's. Raises: Mismatch, if those are too far."""
    runs = {}
    for execution in ("loop", "vectorised"):
        config = place.config(batch=batch, rounds=rounds, hosting={"execution": execution}, **sections)
        runs[execution] = [trained(config) for _ in range(2)]
    here = trained(place.config(batch=batch, rounds=rounds, hosting={"device": "cpu"}, **sections))
    apart = {name: compare_losses(here.losses, some[0].losses, first=1e-3, later=5e-2) for name, some in runs.items()}
    return {"repeats": {name: one.digests == other.digests for name, (one, other) in runs.items()}, "from_cpu": apart}
