"""Words and tables of unequal peers, from a summary as runs write it."""

from typing import Any

from coordinator.reports import unequal
from coordinator.reports.settings import lie


def probe(gain: float, over_alone: float, peers: list[int]) -> dict[str, Any]:
    return {
        "calibrated": 0.5,
        "trained": 0.5 + gain,
        "gain": gain,
        "interval": [gain - 0.01, gain + 0.01],
        "over_alone": {"mean": over_alone, "low": over_alone - 0.02, "high": over_alone + 0.02},
        "verdict": "learned (this run)",
        "controls": {"alone": "no difference"},
        "peers": {"peer": peers, "gain": [gain] * len(peers), "over_alone": [over_alone] * len(peers)},
    }


def group(peers: list[int], students: list[int], gain: float, *hops: list[int]) -> dict[str, Any]:
    far = {str(1 + place): {"students": of, "probes": {"knn": probe(gain, 0.0, of)}} for place, of in enumerate(hops)}
    return {"peers": peers, "students": students, "probes": {"knn": probe(gain, 0.001, students)}, "hops": far}


def summary(**peers: Any) -> dict[str, Any]:
    return {
        "liars": [3],
        "config": {"peers": {"count": 4, "adversaries": [{"peers": [3], "attack": {"kind": "lma"}}], **peers}},
        "groups": {"good": group([0], [0], 0.02, [0]), "poor": group([1, 2, 3], [1, 2], -0.01, [1], [2])},
        "probes": {"knn": probe(0.0, 0.0, [0, 1, 2])},
        "not_finite": {},
    }


def test_about__who_lies_and_whom_means_are_about() -> None:
    (line,) = unequal.about(summary())
    assert line == (
        "liars: peer 3 (lma). Every mean, gain, verdict, ensemble and measure of agreement is of the 3 honest peers "
        "alone; tables of single peers, links and pairs have all."
    )
    assert unequal.about({**summary(), "liars": []}) == [] and unequal.about({}) == []


def test_lie__when_and_how_often() -> None:
    assert lie({"attack": {"kind": "alie", "z": 1.5}}) == "alie (z 1.5)"
    often = {"attack": {"kind": "sign-flip"}, "from_round": 10, "share": 0.5}
    assert lie(often) == "sign-flip from round 10 on, in 50% of the rounds"


def test_liar_table__numbers_are_of_all_liars_together() -> None:
    one = summary()["config"]["peers"]
    assert unequal.liar_table(one, {}) == (["liars", "what they send"], [["3", "lma"]])
    known = {"lies_dropped": 0.25, "lies_unusable": 1200}
    names = ["liars", "what they send", "lies dropped", "not finite"]
    assert unequal.liar_table(one, known) == (names, [["3", "lma", "25%", "1,200"]])
    sorts = [*one["adversaries"], {"peers": [0, 1], "attack": {"kind": "alie", "z": 1.5}}]
    assert unequal.liar_table({"adversaries": sorts}, {"lies_unusable": 0}) == (
        names,
        [["3", "lma", "", ""], ["0 and 1", "alie (z 1.5)", "", ""], ["all", "", "", "0"]],
    )
    assert unequal.liar_table({}, known)[1] == [] and unequal.liar_tags({"config": {"peers": {}}}) == {}
    assert unequal.liar_tags(summary()) == {"liars": "peer 3 (lma)"}


def test_group_rows__each_gain_of_each_group() -> None:
    rows = [dict(zip(unequal.BY_GROUP, row, strict=True)) for row in unequal.group_rows(summary())]
    assert [(row["group"], row["students"], row["over"], row["gain"]) for row in rows] == [
        ("good", "1", "calibrated", "+2.0"),
        ("good", "1", "alone", "+0.1"),
        ("poor", "2", "calibrated", "-1.0"),
        ("poor", "2", "alone", "+0.1"),
    ]
    assert rows[0]["verdict"] == "learned (this run)" and rows[1]["95% interval"] == "-1.9 to +2.1"
    assert unequal.group_rows({}) == []  # of an older version


def test_distance_rows__of_groups_that_are_not_all_equally_far() -> None:
    rows = [row[:5] for row in unequal.distance_rows(summary())]
    assert rows == [["poor", steps, "1", "kNN", over] for steps in ("1", "2") for over in ("calibrated", "alone")]
    assert all(len(row) == len(unequal.BY_DISTANCE) for row in unequal.distance_rows(summary()))


def test_distance_rows__when_a_gain_has_arrived() -> None:
    found = summary()
    for steps, known in (("1", 40), ("2", None)):
        found["groups"]["poor"]["hops"][steps]["arrival"] = {"knn": {"gain": known}}
    rows = [dict(zip(unequal.distance_columns(found), row, strict=True)) for row in unequal.distance_rows(found)]
    told = {(row["links away"], row["over"]): row["half of it since round"] for row in rows}
    assert told == {
        ("1", "calibrated"): "40",
        ("1", "alone"): "",
        ("2", "calibrated"): "nothing arrived",
        ("2", "alone"): "",
    }
    assert unequal.distance_columns(summary()) == unequal.BY_DISTANCE


def test_peer_rows__who_lies_and_what_each_gained() -> None:
    found = summary(frozen=[2])
    assert unequal.peer_columns(found) == ("peer", "group", "role", "kNN gain")
    assert unequal.peer_rows(found) == [
        ["0", "good", "", "+0.0"],
        ["1", "poor", "", "+0.0"],
        ["2", "poor", "frozen", "+0.0"],
        ["3", "poor", "lies: lma", ""],
    ]
    found = summary(adversaries=[])
    assert unequal.peer_columns(found) == ("peer", "group", "kNN gain") and len(unequal.peer_rows(found)[0]) == 3
    found = {**summary(), "groups": {}}
    assert unequal.peer_columns(found) == ("peer", "role", "kNN gain")
    assert unequal.peer_rows(found)[3] == ["3", "lies: lma", ""]


def test_peer_rows__not_of_peers_that_are_all_alike_or_very_many() -> None:
    assert unequal.peer_rows({**summary(), "groups": {}, "liars": []}) == []
    assert unequal.peer_rows(summary(count=unequal.MOST_PEERS + 1)) == []
