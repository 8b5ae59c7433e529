"""Edge files: what is read, and the one line about what is not."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest

from topologies.edge_file import count_peers, from_edge_file, graph_of
from topologies.graphs import DiGraph

Refusal = Callable[..., str]


def graph(path: Path, num_peers: int, allow_disconnected: bool = False) -> DiGraph:
    """The graph of a file without rounds."""
    (links,) = from_edge_file(path, num_peers, allow_disconnected)
    return graph_of(links, num_peers)


def written(folder: Path, text: str) -> Path:
    path = folder / "edges.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_from_edge_file__reads_edges_and_weights_in_any_column_order(tmp_path: Path) -> None:
    plain = graph(written(tmp_path, "teacher,student\n0,1\n\n 1 , 2\n"), 3)
    assert sorted(plain.edges) == [(0, 1), (1, 2)] and not nx.get_edge_attributes(plain, "weight")
    text = "\ufeffstudent,weight,teacher\n2,0.25,0\n2,0.75,1\n"
    weighted = graph(written(tmp_path, text), 3)
    assert nx.get_edge_attributes(weighted, "weight") == {(0, 2): 0.25, (1, 2): 0.75}


def test_from_edge_file__allow_disconnected(tmp_path: Path, refusal: Refusal) -> None:
    path = written(tmp_path, "teacher,student\n0,1\n3,2\n")
    assert "no chain of edges joins peers 0 and 2" in refusal(from_edge_file, path, 4)
    assert sorted(graph(path, 4, allow_disconnected=True).edges) == [(0, 1), (3, 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: columns must be teacher,student or teacher,student,weight, with or without round, got ''"),
        (
            "from,to\n0,1\n",
            "line 1: columns must be teacher,student or teacher,student,weight, with or without round",
        ),
        ("teacher,student,wieght\n0,1,1\n", "got 'teacher,student,wieght'"),
        ("teacher,student\n0,1\n0,x\n", "line 3: student must be an integer, got 'x'"),
        ("teacher,student\n0.5,1\n", "line 2: teacher must be an integer, got '0.5'"),
        ("teacher,student\n0\n", "line 2: must have 2 cells, got 1; add student"),
        ("teacher,student\n0,\n", "line 2: student must be an integer, got ''"),
        ("teacher,student\n1_0,1\n", "line 2: teacher must be an integer, got '1_0'"),
        ("# who teaches whom\n\n0,1\n", "line 3: columns must be teacher,student or"),
        ("student;teacher\n0;1\n", "line 1: columns must be separated by commas, got semicolons"),
        ("student\tteacher\n0\t1\n", "line 1: columns must be separated by commas, got tabs"),
        ("student teacher\n0 1\n", "line 1: columns must be separated by commas, got spaces"),
        ("teacher,student\n0;1\n", "line 2: must have 2 cells, got 1; add student"),
        ('teacher,student\n0,"1\n2,0\n', "line 2: is no CSV, unexpected end of data; correct its quotes"),
        ("teacher,student\n0,\0001\n", "line 2: holds a zero byte"),
        ("teacher,student\n0," + "1" * 5000 + "\n", "line 2: has more than 1,000 characters"),
        ("teacher,student\n0,1,2\n", "line 2: must have 2 cells, got more"),
        ("teacher,student\n0,1\n3,1\n", "line 3: teacher must be from 0 to peers.count - 1 = 2, got 3"),
        ("teacher,student\n0,-1\n", "line 2: student must be from 0 to peers.count - 1 = 2, got -1"),
        ("teacher,student\n1,1\n", "line 2: peer 1 must not teach itself"),
        ("teacher,student\n0,1\n1,2\n0,1\n", "line 4: edge 0 -> 1 repeats line 2"),
        ("teacher,student,weight\n0,1,-1\n", "line 2: weight must be positive and finite, got -1"),
        ("teacher,student,weight\n0,1,nan\n", "line 2: weight must be positive and finite, got nan"),
        ("teacher,student,weight\n0,1,half\n", "line 2: weight must be a number, got 'half'"),
        (
            "teacher,student,weight\n0,1,1\n0,2,0.5\n1,2,0.4\n",
            "line 4: the weights of student 2's teachers must sum to 1",
        ),
        ("teacher,student\n0,1\n", "no chain of edges joins peers 0 and 2"),
    ],
)
def test_from_edge_file__names_the_line(tmp_path: Path, text: str, message: str, refusal: Refusal) -> None:
    assert message in refusal(from_edge_file, written(tmp_path, text), 3)


def test_from_edge_file__unreadable(tmp_path: Path, refusal: Refusal) -> None:
    assert "cannot read" in refusal(from_edge_file, tmp_path / "absent.csv", 3)
    assert "No such file" in refusal(from_edge_file, tmp_path / "absent.csv", 3)
    assert "must be a file's name" in refusal(from_edge_file, Path("edges\0.csv"), 3)
    for content in (b"\xff\xfe\x00", "teacher,student\n0,1\n# Zürich\n".encode("latin-1"), "a,b".encode("utf-16")):
        (tmp_path / "other.csv").write_bytes(content)
        assert "it is no CSV text in UTF-8" in refusal(from_edge_file, tmp_path / "other.csv", 3)


def test_from_edge_file__says_what_it_is_if_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    """A device is endless and a pipe waits for a writer: neither is opened."""
    monkeypatch.chdir(tmp_path)  # a socket's name must be short, and the folder's may be long
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.csv")
        for name, what in (("", "a folder"), ("pipe.csv", "a pipe"), ("socket.csv", "a socket")):
            assert f"it is {what}; name a CSV file of edges" in refusal(from_edge_file, tmp_path / name, 3)
    assert "cannot read /dev/zero: it is a device" in refusal(from_edge_file, Path("/dev/zero"), 3)


def test_from_edge_file__a_huge_file_is_not_read_whole(tmp_path: Path, refusal: Refusal) -> None:
    """A terabyte of zeros, none of which takes space, is refused at its first thousand."""
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(2**40)
    assert "line 1: holds a zero byte" in refusal(from_edge_file, tmp_path / "huge.csv", 3)


def test_from_edge_file__what_may_stand_around_the_edges(tmp_path: Path) -> None:
    """Comments, empty lines, white space, quotes, Windows' line ends and its mark of the byte order."""
    text = '\ufeff# made by hand\r\n\r\n teacher , student \r\n  \r\n# ring\r\n"0", 1\r\n  # indented\r\n1 ,"2"\r\n'
    (tmp_path / "edges.csv").write_bytes(text.encode())
    (links,) = from_edge_file(tmp_path / "edges.csv", 3)
    # the line is what a mistake is told by
    assert [(link.teacher, link.student, link.line) for link in links] == [(0, 1, 6), (1, 2, 8)]


