"""Numbers, lists and paths formatted for people."""

from pathlib import Path

from coordinator.experiment.reading import listed as listed


def in_points(value: float) -> float:
    """A fraction in percentage points, without the noise of its last digits: 1.15 rounds the same way everywhere.

    What the rounding of sums leaves of 0 is 0.
    """
    return round(100 * value, 9) + 0.0  # -0.0 becomes 0.0


def points(value: float) -> str:
    """A gain in points with its sign, from a fraction; small values get one significant digit instead of 0.0."""
    number = in_points(value)
    return f"{number:+.1f}" if not number or abs(number) >= 0.05 else f"{number:+.1g}"


def points_between(low: float, high: float) -> str:
    return f"{points(low)} to {points(high)}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def quoted(cell: str) -> str:
    """A cell's label for use in a sentence: in quotes unless it is a plain word."""
    return cell if cell.replace("-", "").isalpha() else f"'{cell}'"


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


def capitalised(text: str) -> str:
    """The text with a capital first letter, and otherwise as it is."""
    return text[:1].upper() + text[1:]
