"""What a run's summary says of its simulated network in numbers, with titles and units."""

FIGURES = {"mean": "mean", "p50": "median", "p95": "95th percentile", "max": "largest"}
SPREAD = {  # numbers of which there are several
    "round_seconds": ("virtual time of a round", "s"),
    "age_rounds": ("age of messages in rounds", ""),
    "age_seconds": ("age of messages", "s"),
    "delivery_seconds": ("time on the way", "s"),
    "queueing_seconds": ("time waiting for a link", "s"),
}
# By the name in the summary's part `network`: title and unit.
NETWORK: dict[str, tuple[str, str]] = {
    "virtual_seconds": ("virtual time", "s"),
    "seconds_per_round": ("virtual time a round", "s"),
    "steps": ("steps", ""),
    "steps_without_a_message": ("steps without a message", ""),
    "use.compute": ("share of time computing", ""),
    "use.wait": ("share of time waiting", ""),
    "use.offline": ("share of time offline", ""),
    "messages.arrived": ("messages that arrived", ""),
    "messages.lost": ("messages lost", ""),
    "messages.offline": ("messages to absent peers", ""),
    "messages.crashed": ("messages of crashed peers", ""),
    "messages.replaced": ("messages replaced by newer ones", ""),
    "loss.asked": ("share of messages lost, by the settings", ""),
    "loss.seen": ("share of messages lost", ""),
    "availability.asked": ("share of time online, by the settings", ""),
    "availability.seen": ("share of time online", ""),
    "effective_gap": ("1 - λ2 of who heard whom", ""),
    "nominal_gap": ("1 - λ2 of the topology", ""),
    "critical_path.seconds": ("virtual time of the critical path", "s"),
    "critical_path.compute": ("share of the critical path computing", ""),
    "critical_path.latency": ("share of the critical path on the way", ""),
    "critical_path.idle": ("share of the critical path idle", ""),
    "critical_path.offline": ("share of the critical path offline", ""),
    **{
        f"{name}.{figure}": (f"{title}, {words}", unit)
        for name, (title, unit) in SPREAD.items()
        for figure, words in FIGURES.items()
    },
}
