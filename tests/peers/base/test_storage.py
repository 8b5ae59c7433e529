from pathlib import Path

import pytest

from peers.base.storage import Folder


@pytest.mark.parametrize("name", ["a%20b", "a b", "a#b", "a?b=c", "ü", "100%", "a:b@c", "a::b", "s3::x", "a*[b]"])
def test_folder__a_path_is_no_url(tmp_path: Path, name: str) -> None:
    folder = Folder(str(tmp_path / name / "checkpoints"))
    folder.write("part/file", b"content")
    folder.rename("part", "whole")
    assert folder.names() == ["whole"] and folder.read("whole/file") == b"content"
    assert (tmp_path / name / "checkpoints" / "whole" / "file").read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    folder.remove("whole")
    assert folder.names() == []
