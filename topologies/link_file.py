"""Opens the files of links that users write: regular files only, never an endless one, and mistakes name the line."""

import stat
from collections.abc import Iterator
from pathlib import Path

LONGEST = 1_000  # characters of a line
MAX_BYTES = 256 * 2**20  # of a file that its reader takes whole
CSV = "a CSV file of edges"
KINDS = {stat.S_IFDIR: "it is a folder", stat.S_IFIFO: "it is a pipe", stat.S_IFSOCK: "it is a socket"}


def check_regular(path: Path, wanted: str = CSV, largest: int | None = None) -> None:
    """Refuse what is no regular file, before it is opened: opening a pipe blocks, and a device is endless.

    wanted: what the path should name. largest: in bytes. Raises: ValueError.
    """
    if "\0" in str(path):
        raise ValueError(f"topology.path: must be a file's name, got {str(path)!r}; remove the zero byte")
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(path, error.strerror or str(error), wanted) from None
    if not stat.S_ISREG(status.st_mode):
        raise unreadable(path, KINDS.get(stat.S_IFMT(status.st_mode), "it is a device"), wanted)
    if largest is not None and status.st_size > largest:
        raise unreadable(path, f"it has more than {largest >> 20} MiB", wanted)


def lines(path: Path, wanted: str = CSV, written_as: str = "CSV text") -> Iterator[tuple[int, str]]:
    """The stripped lines of a regular file with their numbers; never reads an overlong line completely.

    wanted: what the path should name. written_as: what its text is. Raises: ValueError.
    """
    check_regular(path, wanted)
    try:
        with path.open(encoding="utf-8-sig") as file:
            number = 1
            while line := file.readline(LONGEST + 1):
                if "\0" in line or len(line) > LONGEST:
                    problem = "holds a zero byte" if "\0" in line else f"has more than {LONGEST:,} characters"
                    raise ValueError(f"{line_of(path, number)}: {problem}, so it is no edge; name {wanted}")
                yield number, line.strip()
                number += 1
    except UnicodeDecodeError:
        raise unreadable(path, f"it is no {written_as} in UTF-8", wanted) from None
    except OSError as error:
        raise unreadable(path, error.strerror or str(error), wanted) from None


def unreadable(path: Path, reason: str, wanted: str = CSV) -> ValueError:
    """The error about a file that cannot be read."""
    return ValueError(f"topology.path: cannot read {path}: {reason}; name {wanted}")


def line_of(path: Path, number: int) -> str:
    """Where a mistake is: the setting, the file's name and the line."""
    return f"topology.path: {path.name} line {number}"


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of an error's message, or its type where it has none, cut to `most` characters."""
    text = next(iter(str(error).splitlines()), "").strip() or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}..."
