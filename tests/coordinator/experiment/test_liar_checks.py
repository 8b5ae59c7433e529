"""What liars and rules of pooling need is refused in one line where it is missing."""

import copy
import tomllib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.experiment.config import ConfigError, config_from, load_config
from coordinator.experiment.liar_checks import check_pooling
from coordinator.planning.plan import prepare
from coordinator.planning.schedules import build_schedule
from peers.exchange.config import ExchangeConfig
from peers.networks.config import PeersConfig
from topologies.config import Complete, Ring
from topologies.schedule import Schedule, random_teachers

LIE = {"kind": "sign-flip"}
SEED = np.random.SeedSequence(0)


def table(small: dict[str, Any], adversaries: Any = (), exchange: Any = None, **changed: Any) -> dict[str, Any]:
    """Six peers on a ring, each with two teachers, changed."""
    found = copy.deepcopy(small)
    found["run"]["rounds"] = 2
    found["peers"] |= {"count": 6, "adversaries": list(adversaries)}
    found["evaluation"] = {"probes": ["knn"], "probe_batch": 20}
    found["exchange"] = exchange or {}
    return found | changed


def mistake(of: dict[str, Any]) -> str:
    """The line by which a config, or its plan, is refused; lines of the user's own code may follow it."""
    with pytest.raises(ConfigError) as refused:
        prepare(config_from(of))
    (line,) = str(refused.value).splitlines()
    return line


def lying(*peers: int, **attack: Any) -> dict[str, Any]:
    return {"peers": list(peers), "attack": attack or LIE}


ADVERSARIES = [
    ([lying(6)], "peers.adversaries.peers must name peers 0 to 5, got 6: name one of these, or raise peers.count"),
    ([lying(-1)], "peers.adversaries.peers must name peers 0 to 5, got -1: name one of these, or raise peers.count"),
    ([lying(1, 2, 1)], "must name a peer once, got 1 twice: a peer lies in one way; take it out of one of them"),
    ([lying(1), lying(2, 1)], "must name a peer once, got 1 twice"),
    ([lying(*range(6))], "must leave somebody honest, got all 6 peers: name fewer"),
    ([lying(0, 1, 2), lying(3, 4, 5)], "must leave somebody honest, got all 6 peers: name fewer"),
    ([lying()], "peers.adversaries[0].peers"),
]


@pytest.mark.parametrize(("adversaries", "line"), ADVERSARIES)
def test_liars__are_some_of_the_peers(small: dict[str, Any], adversaries: Any, line: str) -> None:
    assert line in mistake(table(small, adversaries))


def test_liars__learn_and_leave_somebody_honest_that_learns(small: dict[str, Any]) -> None:
    both = table(small, [lying(2)])
    both["peers"]["frozen"] = [2]
    assert "names peer 2, which is in peers.frozen, too, but liars learn as all others do" in mistake(both)
    none_left = table(small, [lying(0, 1, 2)])
    none_left["peers"]["frozen"] = [3, 4, 5]
    assert "must leave an honest peer that learns, but all 6 peers lie or are in peers.frozen" in mistake(none_left)


@pytest.mark.parametrize("kind", ["lma", "cpa", "hips"])
def test_attacks__on_how_likely_outputs_are_are_refused_on_features(small: dict[str, Any], kind: str) -> None:
    line = mistake(table(small, [lying(1, kind=kind)], {"what": "features"}))
    assert line.endswith(
        f"peers.adversaries.attack '{kind}' is about how likely outputs are, but exchange.what is 'features': set it "
        "to probabilities or logits, or take another attack, such as alie"
    )
    config_from(table(small, [lying(1, kind=kind)], {"what": "logits"}))


def test_attacks__on_outputs_that_are_not_there_are_refused(small: dict[str, Any]) -> None:
    assert mistake(table(small, [lying(1, kind="constant", output=4)])) == (
        "peers.adversaries.attack.output must be below the 4 outputs, got 4: lower it"
    )
    prepare(config_from(table(small, [lying(1, kind="constant", output=3)])))


@pytest.mark.parametrize(
    ("attack", "what"), [("permuted-outputs", "logits"), ("lma", "logits"), ("sign-flip", "probabilities")]
)
def test_attacks__on_a_single_output_are_refused(attack: str, what: str) -> None:
    """Which a network of the user's own may have."""
    peers = PeersConfig.model_validate({"count": 6, "adversaries": [lying(1, kind=attack)]})
    exchange = ExchangeConfig.model_validate({"what": what})
    with pytest.raises(ConfigError, match=f"'{attack}' needs at least 2 outputs, got 1, .* raise peers.head.dim$"):
        check_pooling(peers, exchange, Ring().build(6, SEED), 2, 1)
    check_pooling(peers, exchange, Ring().build(6, SEED), 2, 2)


