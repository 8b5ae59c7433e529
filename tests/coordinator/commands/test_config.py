from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordinator.experiment.config import RunConfig

Cli = Callable[..., tuple[Any, str, str]]


def test_config__lists_every_section_with_defaults(cli: Cli) -> None:
    code, out, err = cli("config")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line[1:].partition("]")[0] for line in lines if line.startswith("[")] == list(RunConfig.model_fields)
    assert "  exchange.target.temperature = 0.04  (kind centre)" in lines
    start = (
        '  exchange.loss = { kind = "kl", temperature = 0.1 }  (kinds: mse, salient, cosine, kl, cross-entropy, js, '
    )
    assert any(line.startswith(start.rstrip()) for line in lines)
    assert max(map(len, lines)) <= 120


def test_config__a_key_with_its_meaning(cli: Cli) -> None:
    code, out, _ = cli("config", "peers.optimizer.lr")
    assert code == 0 and out.splitlines() == [
        "peers.optimizer.lr = 0.001",
        "    number > 0, <= 1e38",
        "    learning rate (arXiv 2604.18390: 1e-8; Random Teachers: 1e-3)",
    ]


def test_config__a_key_that_several_kinds_have_with_each_of_them(cli: Cli) -> None:
    _, out, _ = cli("config", "peers.head.dim")
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert heads == [
        "peers.head.dim = 64  (kind linear)",
        "peers.head.dim = 128  (kind prototypes)",
        "peers.head.dim = 65536  (kind bottleneck)",
    ]


def test_config__a_section_has_all_that_is_below_it(cli: Cli) -> None:
    _, out, _ = cli("config", "exchange")
    assert all(f"\nexchange.{name}" in out for name in ("what = ", "target = {", "target.epsilon", "loss.temperature"))
    assert "    centre: Outputs less a running mean of them" in out and "run.seed" not in out


@pytest.mark.parametrize("arguments", [["config", "exchange.los"], ["config", "--markdwn"]])
def test_config__what_it_does_not_know_is_one_line(arguments: list[str], cli: Cli) -> None:
    code, out, err = cli(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ")


def test_config__markdown_is_the_file(cli: Cli) -> None:
    assert cli("config", "--markdown")[1] == (Path(__file__).parents[3] / "configs" / "REFERENCE.md").read_text()
