"""The files of peers: the same contents, in files of their own and in archives."""

import zipfile
from pathlib import Path

import pytest

from peers.learning import peer_files
from peers.learning.peer_files import DamagedCheckpoint, PeerFiles, file_of, names_in, write

CONTENTS = {peer: bytes([peer]) * 100 for peer in range(7)}


@pytest.fixture(autouse=True)
def three_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_files, "ARCHIVE_BYTES", 300)


@pytest.mark.parametrize("together", [False, True])
def test_write__what_is_read_again(tmp_path: Path, together: bool) -> None:
    checksums = write(CONTENTS.items(), str(tmp_path), together)
    names = sorted(path.name for path in tmp_path.iterdir())
    archives = [f"peers-{first:05d}-{last:05d}.zip" for first, last in ((0, 2), (3, 5), (6, 6))]
    assert names == (archives if together else [file_of(peer) for peer in CONTENTS])
    assert names_in(str(tmp_path)) >= {file_of(peer) for peer in CONTENTS}
    files = PeerFiles(str(tmp_path))
    for peer in (5, 0, 1, 6, 2, 3, 4):
        assert files.content(peer, checksums[peer]) == CONTENTS[peer]


def test_write__the_same_archive_again(tmp_path: Path) -> None:
    """No times or names of this machine are in it."""
    for folder in ("a", "b"):
        write(CONTENTS.items(), str(tmp_path / folder), True)
    name = "peers-00000-00002.zip"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_content__damage_is_told_of_the_peer(tmp_path: Path) -> None:
    checksums = write(CONTENTS.items(), str(tmp_path), True)
    archive = tmp_path / "peers-00003-00005.zip"
    archive.write_bytes(archive.read_bytes().replace(CONTENTS[4], CONTENTS[5], 1))
    assert PeerFiles(str(tmp_path)).content(3, checksums[3]) == CONTENTS[3]
    with pytest.raises(DamagedCheckpoint, match=r"peer-0004.safetensors in peers-00003-00005.zip is not what"):
        PeerFiles(str(tmp_path)).content(4, checksums[4])
    archive.write_bytes(b"no archive")
    with pytest.raises(DamagedCheckpoint, match="peer-0003"):
        PeerFiles(str(tmp_path)).content(3, checksums[3])
    archive.unlink()
    with pytest.raises(DamagedCheckpoint, match=r"peer-0003.safetensors cannot be read"):
        PeerFiles(str(tmp_path)).content(3, checksums[3])
    assert file_of(3) not in names_in(str(tmp_path))


def test_content__a_wrong_checksum(tmp_path: Path) -> None:
    checksums = write(CONTENTS.items(), str(tmp_path), True)
    with pytest.raises(DamagedCheckpoint, match="its checksum differs"):
        PeerFiles(str(tmp_path)).content(0, checksums[1])


def test_content__archives_of_other_hosts_may_overlap(tmp_path: Path) -> None:
    """As where hosts hold every other peer."""
    for start in (0, 1):
        write([(peer, CONTENTS[peer]) for peer in range(start, 7, 2)], str(tmp_path), True)
    files = PeerFiles(str(tmp_path))
    assert [files.content(peer) for peer in CONTENTS] == list(CONTENTS.values())
    assert len(zipfile.ZipFile(tmp_path / "peers-00001-00005.zip").namelist()) == 3
