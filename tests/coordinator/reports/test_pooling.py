from coordinator.reports.pooling import on_pooling

DROPPED = {"honest_dropped": 0.25, "lies_dropped": 1.0, "lie_auc": 0.975, "round_of_auc": 40}


def test_on_pooling__says_what_was_dropped_and_when_lies_can_be_told() -> None:
    assert on_pooling({"pooling": DROPPED}) == [
        "pooling: honest students dropped 25% of the honest messages and 100% of the lies",
        "pooling: a filter by distance can tell lies from round 40 on (AUC above 0.9, mean of 10 rounds; in the last "
        "ones 0.97, chance 0.5)",
    ]
    assert "no filter by distance can tell lies" in on_pooling({"pooling": {**DROPPED, "round_of_auc": None}})[1]


def test_on_pooling__of_a_rule_of_ones_own_nothing_is_said_to_be_dropped() -> None:
    """Told distances stay: they are of the messages, not of the rule."""
    part = {**DROPPED, "honest_dropped": None, "lies_dropped": None}
    rule = {"exchange": {"aggregation": {"kind": "import", "target": "mine:rule"}}}
    not_known, told = on_pooling({"pooling": part, "config": rule})
    assert "does not say which messages it used" in not_known and "%" not in not_known and "from round 40 on" in told
    assert len(on_pooling({"config": rule})) == 1


def test_on_pooling__counts_lies_that_are_not_finite() -> None:
    told = "pooling: 3 lies that honest students got had numbers that are not finite: they left these out"
    part = dict.fromkeys(DROPPED) | {"lies_unusable": 3}
    assert on_pooling({"pooling": part}) == [told]
    assert len(on_pooling({"pooling": DROPPED | {"lies_unusable": 0}})) == len(on_pooling({"pooling": DROPPED}))


def test_on_pooling__without_liars_or_another_rule() -> None:
    assert on_pooling({}) == []
    only = {"honest_dropped": 0.5, "lies_dropped": None, "lie_auc": None, "round_of_auc": None}
    assert on_pooling({"pooling": only}) == ["pooling: honest students dropped 50% of the honest messages"]
