"""What an experiment asks for, in words: data, peers, topology, exchange, rounds and controls."""

from collections.abc import Mapping
from typing import Any

from coordinator.measures.gains import Condition
from coordinator.reports.formatting import count_of
from coordinator.reports.matrices import spectra
from coordinator.reports.views import views_in_words
from coordinator.reports.wording import CONDITIONS, buffers, examples, untrained

DIGITS = 12  # of a digest, for people


def asked(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a run was asked for, by subject; empty if the summary has no config."""
    if "config" not in summary:
        return {}
    config, facts, what = summary["config"], summary["topology"], examples(summary)
    data, run, topology = config["data"], config["run"], config["topology"]
    return {
        "Data": f"{_data(summary)}, batches of {data['batch_size']}"
        + (f"; {data['validation']:,} training {what} stand in for the test {what}" if data["validation"] else ""),
        **({"Private data": private} if (private := _private(config)) else {}),
        "Peers": "; ".join(_group(group) for group in summary["peers"])
        + _frozen(config["peers"])
        + _shared_head(config["peers"]),
        **({"Views": "; ".join(seen)} if (seen := views_in_words(config["peers"])) else {}),
        **_unequal(config["peers"]),
        "Topology": f"{topology['kind']}: {facts['messages_per_round']:g} messages a round"
        + (f", self-weight {topology['self_weight']:g}" if "self_weight" in topology else ""),
        **{name.capitalize(): text for name, text in spectra(facts).items()},
        "Exchange": "; ".join(exchange(config["exchange"])),
        **({"Network": "; ".join(network(config["network"]))} if "network" in config else {}),
        "Rounds": f"{run['rounds']:,}, of which {summary['rounds']:,} were completed; seed {run['seed']}",
        "Controls": ", ".join(
            ["raw pixels", untrained(config), "calibrated", *optional_controls(config["evaluation"])]
        ),
    }


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
    if exchange.get("teacher_anchor", 1) < 1:
        parts.append(f"peers teach with weights at {exchange['teacher_anchor']:g} of the way from their first ones")
    if exchange["supervised"]:
        parts.append(f"labels with weight {exchange['supervised']:g}")
    pooled = rule(exchange)
    return [*parts, f"pooled by {pooled}"] if pooled else parts


def rule(exchange: Mapping[str, Any]) -> str:
    """How a student pools what it hears: `trimmed-mean (b 2), memory expguard`; empty for the plain weighted mean."""
    aggregation, memory, trust = (exchange.get(key) for key in ("aggregation", "memory", "trust"))
    added = [f"memory {memory}"] if memory and memory != "none" else []
    added += [f"trust {variant(trust)}"] if trust and trust["kind"] != "none" else []
    share = exchange.get("confident_share", 1.0)
    added += [f"of the {share:.0%} of the samples that each teacher is surest of"] if share < 1 else []
    if not aggregation or (aggregation["kind"] == "mean" and not added):
        return ""
    return ", ".join([variant({key: value for key, value in aggregation.items() if value is not False}), *added])


def network(section: Mapping[str, Any]) -> list[str]:
    """The simulated network that was asked for, as parts of a sentence; what is left at nothing is left out."""
    parts = [f"clock {section['clock']}{_of_clock(section)}", f"messages: {section['message']}"]
    if section.get("preset"):
        parts.insert(0, f"preset {section['preset']}")
    laws = {name: section[name] for name in ("compute", "latency", "bandwidth", "loss", "churn")}
    parts += [f"{name} {variant(_shown(law))}" for name, law in laws.items() if law["kind"] != "none"]
    slow = section["stragglers"]
    parts += [f"{slow['share']:.0%} stragglers, {slow['slowdown']:g} times slower"] if slow["share"] else []
    parts += ["links rewired to those online"] if section["rewire"] else []
    groups = len(section["groups"])
    own = "their own" if groups > 1 else "its own"
    return parts + ([f"{count_of(groups, 'group')} with settings of {own}"] if groups else [])


def _of_clock(section: Mapping[str, Any]) -> str:
    """The settings that only some clocks have, in brackets."""
    late = section["late"] == "use"
    found = {
        "deadline": [f"{section.get('deadline', 0):g} s, late messages {'used' if late else 'dropped'}"],
        "gossip": [f"wakes every {section['wake_every']:g} s on average"],
    }.get(section["clock"], [])
    if section["clock"] == "free-running" or (section["clock"] == "deadline" and late):
        found.append(f"messages of at most {count_of(section['max_age'], 'round')} of age")
    if section.get("round_seconds"):
        found.append(f"a round is {section['round_seconds']:g} s")
    return f" ({', '.join(found)})" if found else ""


def _shown(law: Mapping[str, Any]) -> dict[str, Any]:
    """A law as `variant` writes it: lists as words, numbers short, and without what is 0, but for its seconds."""
    kept = {key: value for key, value in law.items() if value or key in ("kind", "seconds")}
    words = {key: " ".join(map(str, value)) for key, value in kept.items() if isinstance(value, list)}
    numbers = {key: f"{value:g}" for key, value in kept.items() if isinstance(value, float)}
    return kept | words | numbers


def optional_controls(evaluation: Mapping[str, Any]) -> list[str]:
    """The controls that run only if the config enables them, because they cost more."""
    names = [CONDITIONS[condition] for condition in Condition if evaluation.get(condition) is True]
    return [*names, *evaluation.get("controls", ()), *filter(None, [buffers({"evaluation": evaluation})])]


def variant(table: Mapping[str, Any]) -> str:
    """A variant with its settings, such as `standardise (temperature 0.5)`; of one's own its name, `'mine:lie'`."""
    own = table["kind"] == "import"
    name, left_out = (f"'{table['target']}'", ("kind", "target", "args")) if own else (table["kind"], ("kind",))
    shown = {key: value for key, value in table.items() if key not in left_out} | (table.get("args", {}) if own else {})
    if "digest" in shown:
        shown["digest"] = str(shown["digest"])[:DIGITS]
    options = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())
    return f"{name} ({options})" if options else str(name)


