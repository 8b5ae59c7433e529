"""Runs MLflow's command line for `ui.py`, and ends with all that it started when that process is no more.

A script of its own: it imports nothing of this package, whose imports take seconds.
"""

import os
import runpy
import signal
import sys
import threading


def end_with_parent() -> None:
    """Wait for the end of standard input, whose other end is the parent's alone: no signal tells of a SIGKILL."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv[0] = "mlflow"
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
