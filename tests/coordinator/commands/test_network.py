import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coordinator import load_config, simulate

Cli = Callable[..., tuple[Any, str, str]]
NETWORK = """
[network]
latency = { kind = "constant", seconds = 2.0 }
"""
LOSSY = (
    "network.loss={kind='bernoulli',probability=0.2}",
    "network.compute={kind='lognormal',seconds=1.0}",
    "network.churn={kind='exponential',up=9,down=3}",
)


@pytest.fixture
def there(tiny: Path) -> Path:
    """`tiny.toml` with a network in which messages take 2 s, and computing 1 s: four peers on a ring, two rounds."""
    tiny.write_text(tiny.read_text() + NETWORK)
    return tiny


def lines_of(out: str) -> dict[str, str]:
    return {line[:16].strip(): line[16:] for line in out.splitlines() if line[:16].strip()}


def test_network__facts_of_a_closed_form(cli: Cli, there: Path) -> None:
    """Each round takes 2 s on the way and 1 s of computing. A message has 16 examples x 4 outputs x 4 bytes."""
    code, out, err = cli("network", "tiny.toml", "--rounds", "10")
    assert (code, err) == (0, "") and out.splitlines()[0] == "ring, 4 peers, 10 rounds, nothing is trained"
    lines = lines_of(out)
    assert lines["virtual time"] == "30 s, 3 s a round"
    assert lines["peers' time"] == "33% computing, 67% waiting, 0% offline"
    assert lines["messages"] == "80 arrived" and lines["on the way"] == "2 s"
    assert lines["bytes"] == "20.0 KiB sent, 256 B a message"
    assert lines["critical path"].startswith("of the time 67% messages under way, 33% computing")
    table = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert [row[:5] for row in table] == [[str(peer), "10", "33%", "67%", "0%"] for peer in range(4)]
    assert sorted(there.parent.iterdir()) == [there]


def test_network__strip_of_the_first_rounds(cli: Cli, there: Path) -> None:
    """Two thirds of each round are waiting; the strip has 70 columns for four rounds of 3 s, on 80 columns."""
    _, out, _ = cli("network", "tiny.toml", "--rounds", "4")
    strips = [line for line in out.splitlines() if line.startswith("peer ") and line[5].isdigit()]
    assert len(strips) == 4 and "the first 4 rounds, 12 s: █ computing, · waiting, x offline" in out
    for line in strips:
        marks = line[10:]
        assert set(marks) == {"█", "·"} and marks.count("█") == pytest.approx(len(marks) / 3, abs=4)
        assert marks.count("·█") == 4


@pytest.mark.parametrize("clock", ["neighbours", "free-running", "gossip"])
def test_network__says_what_a_run_says(cli: Cli, there: Path, clock: str) -> None:
    """The same as the summary of a run of the same experiment, which trains; lost messages have been sent, too."""
    overrides = ["run.rounds=6", f"network.clock={clock}", *LOSSY]
    code, out, _ = cli("network", "tiny.toml", *overrides, "--json")
    found = json.loads(out)
    summary = simulate(load_config("tiny.toml", overrides), "runs").summary
    assert code == 0 and found.pop("rounds") == 6
    assert found.pop("bytes") == summary["bytes_exchanged"]
    assert found == json.loads(json.dumps(summary["network"]))
    assert found["messages"]["lost"] > 0 and found["availability"]["asked"] == 0.75


def test_network__bytes_are_those_of_messages_that_were_sent(cli: Cli, there: Path) -> None:
    """Peers that never wait publish every 0.1 s; to two others, 256 bytes take 0.5 s at 1 kB/s: most are replaced.

    Nothing else happens to messages, but that on each of the eight links one waits and some are under way at the end.
    """
    settings = ["run.rounds=40", "network.clock=free-running", "network.bandwidth={up=1e3,down=1e3}"]
    settings += ["network.compute.seconds=0.1", "network.latency.seconds=0.0"]
    _, out, _ = cli("network", "tiny.toml", *settings, "--json")
    found, each = json.loads(out), 256
    messages = found["messages"]
    assert messages["replaced"] > messages["arrived"] > 0
    assert messages["arrived"] <= found["bytes"] / each <= messages["arrived"] + 2 * 8
    assert simulate(load_config("tiny.toml", settings), "runs").summary["bytes_exchanged"] == found["bytes"]