SUMS = [
    ({"aggregation": {"kind": "median"}}, (), "exchange.aggregation is 'median'", "set it to mean"),
    ({"trust": {"kind": "self-agreement"}}, (), "exchange.trust is 'self-agreement'", "set it to none"),
    ({"memory": "expguard"}, (), "exchange.memory is 'expguard'", "set it to none"),
    ({"confident_share": 0.5}, (), "exchange.confident_share is 0.5", "set it to 1"),
    ({}, [lying(1, kind="alie")], "peers.adversaries.attack is 'alie'", "take a local one"),
]


@pytest.mark.parametrize(("exchange", "adversaries", "what", "instead"), SUMS)
def test_shared_sum__goes_with_nothing_that_needs_each_message(
    small: dict[str, Any], exchange: Any, adversaries: Any, what: str, instead: str
) -> None:
    given = table(small, adversaries, exchange | {"delivery": "shared-sum"}, topology={"kind": "complete"})
    assert mistake(given).endswith(
        f"exchange.delivery 'shared-sum' adds the messages up, but {what}, which needs each of them: use per-edge, or "
        f"{instead}"
    )


def test_shared_sum__goes_with_local_lies(small: dict[str, Any]) -> None:
    config_from(table(small, [lying(1)], {"delivery": "shared-sum"}, topology={"kind": "complete"}))


def test_losses_of_each_teacher__are_not_pooled(small: dict[str, Any]) -> None:
    exchange = {"average": "losses", "aggregation": {"kind": "krum", "f": 1}}
    assert "exchange.aggregation 'krum' pools outputs, but exchange.average 'losses' compares" in mistake(
        table(small, (), exchange)
    )


@pytest.mark.parametrize(("name", "value"), [("trust", {"kind": "self-agreement"}), ("memory", "expguard")])
def test_weights__are_not_given_to_a_rule_that_takes_one_message(small: dict[str, Any], name: str, value: Any) -> None:
    ring, called = {"kind": "ring", "self_weight": 0.3}, value if isinstance(value, str) else value["kind"]
    line = mistake(table(small, (), {"aggregation": {"kind": "krum"}, name: value}, topology=ring))
    assert line.endswith(
        f"exchange.{name} '{called}' weighs teachers, but exchange.aggregation 'krum' takes one message whatever its "
        f"weight: use multi-krum, or set exchange.{name} to none"
    )
    config_from(table(small, (), {"aggregation": {"kind": "multi-krum"}, name: value}, topology=ring))


def test_page__has_an_experiment_with_liars_that_can_start() -> None:
    page = (Path(__file__).parents[3] / "configs" / "README.md").read_text()
    block = page.split("## Liars and robust pooling\n\n```toml\n")[1].split("```")[0]
    plan = prepare(config_from(tomllib.loads(block) | {"data": {"kind": "digits"}}))
    assert plan.facts.min_degree == 8 and plan.config.peers.liars == {6, 7}


TOO_FEW = [
    ({"kind": "krum", "f": 1}, "'krum' with f = 1 needs students with at least 3 teachers", "lower f, or give"),
    ({"kind": "multi-krum", "f": 1}, "'multi-krum' with f = 1, m = 0 needs students with at least 3", "lower f, or"),
    ({"kind": "nearest", "f": 2}, "'nearest' with f = 2 needs students with at least 5 teachers", "lower f, or give"),
    ({"kind": "trimmed-mean", "b": 1}, "'trimmed-mean' with b = 1 needs students with at least 3", "lower b, or give"),
    ({"kind": "median"}, "'median' needs students with at least 3 teachers", ": give students more teachers"),
    ({"kind": "cronus"}, "'cronus' with alpha = 0.4 needs students with at least 5 teachers", "raise alpha, or give"),
]


@pytest.mark.parametrize(("rule", "needs", "instead"), TOO_FEW)
def test_rules__of_students_with_too_few_teachers_are_refused(
    small: dict[str, Any], rule: Any, needs: str, instead: str
) -> None:
    line = mistake(table(small, (), {"aggregation": rule}))
    assert line.startswith(f"exchange.aggregation {needs}") and instead in line
    assert "but peer 0 has 2 in round 0, without itself" in line


