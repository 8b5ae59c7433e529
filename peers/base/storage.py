"""Files in a folder that every node reaches: a local path, or a URL of any file system that fsspec or pyarrow knows."""

from typing import Any


class Folder:
    """A folder of files that are read and written as a whole; it is created by the first write.

    Raises: OSError from its methods, as the file system does; ValueError for a URL of an unknown file system.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._path = _filesystem(self.url)

    def write(self, name: str, content: bytes) -> None:
        path = self._at(name)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._files.open(path, "wb") as file:
            file.write(content)

    def read(self, name: str) -> bytes:
        kind = self._files.info(self._at(name))["type"]
        if kind not in ("file", "link"):  # reading a pipe would block
            raise OSError(f"it is no file but of type '{kind}'")
        with self._files.open(self._at(name), "rb") as file:
            return bytes(file.read())

    def names(self) -> list[str]:
        """The names of its files and folders, sorted; empty if the folder does not exist."""
        self._files.invalidate_cache()
        if not self._files.isdir(self._path):
            return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in self._files.ls(self._path, detail=False))

    def rename(self, name: str, to: str) -> None:
        """Rename a folder in it, atomically if the file system can; an existing `to` is removed first."""
        self.remove(to)
        self._files.mv(self._at(name), self._at(to), recursive=True)

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it exists."""
        self._files.invalidate_cache()
        if self._files.exists(self._at(name)):
            self._files.rm(self._at(name), recursive=True)

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of a path or URL, and the path in it."""
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    if url.startswith("/"):  # not a URL, even with "::" in it, which fsspec would take for a chain of URLs
        return LocalFileSystem(), url
    try:
        files, path = url_to_fs(url)
    except (ImportError, ValueError) as missing:
        files, path = _of_pyarrow(url, missing)
    return files, path.rstrip("/")


def _of_pyarrow(url: str, missing: Exception) -> tuple[Any, str]:
    """The same with pyarrow, which includes some file systems for which fsspec needs an extra package."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import FileSystem

    try:
        files, path = FileSystem.from_uri(url)
    except (ValueError, OSError) as error:
        raise ValueError(f"'{url}' cannot be opened: {missing}; {error}") from None
    return ArrowFSWrapper(files), path
