"""The rows of a running run, in files that others can read before the next checkpoint or the end."""

import shutil

from coordinator.records.files.run_folder import KEYS, LIVE, RunFolder, write_table

MOST_ROWS = 5000  # of a file that is written again with further rows; a fuller one is left as it is


class LiveRows:
    """Writes the rows that a run has added or changed since its last checkpoint to `metrics/.live/`.

    Each file is whole at any time, since it replaces its older version at once. A row of a later file takes the place
    of one with the same key in an earlier file, or in the files of a checkpoint. `resume` does not read them.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.path = folder.path / "metrics" / LIVE
        self._number = 0
        self._rows = folder.track()
        shutil.rmtree(self.path, ignore_errors=True)  # of a process that was killed: it may have gone further

    def write(self) -> None:
        """Write what is new. Raises: OSError."""
        for name, rows in self._rows.items():
            if rows:
                self.path.mkdir(parents=True, exist_ok=True)
                write_table(self.path / f"{name}-{self._number:06d}.parquet", list(rows.values()), KEYS[name])
        if sum(map(len, self._rows.values())) > MOST_ROWS:
            self._begin()

    def clear(self) -> None:
        """Remove the files, whose rows others now have. Raises: OSError."""
        for path in sorted(self.path.glob("*.parquet")):
            path.unlink()
        self._begin()

    def _begin(self) -> None:
        self._number += 1
        for rows in self._rows.values():
            rows.clear()