def test_rules__count_the_student_itself(small: dict[str, Any]) -> None:
    """A ring with self-weights bears one liar, not two."""
    ring = {"kind": "ring", "self_weight": 0.3}
    prepare(config_from(table(small, [lying(1)], {"aggregation": {"kind": "krum", "f": 1}}, topology=ring)))
    line = mistake(table(small, [lying(1)], {"aggregation": {"kind": "krum", "f": 2}}, topology=ring))
    assert "at least 5 teachers, but peer 0 has 3 in round 0, itself among them" in line


def pooling(schedule: Schedule, num_peers: int = 6, liars: Any = (), rounds: int = 50, **rule: Any) -> None:
    exchange = ExchangeConfig.model_validate({"aggregation": rule} if rule else {})
    peers = PeersConfig.model_validate({"count": num_peers, "adversaries": liars})
    check_pooling(peers, exchange, schedule, rounds, 4)


def test_rules__look_at_all_rounds_and_not_at_those_that_learn_from_themselves_alone() -> None:
    pooling(random_teachers(6, 3, SEED), kind="krum", f=1)
    with pytest.raises(ConfigError, match="at least 5 teachers"):
        pooling(random_teachers(6, 4, SEED), kind="krum", f=2)
    pooling(Complete().build(6, SEED), kind="krum", f=2)
    config = load_config({"data": {"kind": "digits"}, "topology": {"kind": "self"}})
    pooling(build_schedule(config), num_peers=4, kind="krum", f=2)


def test_copycat__repeats_an_honest_peer_that_all_hear() -> None:
    ring = Ring().build(6, SEED)
    pooling(ring, liars=[lying(1, kind="copycat", peer=0)])
    with pytest.raises(ConfigError, match=r"attack\.peer is 1, .* but peer 0 hears 1 in round 0: lower it$"):
        pooling(ring, liars=[lying(1, kind="copycat", peer=1)])
    pooling(Complete().build(6, SEED), liars=[lying(1, 2, kind="copycat", peer=2)])
    with pytest.raises(ConfigError, match="but peer 0 hears 3 in round 0"):
        pooling(Complete().build(6, SEED), liars=[lying(1, 2, kind="copycat", peer=3)])


# ---- what users bring ----


def test_brought_rules__are_tried_out_and_told_by_their_digest(small: dict[str, Any]) -> None:
    given = table(small, (), {"aggregation": {"kind": "import", "target": "peers.pooling.brought:mean_of"}})
    config = prepare(config_from(given)).config
    assert len(config.exchange.aggregation.digest) == 64
    assert "has no 'means'" in mistake(
        table(small, (), {"aggregation": {"kind": "import", "target": "statistics:means"}})
    )
    wrong = {"kind": "import", "target": "torch:tanh"}
    assert "exchange.aggregation 'torch:tanh': raised TypeError" in mistake(table(small, (), {"aggregation": wrong}))


def test_brought_attacks__are_tried_out_and_told_by_their_digest(small: dict[str, Any]) -> None:
    attack = {"kind": "import", "target": "peers.attacks.brought:negative_mean"}
    config = prepare(config_from(table(small, [lying(1, **attack)]))).config
    assert len(config.peers.adversaries[0].attack.digest) == 64
    line = mistake(table(small, [lying(1, kind="import", target="torch:add")]))
    assert line == (
        "peers.adversaries.attack 'torch:add': must return what is sent, of shape (6, 4), got torch.float32 of shape "
        "(3, 6, 4): keep samples and outputs"
    )


@pytest.mark.parametrize(
    ("exchange", "what"),
    [
        ({"what": "features"}, "exchange.what is 'features', which are no classes: send logits"),
        ({"average": "losses"}, "exchange.average is 'losses': set it to outputs"),
        ({"aggregation": {"kind": "median"}}, "exchange.aggregation is 'median': set it to mean"),
    ],
)
def test_confident_share__needs_outputs_and_the_mean(small: dict[str, Any], exchange: Any, what: str) -> None:
    given = table(small, (), exchange | {"confident_share": 0.5, "loss": {"kind": "mse"}})
    assert mistake(given) == (
        "exchange.confident_share 0.5 takes, for each sample, the mean of the teachers that are sure of it, but "
        f"{what}, or exchange.confident_share to 1"
    )


