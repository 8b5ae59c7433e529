"""Numbers, lists and paths formatted for people."""

from pathlib import Path

ROUNDING = 1e-9  # what the rounding of sums may leave of a difference of 0, as a fraction


def points(value: float) -> str:
    """A gain in points with its sign, from a fraction; small values get one significant digit instead of 0.0.

    What the rounding of sums leaves of 0 is 0.
    """
    if abs(value) < ROUNDING:
        return "+0.0"
    return f"{100 * value:+.1g}" if abs(value) < 0.0005 else f"{100 * value:+.1f}"


def points_between(low: float, high: float) -> str:
    return f"{points(low)} to {points(high)}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def quoted(cell: str) -> str:
    """A cell's label for use in a sentence: in quotes unless it is a plain word."""
    return cell if cell.replace("-", "").isalpha() else f"'{cell}'"


def listed(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count_of(number: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size(num_bytes: float | int) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024 or unit == "GiB":
            break
        num_bytes /= 1024
    return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"


def short(path: Path) -> str:
    """A path for display: relative if it is below the current folder, else absolute."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
