"""`report.html` of a run: one self-contained page that works offline and on a phone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordinator.measures.declared import Shown, shown_in
from coordinator.measures.gains import FOR_COMPARISON, Condition
from coordinator.pages import render as page
from coordinator.pages.group_tables import GROUP_FIGURES, group_tables, peer_tables
from coordinator.pages.parts import Picture, Table, Texts, pictures
from coordinator.records.files.result import Status
from coordinator.reports import control_runs, unequal
from coordinator.reports.durations import durations_in_words
from coordinator.reports.formatting import capitalised, listed
from coordinator.reports.holdings import accuracy_table, on_held_classes, said_of, scopes_meant
from coordinator.reports.network import facts, on_network
from coordinator.reports.sentences import flags_in_words
from coordinator.reports.settings import asked
from coordinator.reports.verdicts import verdict_lines
from coordinator.reports.wording import CONDITIONS, buffers, examples, probe_name

CURVES = listed([measure.title for measure in shown_in(Shown.CURVE)])
VERDICT, GROUPS = "verdict", "Group by group"
NETWORK_FIGURES: Texts = {
    "seconds": (
        "Disagreement, loss and messages against virtual time",
        "The run against the virtual time of its simulated network: disagreement and loss; where they change, the mean "
        "age of the messages that are used, the peers online, and the messages lost in a round; and the probes, mean "
        "and range of the students, where evaluation.probe_every is set.",
    ),
    "gantt": (
        "What each peer does from when to when, in the first rounds",
        "The first rounds: a row for each peer, with its computing, its waiting and its absence.",
    ),
    "ages": (
        "How old messages are when they are used",
        "Age of the messages of other peers when a step uses them: share of each age in rounds, where any was of an "
        "earlier round; and the share that was no older than so long after its publication.",
    ),
    "regions": (
        "A map of the places of the peers, with lines between them",
        "Where the peers are. Colour of a line: median time that a message takes one way, mean of both directions.",
    ),
}
HOLDINGS_FIGURES: Texts = {
    "holdings": (
        "A map with a row for each peer and a column for each class: how many examples it holds",
        "Training examples of each class, a row for each peer: the darker, the more. Above them the public ones, which "
        "messages are about.",
    ),
    "classes": (
        "Accuracy on the students' own classes and on those that only others hold, over the rounds",
        "What peers know of their own classes, and of those of which they hold no example: mean over the students, "
        "where evaluation.probe_every is set. Dotted: calibrated networks.",
    ),
}
RUN_FIGURES: Texts = {
    "gains": (
        "Gains of the trained peers over calibrated networks and over the control runs, as points with intervals",
        "Dot: mean gain; bar: its 95% interval; the line at 0: no gain. ",
    ),
    "consensus": (
        f"Loss, {CURVES} over the rounds",
        f"Loss, {CURVES} of the peers over the rounds. Where evaluation.probe_every is set, also the probes: mean and "
        "range of the students; dashed: the controls.",
    ),
    "pooling": (
        "How well distances tell lies from honest messages, and which messages were dropped, over the rounds",
        "What honest students made of the messages of others. AUC: the probability that a lie is farther from the "
        "other messages than an honest one. Dropped: the share of the messages of which the pool used nothing.",
    ),
    "views": (
        "Some training images, and what each kind of peer sees of them",
        "What peers see. Top: training images as they are; below, for each view: what is seen where peers are probed, "
        "which is what sensors leave of the images, and two draws of what they see in training. Of a view with chroma, "
        "grey is 0.",
    ),
    "topology": (
        "The peers, with a line or an arrow for each link",
        "Who teaches whom: an arrow runs from teacher to student, a line without one both ways. Peers are coloured by "
        "their gain where it is known.",
    ),
}


def render(summary: dict[str, Any], lines: list[str], config: str, folder: Path, view: str = "") -> str:
    """The HTML of a run's page: its verdicts and gains first, then curves, graph, tables, words, and how to repeat it.

    lines: the report's sentences. config: the text of config.toml. Figures come from the folder `figures` in `folder`.
    view: the HTML of the component that draws the run round by round; without it the topology is a picture.
    """
    flags, drawn = flags_in_words(summary), _drawn(folder, summary)
    charts, graph = ([each for each in drawn if (each.name == "topology") is wanted] for wanted in (False, True))
    tables = {
        "Did they learn?": _probes(summary),
        "On whose classes?": _class_accuracy(summary),
        "Did the exchange teach?": _control_runs(summary),
        "Who lies?": _liars(summary),
        GROUPS: group_tables(summary),
        "Peer by peer": peer_tables(summary),
    }
    holders = said_of(summary)
    said = [] if not summary.get("network") else on_network(summary)  # they are in a table of their own
    return page.render(
        "run.html",
        view=view,
        title=folder.name,
        ending=_ending(summary),
        verdicts=verdict_lines(summary),
        held_classes=on_held_classes(summary),
        flags=flags,
        first=charts[:1],
        curves=charts[1:],
        held=pictures(folder / "figures", HOLDINGS_FIGURES) if holders else [],
        holders=holders,
        graph=graph,
        network=_network(summary),
        network_pictures=pictures(folder / "figures", NETWORK_FIGURES) if summary.get("network") else [],
        tables=[(heading, found) for heading, found in tables.items() if found],
        pictures_of={GROUPS: pictures(folder / "figures", GROUP_FIGURES) if summary.get("groups") else []},
        words=[line for line in [*lines, *_durations(summary)] if line not in [*flags, *holders, *said[:-1]]],
        asked=list(asked(summary).items()),
        config=config,
    )


def _network(summary: Mapping[str, Any]) -> list[Table]:
    """The table of what the simulated network came to; none without one."""
    if not summary.get("network"):
        return []
    rows = [[name, text] for name, text in facts(summary["network"]).items()]
    return [Table("What the run's simulated network came to.", ["subject", "seen"], rows, words=("seen",))]


def _ending(summary: Mapping[str, Any]) -> str:
    """How the run ended, in a line; empty if it finished all its rounds."""
    status, message = summary["status"], summary["message"]
    if message:
        return f"{status}: {message}"
    return "" if status == Status.FINISHED else str(status)


def _durations(summary: Mapping[str, Any]) -> list[str]:
    """A sentence on the seconds of each stage, where they are known."""
    words = durations_in_words(summary.get("seconds", {}), summary.get("beside_rounds", ()))
    return [f"time: {words}"] if words else []


def _drawn(folder: Path, summary: Mapping[str, Any]) -> list[Picture]:
    """The figures that there are, in the order of the page."""
    alt, caption = RUN_FIGURES["gains"]
    over = f"Intervals are over this run's peers and test {examples(summary)}, not over seeds."
    return pictures(folder / "figures", {**RUN_FIGURES, "gains": (alt, caption + over)})


def _probes(summary: Mapping[str, Any]) -> list[Table]:
    """The table of probes: accuracy in all conditions but the control runs, and the gain over calibrated."""
    probes = summary["probes"]
    conditions = [
        condition
        for condition in Condition
        if condition.control_run is None and any(condition in row for row in probes.values())
    ]
    if not conditions:
        return []
    rows = []
    for name, row in probes.items():
        accuracies = [f"{row[condition]:.1%}" if condition in row else "" for condition in conditions]
        gain = control_runs.with_interval(row["gain"], *row["interval"]) if "gain" in row else ""
        rows.append([probe_name(name, marked=True), *accuracies, gain, row.get("verdict", "")])
        if "ensemble" in row:
            together = [f"{row['ensemble'][each]:.1%}" if each in row["ensemble"] else "" for each in conditions]
            rows.append([f"{probe_name(name)}, ensemble", *together, "", ""])
    names = ["probe", *(CONDITIONS[condition] for condition in conditions), "gain", VERDICT]
    compared = any(name in FOR_COMPARISON for name in probes)
    note = " * on features as they are: for comparison, no verdict." if compared else ""
    arms = buffers(summary.get("config", {}))
    note = (f" Probed with {arms}." if arms else "") + note
    caption = (
        "Accuracy of the probes on controls and trained peers. Gains in points over calibrated (untrained weights, "
        f"forward passes only), with 95% intervals over this run's peers and test {examples(summary)}.{note}"
    )
    return [Table(caption, names, rows, words=(VERDICT,))]


def _class_accuracy(summary: Mapping[str, Any]) -> list[Table]:
    """The table of accuracies by whose classes the images are of; none if all peers hold all."""
    names, rows = accuracy_table(summary)
    return [Table(f"{capitalised(scopes_meant(summary))}.", names, rows)] if rows else []


def _liars(summary: Mapping[str, Any]) -> list[Table]:
    """The table of who lies, and what became of their lies; none if nobody does."""
    names, rows = unequal.liars_of(summary)
    return [Table(f"{capitalised(unequal.LIARS_MEANT)}.", names, rows, words=(names[1],))] if rows else []


def _control_runs(summary: Mapping[str, Any]) -> list[Table]:
    """The tables of the control runs: the trained peers against each of them, and what each training did."""
    compared, trainings = control_runs.compared_rows(summary), control_runs.training_rows(summary)
    tables = []
    if compared:
        caption = (
            "The trained peers against each control run. Gains in points, with 95% intervals over this run's peers and "
            f"test {examples(summary)}. {'. '.join(map(capitalised, control_runs.meanings(summary)))}."
        )
        tables.append(Table(caption, control_runs.COMPARED, compared, words=("control", VERDICT)))
    if trainings:
        what = "What each training did: gradient norm of the first step and relative weight change, means of students."
        tables.append(Table(what, control_runs.TRAINED, trainings))
    return tables
