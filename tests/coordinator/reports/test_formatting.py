from coordinator.reports.formatting import points


def test_points__one_decimal_or_one_digit() -> None:
    assert [points(value) for value in (0.025, -0.0005, 0.0003, -0.00004)] == ["+2.5", "-0.1", "+0.03", "-0.004"]


def test_points__what_rounding_leaves_is_nothing() -> None:
    assert [points(value) for value in (0.0, 0.1 + 0.2 - 0.3, 0.3 - 0.1 - 0.2)] == ["+0.0"] * 3
