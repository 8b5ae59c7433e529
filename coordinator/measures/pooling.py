"""What students made of the messages that they heard: dropped, of no use, and whether distances tell the lies."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from peers.exchange.assignment import Heard

WINDOW = 10  # rounds over which the AUC is averaged
TOLD = 0.9  # the mean AUC above which a filter can tell lies from honest messages
HONEST_DROPPED, LIES_DROPPED, LIE_AUC = "honest_dropped", "lies_dropped", "lie_auc"
LIES_UNUSABLE = "lies_unusable"
COLUMNS = (HONEST_DROPPED, LIES_DROPPED, LIE_AUC, LIES_UNUSABLE)  # of the table of rounds
# By the name in the summary's part `pooling`: title and unit.
POOLING: dict[str, tuple[str, str]] = {
    HONEST_DROPPED: ("share of honest messages dropped", ""),
    LIES_DROPPED: ("share of lies dropped", ""),
    LIES_UNUSABLE: ("lies that no student could use", ""),
    LIE_AUC: ("AUC of lies by distance, at the end", ""),
    "round_of_auc": (f"round from which on the AUC of lies is above {TOLD:g}", ""),
    "rounds_with_auc": ("rounds in which lies and honest messages were heard", ""),
}


def of_round(heard: Iterable[Heard | None]) -> dict[str, float | None]:
    """The columns of a round, over its students: shares of the messages, and the mean AUC; empty if none are told.

    Of a rule of the user's own the shares are None: it does not say what it used. Lies that are not finite are counted,
    once for each student that got one, where any lie was heard; they are not among those of which shares are dropped.
    """
    found = [each for each in heard if each is not None]
    if not found:
        return {}
    aucs = [each.auc for each in found if each.auc is not None]
    whole = Heard.together(found) or Heard()
    return {
        HONEST_DROPPED: _share(whole.honest_dropped, whole.honest),
        LIES_DROPPED: _share(whole.lies_dropped, whole.lies),
        LIE_AUC: sum(aucs) / len(aucs) if aucs else None,
        LIES_UNUSABLE: whole.unusable if whole.lies or whole.unusable else None,
    }


def of_run(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | int | None]:
    """The part `pooling` of a summary, of the rows of the table of rounds; empty if there is nothing to tell.

    Shares are means over the rounds; the AUC is that of the last window; lies that no student could use are counted.
    """
    if not any(row.get(name) is not None for row in rows for name in COLUMNS):
        return {}
    told = [(row["round"], row[LIE_AUC]) for row in rows if row.get(LIE_AUC) is not None]
    last = [auc for _, auc in told[-WINDOW:]]
    return {
        HONEST_DROPPED: _mean([row[HONEST_DROPPED] for row in rows if row.get(HONEST_DROPPED) is not None]),
        LIES_DROPPED: _mean([row[LIES_DROPPED] for row in rows if row.get(LIES_DROPPED) is not None]),
        LIES_UNUSABLE: _sum([row[LIES_UNUSABLE] for row in rows if row.get(LIES_UNUSABLE) is not None]),
        LIE_AUC: _mean(last),
        "round_of_auc": round_of_auc([each for each, _ in told], [auc for _, auc in told]),
        "rounds_with_auc": len(told),
    }


def round_of_auc(rounds: Sequence[int], aucs: Sequence[float], window: int = WINDOW, level: float = TOLD) -> int | None:
    """The first round with an AUC above the level from which on every window of rounds has such a mean; None if none.

    rounds: those that have an AUC, ascending. A run of fewer rounds than a window has none.
    """
    means = [sum(aucs[end - window : end]) / window for end in range(window, len(aucs) + 1)]
    below = [place for place, mean in enumerate(means) if not mean > level]
    first = below[-1] + 1 if below else 0
    return next((rounds[place] for place in range(first, len(means)) if aucs[place] > level), None)


def _share(part: int | None, whole: int) -> float | None:
    return part / whole if whole and part is not None else None


def _sum(values: Sequence[float | int]) -> int | None:
    return int(sum(values)) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
