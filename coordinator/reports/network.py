"""What the simulated network came to, in words: virtual time, ages and losses of messages, the critical path."""

from collections.abc import Mapping
from typing import Any

from coordinator.records.stage_clock import virtual_time
from coordinator.reports.formatting import count_of

CLOCKS = {
    "synchronous": "all peers wait for all messages of a round",
    "neighbours": "each peer waits for its own teachers",
    "deadline": "each peer waits for its teachers until a deadline",
    "free-running": "no peer waits for any other",
    "gossip": "peers wake at random times and exchange with one neighbour",
}
MESSAGES = {
    "outputs": "outputs, about the batch on which they were made",
    "checkpoint": "weights, which the student runs on its own batch",
}
DOING = {"compute": "computing", "wait": "waiting", "offline": "offline"}
NOT_THERE = {
    "offline": "found their receiver offline",
    "crashed": "ended with their sender",
    "replaced": "replaced by newer ones before they were sent",
}
LEAST_QUEUE = 0.005  # of the time on the way: less is left out
Network = Mapping[str, Any]


def on_network(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on a run's simulated network; none without the section `[network]`."""
    network = summary.get("network")
    if not network:
        return []
    lines = [f"{name}: {text}" for name, text in facts(network).items()]
    faults = len(summary.get("faults", ()))
    real = (
        f"{count_of(faults, 'fault')} of real machines, survived, changed no number"
        if faults
        else "no real machine failed"
    )
    return [*lines, f"simulated by the section [network]: virtual time, delays, losses and absent peers; {real}"]


def facts(network: Network) -> dict[str, str]:
    """What the network came to, by subject. network: the part `network` of a summary."""
    found = {
        "clock": f"{network['clock']}: {CLOCKS.get(network['clock'], '')}; messages are "
        f"{MESSAGES.get(network['message'], network['message'])}",
        "virtual time": _time(network),
        "peers' time": ", ".join(f"{share(network['use'][key])} {word}" for key, word in DOING.items()),
        "messages": _messages(network),
        "on the way": _spread(network["delivery_seconds"]),
        "queueing": _queueing(network),
        "age when used": _ages(network),
        "peers online": _against(network["availability"], " of the time"),
        "who hears whom": _mixing(network),
        "critical path": network["critical_path"]["sentence"],
    }
    return {name: text for name, text in found.items() if text}


def share(value: float | int | None) -> str:
    """A share in percent, with one digit where it is small."""
    if value is None:
        return "unknown"
    if 0 < value < 0.0005:
        return "under 0.1%"
    return f"{value:.1%}" if 0 < value < 0.0995 else f"{value:.0%}"


def _time(network: Network) -> str:
    seconds, of_round = network["virtual_seconds"], network["round_seconds"]
    if not seconds:
        return "no time has passed"
    line = f"{virtual_time(seconds)}, {virtual_time(network['seconds_per_round'])} a round"
    if of_round["max"] is None or of_round["max"] < 1.005 * of_round["p50"]:
        return line
    return f"{line} (median {virtual_time(of_round['p50'])}, longest {virtual_time(of_round['max'])})"


def _messages(network: Network) -> str:
    counts = network["messages"]
    if not sum(counts.values()):
        return "none"
    lost = f"{counts['lost']:,} lost ({_against(network['loss'])})" if counts["lost"] else ""
    missed = [f"{counts[name]:,} {words}" for name, words in NOT_THERE.items() if counts.get(name)]
    idle = network["steps_without_a_message"]
    without = f"{share(idle / network['steps'])} of the steps had no message to learn from" if idle else ""
    if network["clock"] == "gossip":
        without = ""
    return ", ".join(filter(None, [f"{counts['arrived']:,} arrived", lost, *missed, without]))


def _against(values: Mapping[str, Any], unit: str = "") -> str:
    """A share that was seen, and what was asked for, where that is known; empty if nothing was lost and asked."""
    seen, asked = values["seen"], values["asked"]
    if seen is None or (unit and seen == 1 and asked in (1, None)):
        return ""
    return f"{share(seen)}{unit}" + (f", {share(asked)} asked for" if asked is not None else "")


def _spread(figures: Mapping[str, float | int | None]) -> str:
    """Mean, 95th percentile and maximum of times; empty if there are none, or all are 0."""
    if not figures["max"]:
        return ""
    mean, high, most = (virtual_time(figures[name] or 0.0) for name in ("mean", "p95", "max"))
    if mean == most:
        return mean
    within = f", 95% within {high}" if figures["p95"] else ""
    return f"{mean} on average{within}, at most {most}"


def _queueing(network: Network) -> str:
    """How long messages waited for bandwidth that others used; empty if that was next to nothing."""
    waits, on_the_way = network["queueing_seconds"], network["delivery_seconds"]["mean"]
    if not waits or not waits["max"] or waits["mean"] < LEAST_QUEUE * on_the_way:
        return ""
    return f"of that, {_spread(waits)}, since other messages used the bandwidth"


def _ages(network: Network) -> str:
    seconds, rounds = _spread(network["age_seconds"]), network["age_rounds"]
    if not seconds:
        return ""
    if not rounds or not rounds["max"]:
        return seconds
    mean = f"{rounds['mean']:.2g}"
    return f"{seconds}; {mean} {'round' if mean == '1' else 'rounds'} on average, at most {rounds['max']:.0f}"


def _mixing(network: Network) -> str:
    effective, nominal = network["effective_gap"], network["nominal_gap"]
    if effective is None or nominal is None:
        return ""
    line = f"1 - λ2 of the mean weights {effective:.3g}"
    if f"{effective:.3g}" == f"{nominal:.3g}":
        return f"{line}, as the topology has it"
    slower = "slower" if effective < nominal else "faster"
    return f"{line}, against {nominal:.3g} as the topology has it: step by step, peers agree {slower}"