def _data(summary: Mapping[str, Any]) -> str:
    section, data = summary["config"]["data"], summary.get("data")
    name = f"{section['name']}, given from Python" if section["kind"] == "given" else section["kind"]
    if data is None:  # a summary of an older version, without data
        return str(name)
    counts = f"{data['train']:,} training and {data['test']:,} test {examples(summary)}"
    return f"{name} ({counts}, SHA-256 {data['sha256'][:12]})"


def _private(config: Mapping[str, Any]) -> str:
    """How data are dealt out to the peers, and which are public; empty if all peers hold all."""
    data = config["data"]
    if not data.get("partition"):
        return ""
    other = config.get("public")
    public = f"all of {other['kind']}" if other else variant(_shown(data["public"]))
    batch = data.get("private_batch_size") or data["batch_size"]
    return f"partition {variant(_shown(data['partition']))}; public: {public}; private batches of {batch}"


def _group(group: Mapping[str, Any]) -> str:
    return (
        f"{group['count']} with {group['model']}, {group['norm']} norm, {group['head']} head, {group['optimizer']}, "
        f"{group['num_parameters']:,} parameters"
    )


def _unequal(peers: Mapping[str, Any]) -> dict[str, str]:
    """The groups that have names, and who lies how; each only where there are any."""
    groups = [group for group in peers.get("groups", ()) if group.get("name")]
    found = {"Groups": ", ".join(f"{group['name']} ({count_of(group['count'], 'peer')})" for group in groups)}
    lies = [f"{' '.join(map(str, some['peers']))} ({lie(some)})" for some in peers.get("adversaries", ())]
    found["Liars"] = "; ".join(lies)
    return {name: text for name, text in found.items() if text}


def lie(adversaries: Mapping[str, Any]) -> str:
    """What some liars send, and when: `lma from round 100 on, in 50% of the rounds`."""
    since = f" from round {adversaries['from_round']} on" if adversaries.get("from_round") else ""
    share = adversaries.get("share", 1.0)
    return variant(adversaries["attack"]) + since + (f", in {share:.0%} of the rounds" if share < 1 else "")


def _frozen(peers: Mapping[str, Any]) -> str:
    return f"; frozen: {', '.join(map(str, peers['frozen']))}" if peers["frozen"] else ""


def _shared_head(peers: Mapping[str, Any]) -> str:
    shared = peers.get("head_shared", False)
    return f"; all with one frozen random {'head' if shared is True else 'last layer'}" if shared else ""