def test_prepare__warns_once_where_late_messages_are_pooled_apart(small: dict[str, Any]) -> None:
    rule = {"aggregation": {"kind": "median"}}
    given = table(small, (), rule, topology={"kind": "complete"}) | {"network": {"clock": "free-running"}}
    with pytest.warns(UserWarning, match="a student pools late messages apart") as told:
        prepare(config_from(given))
    assert len([each for each in told if "apart" in str(each.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(config_from(given | {"network": {"clock": "neighbours"}}))
        prepare(config_from(given | {"network": {"clock": "free-running", "message": "checkpoint"}}))


def test_krum__says_which_setting_asks_for_more_teachers(small: dict[str, Any]) -> None:
    """Of m + f messages that are not there, f = 0 cannot be lowered."""
    ring = {"kind": "ring"}
    line = mistake(table(small, (), {"aggregation": {"kind": "multi-krum", "f": 0, "m": 4}}, topology=ring))
    assert "lower m, or give" in line


def test_cronus__of_the_least_alpha_is_refused_in_a_line(small: dict[str, Any]) -> None:
    assert "exchange.aggregation" in mistake(table(small, (), {"aggregation": {"kind": "cronus", "alpha": 1e-320}}))


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"exchange": {"aggregation": {"kind": "self-centred-clipping", "tau": {}}}}, "exchange.aggregation.tau:"),
        ({"peers": {"count": 6, "head_shared": {}}}, "peers.head_shared:"),
    ],
)
def test_lines__name_keys_that_exist(small: dict[str, Any], changed: dict[str, Any], key: str) -> None:
    assert mistake(table(small) | changed).startswith(key)


def test_liars__leave_an_honest_peer_that_has_teachers(small: dict[str, Any], tmp_path: Path) -> None:
    """Else nobody whom means are about ever learns, as where all honest peers are in peers.frozen."""
    (tmp_path / "links.csv").write_text("teacher,student\n" + "".join(f"0,{peer}\n" for peer in range(1, 6)))
    links = {"kind": "file", "path": str(tmp_path / "links.csv")}
    assert "must leave an honest peer that learns" in mistake(table(small, [lying(1, 2, 3, 4, 5)], topology=links))


def told(of: dict[str, Any]) -> list[str]:
    """What a plan warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepare(config_from(of))
    return [str(each.message) for each in caught]


IDLE: list[tuple[dict[str, Any], list[str]]] = [
    ({"from_round": 1}, []),
    (
        {"from_round": 2},
        [
            "from_round is 2, but the run has 2 rounds, 0 to 1: no lie of peers 1, 2 is ever sent; lower it, or raise "
            "run.rounds"
        ],
    ),
    ({"share": 0.999}, []),
    (
        {"share": 1e-9, "from_round": 1},
        ["share is 1e-09, and in rounds 1 to 1 no draw makes peers 1, 2 lie; raise it, or run.rounds"],
    ),
]


@pytest.mark.parametrize(("asked", "lines"), IDLE)
def test_liars__that_never_lie_are_told(small: dict[str, Any], asked: dict[str, Any], lines: list[str]) -> None:
    assert told(table(small, [lying(1, 2) | asked])) == [f"peers.adversaries.{line}" for line in lines]


def test_liars__in_a_network_without_common_rounds_may_lie_later(small: dict[str, Any]) -> None:
    network = {"clock": "free-running", "compute": {"kind": "constant", "seconds": 1.0}}
    assert told(table(small, [lying(1) | {"from_round": 2}], network=network)) == []


def test_liars__whom_nobody_hears_are_told(small: dict[str, Any], tmp_path: Path) -> None:
    line = (
        "peers.adversaries.peers: nobody hears {}, so that lies of theirs change nothing; name peers with students, or "
        "give them some by topology, exchange.roles or peers.frozen"
    )
    (tmp_path / "links.csv").write_text("teacher,student\n0,1\n1,0\n1,2\n1,3\n1,4\n2,5\n")
    links = {"kind": "file", "path": str(tmp_path / "links.csv")}
    assert told(table(small, [lying(0, 1), lying(3, 5)], topology=links)) == [line.format("peers 3, 5")]
    frozen = table(small, [lying(0)], topology=links)
    assert told(frozen) == []
    frozen["peers"]["frozen"] = [1]  # its only student
    assert told(frozen) == [line.format("peer 0")]
    drawn = table(small, [lying(0)], {"roles": "one-student"}, topology={"kind": "ring"})
    drawn["run"]["rounds"] = 1
    (student,) = build_schedule(config_from(drawn))(0).students
    assert told(drawn) == ([] if student in (1, 5) else [line.format("peer 0")])
