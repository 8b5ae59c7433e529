"""What `peer-consensus --version` prints."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = {"torch": "torch", "Ray": "ray"}  # what results depend on, by the name that is shown


def version_line() -> str:
    """This package's version and those of Python, torch and Ray; none of them is imported."""
    others = [f"{shown} {_version(package)}" for shown, package in PACKAGES.items()]
    return (
        f"peer-consensus {_version('peer-consensus')} ({', '.join([f'Python {platform.python_version()}', *others])})"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