def test_from_edge_file__a_list_for_each_round_in_any_order_of_lines_and_columns(tmp_path: Path) -> None:
    text = "weight,round,student,teacher\n1,3,1,0\n0.25,0,2,0\n# later\n0.75,0,2,1\n1,3,0,1\n"
    rounds = from_edge_file(written(tmp_path, text), 3)
    assert [[tuple(link[:3]) for link in links] for links in rounds] == [
        [(0, 2, 0.25), (1, 2, 0.75)],
        [],
        [],
        [(0, 1, 1.0), (1, 0, 1.0)],
    ]


def test_from_edge_file__all_rounds_together_must_connect(tmp_path: Path, refusal: Refusal) -> None:
    path = written(tmp_path, "round,teacher,student\n0,0,1\n1,2,3\n")
    assert "no chain of edges joins peers 0 and 2" in refusal(from_edge_file, path, 4)
    assert [len(links) for links in from_edge_file(path, 4, allow_disconnected=True)] == [1, 1]
    path = written(tmp_path, "round,teacher,student\n0,0,1\n1,2,3\n2,3,1\n")
    assert [len(links) for links in from_edge_file(path, 4)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round,teacher,student\n1,0,1\n2,1,2\n", "edges.csv must have a line for round 0, got 1 as its first round"),
        ("round,teacher,student\n0.5,0,1\n", "line 2: round must be an integer, got '0.5'; count rounds from 0"),
        ("round,teacher,student\n-1,0,1\n", "line 2: round must be from 0 to 99,999, got -1; number the rounds from 0"),
        ("round,teacher,student\n1700000000,0,1\n", "line 2: round must be from 0 to 99,999, got 1700000000"),
        ("round,teacher,student\n0,0,1\n1,0,1\n1,0,1\n", "line 4: edge 0 -> 1 repeats line 3; remove one of them"),
        ("round,teacher,student,weight\n0,0,1,1\n1,0,1,0.5\n", "line 3: the weights of student 1's teachers must sum"),
        ("round,teacher\n0,1\n", "columns must be teacher,student or teacher,student,weight, with or without round"),
        ("round;teacher;student\n0;0;1\n", "line 1: columns must be separated by commas, got semicolons"),
    ],
)
def test_from_edge_file__mistakes_about_rounds(tmp_path: Path, text: str, message: str, refusal: Refusal) -> None:
    assert message in refusal(from_edge_file, written(tmp_path, text), 3)


def test_count_peers__one_more_than_the_highest(tmp_path: Path, refusal: Refusal) -> None:
    assert count_peers(written(tmp_path, "round,teacher,student\n9,0,4\n0,1,2\n")) == 5
    assert count_peers(written(tmp_path, "teacher,student\n")) == 2
    assert "line 2: student must be an integer" in refusal(count_peers, written(tmp_path, "teacher,student\n0,x\n"))
