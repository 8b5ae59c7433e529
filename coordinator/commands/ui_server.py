"""Runs MLflow's command line for `ui.py`, and ends with all its child processes when that process is gone.

It is a separate script that imports nothing from this package, whose imports take seconds.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """Wait until standard input closes, which happens even if the parent is killed by SIGKILL; then end the group."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv[0] = "mlflow"
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
