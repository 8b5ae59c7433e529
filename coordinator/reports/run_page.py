"""`report.html` of a run: one self-contained page that works offline and on a phone."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from coordinator.measures.declared import Shown, shown_in
from coordinator.measures.gains import FOR_COMPARISON, Condition
from coordinator.reports import control_runs, html
from coordinator.reports.formatting import listed
from coordinator.reports.html import Texts
from coordinator.reports.matrices import spectra
from coordinator.reports.wording import CONDITIONS, examples, probe_name, untrained

CURVES = listed([measure.title for measure in shown_in(Shown.CURVE)]).capitalize()
RUN_FIGURES: Texts = {
    "consensus": (
        f"{CURVES} over the rounds, and bars of the probes' accuracy",
        f"{CURVES} of the peers over the rounds; accuracy of the probes on the controls and the trained peers. Where "
        "evaluation.probe_every is set, also over the rounds: mean and range of the students, dashed the controls.",
    ),
    "topology": (
        "The peers on a circle with arrows from teachers to students",
        "Who teaches whom: an arrow from teacher to student. Peers are coloured by their gain where it is known.",
    ),
}


def render(summary: dict[str, Any], lines: list[str], config: str, folder: Path) -> str:
    """The HTML of a run's page: the experiment, its results, the figures, and how to repeat the run.

    lines: the report's sentences. config: the text of config.toml. Figures come from the folder `figures` in `folder`.
    """
    ending = [f"{summary['status']}: {summary['message']}"] if summary["message"] else []
    body = _experiment_section(summary) + html.section(
        "What came out", html.words([*ending, *control_runs.verdict_sentences(summary), *lines])
    )
    body += html.section("Did they learn?", _probes(summary["probes"], examples(summary)))
    body += html.section("Did the exchange teach?", _control_runs(summary))
    body += html.section("Figures", html.figures(folder / "figures", RUN_FIGURES))
    body += html.again("peer-consensus run config.toml", "config.toml", config)
    return html.page(folder.name, body)


# ---- the experiment ----


def _experiment_section(summary: Mapping[str, Any]) -> str:
    """The section on a run's data, peers, topology and exchange; empty if the summary has no config."""
    if "config" not in summary:
        return ""
    config, facts, what = summary["config"], summary["topology"], examples(summary)
    data, run, topology = config["data"], config["run"], config["topology"]
    entries = {
        "Data": f"{_data(summary)}, batches of {data['batch_size']}"
        + (f"; {data['validation']:,} training {what} stand in for the test {what}" if data["validation"] else ""),
        "Peers": "; ".join(_group(group) for group in summary["peers"]) + _frozen(config["peers"]),
        "Topology": f"{topology['kind']}: {facts['messages_per_round']:g} messages a round"
        + (f", self-weight {topology['self_weight']:g}" if "self_weight" in topology else ""),
        **{name.capitalize(): text for name, text in spectra(facts).items()},
        "Exchange": "; ".join(exchange(config["exchange"])),
        "Rounds": f"{run['rounds']:,}, of which {summary['rounds']:,} were completed; seed {run['seed']}",
        "Controls": ", ".join(
            ["raw pixels", untrained(config), "calibrated", *optional_controls(config["evaluation"])]
        ),
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in entries.items())
    return html.section("What was asked", f"<dl>{rows}</dl>")


def _data(summary: Mapping[str, Any]) -> str:
    section, data = summary["config"]["data"], summary.get("data")
    name = f"{section['name']}, given from Python" if section["kind"] == "given" else section["kind"]
    if data is None:  # a summary of an older version, without data
        return str(name)
    counts = f"{data['train']:,} training and {data['test']:,} test {examples(summary)}"
    return f"{name} ({counts}, SHA-256 {data['sha256'][:12]})"


def exchange(exchange: Mapping[str, Any]) -> list[str]:
    """What peers send, its target and loss, and the weights they teach with, as parts of a sentence."""
    parts = [
        f"{exchange['what']} as {exchange['dtype']}",
        f"target {variant(exchange['target'])}",
        f"loss {variant(exchange['loss'])}",
        f"{exchange['roles'].replace('-', ' ')} studies",
    ]
    if exchange["refresh_every"] != 1:
        often = f"renewed every {exchange['refresh_every']} rounds" if exchange["refresh_every"] else "never renewed"
        parts.append(f"peers teach with a snapshot of themselves, {often}")
    if exchange["teacher_ema"]:
        parts.append(f"peers teach with a moving average of momentum {exchange['teacher_ema']:g}")
    if exchange["supervised"]:
        parts.append(f"labels with weight {exchange['supervised']:g}")
    return parts


def optional_controls(evaluation: Mapping[str, Any]) -> list[str]:
    """The controls that run only if the config enables them, because they cost more."""
    names = [CONDITIONS[condition] for condition in Condition if evaluation.get(condition) is True]
    return [*names, *evaluation.get("controls", ())]


def _group(group: Mapping[str, Any]) -> str:
    return (
        f"{group['count']} with {group['model']}, {group['norm']} norm, {group['head']} head, {group['optimizer']}, "
        f"{group['num_parameters']:,} parameters"
    )


def _frozen(peers: Mapping[str, Any]) -> str:
    return f"; frozen: {', '.join(map(str, peers['frozen']))}" if peers["frozen"] else ""


def variant(table: Mapping[str, Any]) -> str:
    """A variant with its settings, such as `standardise (temperature 0.5)`."""
    options = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in table.items() if key != "kind")
    return f"{table['kind']} ({options})" if options else str(table["kind"])


# ---- tables ----


def _probes(probes: Mapping[str, Any], what: str) -> str:
    """The table of probes: accuracy in all conditions but the control runs, and the gain over calibrated."""
    conditions = [
        condition
        for condition in Condition
        if condition.control_run is None and any(condition in row for row in probes.values())
    ]
    if not conditions:
        return ""
    rows = []
    for name, row in probes.items():
        accuracies = [f"{row[condition]:.1%}" if condition in row else "" for condition in conditions]
        gain = control_runs.with_interval(row["gain"], *row["interval"]) if "gain" in row else ""
        rows.append([probe_name(name, marked=True), *accuracies, gain, row.get("verdict", "")])
        if "ensemble" in row:
            together = [f"{row['ensemble'][each]:.1%}" if each in row["ensemble"] else "" for each in conditions]
            rows.append([f"{probe_name(name)}, ensemble", *together, "", ""])
    names = ["probe", *(CONDITIONS[condition] for condition in conditions), "gain", "verdict"]
    compared = any(name in FOR_COMPARISON for name in probes)
    note = " * on features as they are: for comparison, no verdict." if compared else ""
    caption = (
        "Accuracy of the probes on controls and trained peers. Gains in points over calibrated (untrained weights, "
        f"forward passes only), with 95% intervals over this run's peers and test {what}.{note}"
    )
    return html.table(caption, names, rows)


def _control_runs(summary: Mapping[str, Any]) -> str:
    """The tables of the control runs: the trained peers against each of them, and what each training did."""
    compared, trainings = control_runs.compared_rows(summary), control_runs.training_rows(summary)
    caption = (
        f"The trained peers against each control run ({control_runs.meanings(summary)}). Gains in points, with 95% "
        f"intervals over this run's peers and test {examples(summary)}."
    )
    text = html.table(caption, control_runs.COMPARED, compared) if compared else ""
    if trainings:
        what = "What each training did: gradient norm of the first step and relative weight change, means of students."
        text += html.table(what, control_runs.TRAINED, trainings)
    return text
