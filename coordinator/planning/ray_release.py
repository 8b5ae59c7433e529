"""With which releases of Ray forked workers are tested; imports neither Ray nor torch."""

from importlib.metadata import version

TESTED = ("2.60",)


def untested() -> str:
    """Why workers are not forked with the Ray that is installed, as the end of a sentence; empty if they may be."""
    release = ".".join(version("ray").split(".")[:2])
    return "" if release in TESTED else f"that is tested with Ray {' and '.join(TESTED)}, and here is {release}"
