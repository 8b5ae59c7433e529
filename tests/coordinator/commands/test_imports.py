"""What a run does not wait for before its peers start."""

import subprocess
import sys
from pathlib import Path

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.toml"
LATER = {"uvicorn", "sklearn", "scipy.stats", "pandas", "matplotlib", "mlflow", "torch._dynamo"}
COMMAND = f"""
import sys
import coordinator.commands.run, coordinator.commands.watch, coordinator.run.simulate
from coordinator import load_config
from coordinator.planning.loading import load_data
load_data(load_config({str(QUICKSTART)!r}))
print(*sorted({LATER} & set(sys.modules)))
"""


def test_run__imports_nothing_before_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
