"""The files of peers in a checkpoint's folder: one for each, or archives of the many small peers of a host."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable

from peers.base.storage import Folder

TOGETHER = 64  # a host of more peers than this writes archives
ARCHIVE_BYTES = 32 * 2**20  # of peers in an archive, about; a larger peer has one of its own
_ARCHIVE = re.compile(r"peers-(\d+)-(\d+)\.zip")


class DamagedCheckpoint(ValueError):
    """A file of a checkpoint is missing, or differs from the one that was written."""


def file_of(peer: int) -> str:
    """The name of a peer's file in a checkpoint's folder, or in an archive there."""
    return f"peer-{peer:04d}.safetensors"


def write(contents: Iterable[tuple[int, bytes]], folder: str, together: bool) -> dict[int, str]:
    """Write the peers' contents, each in a file of its own or `together`; returns the SHA-256 of each content.

    contents: made one after the other, in ascending order of peers. Raises: OSError.
    """
    checksums: dict[int, str] = {}
    waiting: list[tuple[int, bytes]] = []
    size = 0
    for peer, content in contents:
        checksums[peer] = hashlib.sha256(content).hexdigest()
        if not together:
            Folder(folder).write(file_of(peer), content)
            continue
        waiting.append((peer, content))
        size += len(content)
        if size >= ARCHIVE_BYTES:
            _archive(waiting, folder)
            waiting, size = [], 0
    if waiting:
        _archive(waiting, folder)
    return checksums


def names_in(folder: str) -> set[str]:
    """The names of all files in a folder and of all peers' files in its archives. Raises: OSError."""
    files, found = PeerFiles(folder), set(Folder(folder).names())
    return found.union(*(files.entries(name) for name in found if _ARCHIVE.fullmatch(name)))


class PeerFiles:
    """Reads peers' files from a folder; keeps the archive that was read last, since peers are read in order."""

    def __init__(self, folder: str) -> None:
        self._folder = Folder(folder)
        self._archives: list[tuple[int, int, str]] | None = None
        self._open: tuple[str, zipfile.ZipFile] | None = None

    def content(self, peer: int, sha256: str = "") -> bytes:
        """A peer's content; its expected checksum is not compared if empty. Raises: DamagedCheckpoint."""
        name = file_of(peer)
        try:
            content = self._read(peer, name)
        except OSError as error:
            raise DamagedCheckpoint(f"{name} cannot be read: {error.strerror or error}") from None
        return checked(content, name, sha256)

    def entries(self, archive: str) -> list[str]:
        """The names in an archive; none if it is damaged. Raises: OSError."""
        try:
            return self._opened(archive).namelist()
        except zipfile.BadZipFile:
            return []

    def _read(self, peer: int, name: str) -> bytes:
        if self._archives is None or not self._archives:
            try:
                return self._folder.read(name)
            except FileNotFoundError:
                if self._archives is None:
                    self._archives = self._listed()
                if not self._archives:
                    raise
        for first, last, archive in self._archives:
            if first <= peer <= last and name in self.entries(archive):
                return self._from(archive, name)
        return self._folder.read(name)

    def _from(self, archive: str, name: str) -> bytes:
        try:
            return self._opened(archive).read(name)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise DamagedCheckpoint(f"{name} in {archive} is not what was written: {error}") from None

    def _listed(self) -> list[tuple[int, int, str]]:
        matches = (_ARCHIVE.fullmatch(name) for name in self._folder.names())
        return sorted((int(found[1]), int(found[2]), found[0]) for found in matches if found)

    def _opened(self, archive: str) -> zipfile.ZipFile:
        if self._open is None or self._open[0] != archive:
            self._open = archive, zipfile.ZipFile(io.BytesIO(self._folder.read(archive)))
        return self._open[1]


def content_of(folder: str, name: str, sha256: str = "") -> bytes:
    """The content of a checkpoint's file; its checksum is not compared if empty. Raises: DamagedCheckpoint."""
    try:
        content = Folder(folder).read(name)
    except OSError as error:
        raise DamagedCheckpoint(f"{name} cannot be read: {error.strerror or error}") from None
    return checked(content, name, sha256)


def checked(content: bytes, name: str, sha256: str) -> bytes:
    """The content, if it has this checksum. Raises: DamagedCheckpoint."""
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedCheckpoint(f"{name} is not what was written: its checksum differs")
    return content


def _archive(contents: list[tuple[int, bytes]], folder: str) -> None:
    """Write some peers' contents, uncompressed, into one archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for peer, content in contents:
            archive.writestr(zipfile.ZipInfo(file_of(peer)), content)
    Folder(folder).write(f"peers-{contents[0][0]:05d}-{contents[-1][0]:05d}.zip", packed.getvalue())