def test_network__a_step_that_follows_at_once_is_marked(cli: Cli, there: Path) -> None:
    """Peers that never wait compute all the time, a step of 1 s after the other."""
    _, out, _ = cli("network", "tiny.toml", "--rounds", "4", "network.clock=free-running")
    assert "offline, | the next step at once" in out
    strips = [line[10:] for line in out.splitlines() if line.startswith("peer ") and line[5].isdigit()]
    assert len(strips) == 4 and len(set(strips)) == 1
    assert {len(part) for part in strips[0].split("|")} <= {21, 22} and strips[0].count("|") == 3


def test_network__pushes_of_gossip_are_no_steps(cli: Cli, there: Path) -> None:
    """A round ends with as many steps as there are peers: 20 rounds of four peers have 80, and 160 wake-ups or more."""
    _, out, _ = cli("network", "tiny.toml", "--rounds", "20", "network.clock=gossip", "network.wake_every=10")
    assert sum(int(line.split()[1]) for line in out.splitlines() if line[:1].isdigit()) == 80


def test_network__events_and_picture(cli: Cli, there: Path) -> None:
    code, out, _ = cli("network", "tiny.toml", *LOSSY, "--events", "a.parquet", "--plot", "a.svg")
    assert code == 0 and Path("a.svg").stat().st_size > 0
    assert lines_of(out)["drawn in"] == "a.svg" and lines_of(out)["events in"] == "a.parquet"
    rows = pq.read_table("a.parquet").to_pylist()
    assert {"publish", "send", "study"} <= {row["kind"] for row in rows} and max(row["round"] for row in rows) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--plot", "a.gif"], "error: --plot: 'a.gif' must end in .png, .pdf or .svg"),
        (["--events", "a.csv"], "error: --events: 'a.csv' must end in .parquet: rename it"),
        (["--events", "no/a.parquet"], "error: --events: cannot write 'no/a.parquet': No such file or directory"),
        (["--plot", "no/a.png"], "error: --plot: cannot draw into 'no/a.png': No such file or directory"),
        (["network.clock=late"], "error: network.clock"),
        (
            ["network.compute.seconds=0", "network.latency.seconds=0", "--plot", "a.png"],
            "error: --plot: no time passes in this network",
        ),
    ],
)
def test_network__mistakes_are_a_line(arguments: list[str], told: str, cli: Cli, there: Path) -> None:
    code, out, err = cli("network", "tiny.toml", *arguments)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and err.startswith(told)
    assert sorted(there.parent.iterdir()) == [there]


def test_network__needs_the_section(cli: Cli, tiny: Path) -> None:
    code, _, err = cli("network", "tiny.toml")
    assert code == 2 and err.startswith("error: network: 'tiny.toml' has no section [network]: add one")
    assert cli("network", "tiny.toml", "network.preset=home")[0] == 0


def test_network__many_peers_are_those_that_others_wait_for(cli: Cli, there: Path) -> None:
    slow = "network.groups=[{peers=[37],slowdown=20.0}]"
    _, out, _ = cli("network", "tiny.toml", "peers.count=40", slow, "--rounds", "20")
    rows = [line.split() for line in out.splitlines() if line[:1].isdigit()]
    assert "the 16 peers for which others wait longest" in out and len(rows) == 16 and rows[0][0] == "37"
    assert "peers 0 to 15" in out and "waiting for peer 37" in lines_of(out)["critical path"]


def test_network__events_over_a_folder_are_told(cli: Cli, there: Path) -> None:
    (there.parent / "events.parquet").mkdir()
    code, out, err = cli("network", "tiny.toml", "--events", "events.parquet")
    assert code == 2 and not out and err.count("\n") == 1 and "--events: cannot write 'events.parquet'" in err
