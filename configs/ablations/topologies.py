"""An ablation as a script: which topology lets four networks learn the most from each other?"""

from pathlib import Path

from coordinator import ablate, load_ablation

KINDS = ("ring", "complete", "random-matching", "one-peer-exponential", "self")
BASE = Path(__file__).parents[1] / "quickstart.toml"
AXES = {"topology": [{"kind": kind} for kind in KINDS]}
ablation = load_ablation({"name": "which-topology", "base": BASE, "seeds": [0, 1, 2], "grid": AXES})
result = ablate(ablation)
print(*(result.comparison.headline if result.comparison else ()), result.folder / "report.html", sep="\n")
