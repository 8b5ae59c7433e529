"""MLflow's experiments, and stores in SQLite files: their location, a check that they are usable, their artifacts."""

import json
import os
import re
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from coordinator.records.tracking.mlflow_names import VIEW

FILE, ARTIFACTS = "mlflow.db", "mlartifacts"
KIND, SHARED_VIEW = "mlflow.experimentKind", "verdicts"
VIEW_TAG = f"mlflow.sharedViewState.{SHARED_VIEW}"
EXPERIMENT_TAGS = {  # as MLflow's own page has them: training of models, and a view of the runs that can be shared
    KIND: "custom_model_development",
    VIEW_TAG: json.dumps({"selectedColumns": list(VIEW), "columnOrder": list(VIEW), "columnWidths": VIEW}),
}
TRAINING = "workflowType=machine_learning"  # without it, MLflow's page opens for traces of language models
BUSY = 5.0  # seconds to wait for another process's lock on the file


def store_uri(output: str | Path) -> str:
    """The default store of an output folder: one SQLite file for all its runs."""
    return uri_of(Path(output).absolute() / FILE)


def uri_of(file: Path) -> str:
    """The URI of a store in an SQLite file, which need not exist yet."""
    path = str(file)
    quoted = path.replace("%", "%25").replace("?", "%3F")  # only the characters that SQLAlchemy decodes
    driver = "" if quoted == path else "+pysqlite"  # without it, MLflow creates a folder with the quoted name
    return f"sqlite{driver}:///{quoted}"


def sqlite_file(uri: str) -> Path | None:
    """The SQLite file of a store; None if the store is not an SQLite file."""
    match = re.match(r"sqlite(?:\+\w+)?:///([^?]+)", uri)
    name = unquote(match[1]) if match else ""
    return Path(name).absolute() if name and not name.startswith((":memory:", "file:")) else None


def check_usable(path: Path) -> None:
    """Check whether SQLite can write to a file now; MLflow itself would retry for many minutes.

    Raises: OSError for a temporary problem; ValueError if it is not an SQLite file.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder '{path.parent}'")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would block
        raise ValueError(f"'{path}' is no SQLite file")
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=BUSY)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.OperationalError as error:
        raise OSError(str(error)) from None
    except sqlite3.DatabaseError:
        raise ValueError(f"'{path}' is no SQLite file") from None


def artifacts_beside(path: Path) -> str:
    """The URI of the folder with the artifacts of a store's runs."""
    return (path.parent / ARTIFACTS).as_uri()


def bring_artifacts(path: Path) -> None:
    """Update the artifact URIs in a store that was moved or copied with its folder: MLflow stores absolute paths.

    This applies to experiments whose artifacts lay beside the store, and in them to runs whose artifacts exist here, or
    no longer exist at the old path. It is one transaction; nothing is written if nothing was moved. Raises: OSError.
    """
    here = artifacts_beside(path)
    try:
        with closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as store:
            tables = store.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('experiments', 'runs')")
            if tables.fetchone()[0] < 2 or not _moved_experiments(store, here):
                return
            store.execute("BEGIN IMMEDIATE")
            for number, before in _moved_experiments(store, here):
                store.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here, number))
                for run, uri in store.execute(
                    "SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?", (number,)
                ).fetchall():
                    now = _present_uri(uri or "", before, here)
                    store.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (now, run))
            store.execute("COMMIT")
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def _moved_experiments(store: sqlite3.Connection, here: str) -> list[tuple[int, str]]:
    """The experiments whose artifacts lay beside the store at its former path: their ids and old URIs."""
    rows = store.execute(
        "SELECT experiment_id, artifact_location FROM experiments WHERE artifact_location <> ?", (here,)
    )
    return [(number, uri) for number, uri in rows if _beside_a_store(number, uri) and not _same_folder(uri, here)]


def _beside_a_store(number: int, uri: str) -> bool:
    """Whether a URI ends like that of artifacts beside a store, or like that of MLflow's own experiment `Default`."""
    return (uri.startswith("file:") and uri.endswith(f"/{ARTIFACTS}")) or (number == 0 and uri.endswith("/mlruns/0"))


def _same_folder(one: str, other: str) -> bool:
    """Whether two URIs name the same existing folder, possibly by different paths."""
    paths = [_path_of(uri) for uri in (one, other)]
    return all(path.exists() for path in paths) and os.path.samefile(*paths)


def _present_uri(uri: str, before: str, here: str) -> str:
    """The present URI of a run's artifacts."""
    if not uri.startswith(f"{before}/"):
        return uri
    now = here + uri[len(before) :]
    return now if _path_of(now).exists() or not _path_of(uri).exists() else uri


def _path_of(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


def experiment_of(client: Any, name: str, artifacts: str | None) -> str:
    """The id of an experiment, created if necessary; another run may create it at the same time.

    One that has no kind yet is marked as one of training, and gets the view in which the runs' verdicts are columns.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts, tags=EXPERIMENT_TAGS))
        except Exception:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    for tag in EXPERIMENT_TAGS.keys() - experiment.tags.keys():
        with suppress(Exception):  # who may not write it still may log runs
            client.set_experiment_tag(experiment.experiment_id, tag, EXPERIMENT_TAGS[tag])
    return str(experiment.experiment_id)


def page_of(path: Path) -> str:
    """The part of the address, after the server's, of the page with the newest run's experiment, set to training.

    With the columns of the view that `experiment_of` leaves; versions of MLflow without such views ignore it.
    """
    query = """SELECT experiments.experiment_id, EXISTS (SELECT * FROM experiment_tags
            WHERE experiment_tags.experiment_id = experiments.experiment_id AND key = ?)
        FROM experiments JOIN runs USING (experiment_id)
        WHERE experiments.lifecycle_stage = 'active' AND runs.lifecycle_stage = 'active'
        ORDER BY runs.start_time DESC LIMIT 1"""
    try:
        with closing(sqlite3.connect(path, timeout=BUSY)) as store:
            newest = store.execute(query, (VIEW_TAG,)).fetchone()
    except sqlite3.Error:  # a store without tables, or of another version
        newest = None
    if newest is None:
        return f"/#/experiments?{TRAINING}"
    identity, has_view = newest
    return f"/#/experiments/{identity}/runs?{TRAINING}" + (f"&viewStateShareKey={SHARED_VIEW}" if has_view else "")
