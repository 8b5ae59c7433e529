"""The end of a command: its exit handlers and its output are not lost, though Python frees nothing."""

import subprocess
import sys

import pytest

CODE = """
import atexit, os, sys, threading
from coordinator.commands.outcome import leave
class Freed:
    def __del__(self, write=os.write): write(1, b"freed\\n")
{torch}
freed = Freed()
atexit.register(lambda: print("handled", flush=True))
{thread}
print("written")
sys.stdout.flush()
leave(7)
"""


@pytest.mark.parametrize(
    ("torch", "thread", "printed"),
    [
        ("sys.modules['torch'] = sys", "", ["written", "handled"]),
        ("", "", ["written", "handled", "freed"]),
        (
            "sys.modules['torch'] = sys",
            "threading.Timer(0.2, lambda: print('waited', flush=True)).start()",
            ["written", "waited", "handled", "freed"],
        ),
    ],
)
def test_leave__frees_nothing_once_torch_is_there(torch: str, thread: str, printed: list[str]) -> None:
    """Threads that are waited for at the end are waited for, too."""
    code = CODE.format(torch=torch, thread=thread)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (7, printed)
