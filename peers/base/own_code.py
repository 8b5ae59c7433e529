"""Which code is the user's: neither installed, nor of Python itself, nor of this package."""

import functools
import site
import sys
import sysconfig
from pathlib import Path

INSTALLED = {"site-packages", "dist-packages"}  # folders of installers
_OURS = {"peers", "topologies", "coordinator"}


def is_ours(module_name: str) -> bool:
    """Whether a module is of this package."""
    return module_name.partition(".")[0] in _OURS


def is_own(module_name: str) -> bool:
    """Whether a module is the user's. A script or a notebook's cells (`__main__`) are, and so is code without a module.

    A module's name alone is not enough for classes and functions: `functools.wraps` and `exec` give them others' names.
    """
    if is_ours(module_name):
        return False
    if module_name in ("__main__", "__mp_main__"):  # its file may be that of a launcher, such as pytest's or Ray's
        return True
    file = getattr(sys.modules.get(module_name), "__file__", None)
    return module_name not in sys.modules if file is None else is_own_file(file)


@functools.lru_cache(maxsize=4096)
def is_own_file(name: str) -> bool:
    """`is_own` of the file of a module, by its path; notebooks' cells are the user's."""
    if name.startswith(("<frozen", "<@beartype")):  # Python's own; what checks the types of a function
        return False
    path = Path(name).resolve()
    if not INSTALLED.isdisjoint(path.parts):  # of any Python: clusters put such folders on PYTHONPATH
        return False
    return not any(path.is_relative_to(folder) for folder in _others())


@functools.cache
def _others() -> tuple[Path, ...]:
    """The folders of Python, of what is installed, and of this package."""
    names = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    names += [*site.getsitepackages(), site.getusersitepackages()]
    ours = Path(__file__).resolve().parents[2]
    return tuple({*(Path(name).resolve() for name in names), *(ours / package for package in _OURS)})
