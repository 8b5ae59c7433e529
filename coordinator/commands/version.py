"""The line that `peer-consensus --version` prints."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = {"torch": "torch", "Ray": "ray"}  # packages that results depend on, by displayed name


def version_line() -> str:
    """The versions of this package, Python, torch and Ray, without importing them."""
    others = [f"{label} {_version(package)}" for label, package in PACKAGES.items()]
    return (
        f"peer-consensus {_version('peer-consensus')} ({', '.join([f'Python {platform.python_version()}', *others])})"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
