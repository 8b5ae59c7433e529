"""`peer-consensus watch`: the live page of a run or of a folder of runs; and the same beside a run, by `--watch`."""

import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

import coordinator
from coordinator.experiment.reading import ConfigError
from coordinator.watching import serving
from coordinator.watching.sources import is_watchable
