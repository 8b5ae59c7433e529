"""Checks of a whole config against its data and networks, when a run is planned."""

from coordinator.experiment.config import ConfigError, RunConfig
from coordinator.experiment.liar_checks import check_pooling
from coordinator.experiment.private_data import check_holdings
from coordinator.planning.idle_liars import warn_of_idle_liars
from coordinator.planning.makes import GroupPlan
from coordinator.planning.probe_checks import check_probes
from coordinator.planning.views import check_views, warn_of_equal_views
from peers.data import dataset_check
from peers.data.datasets import Dataset
from peers.data.formats.shapes import noun
from topologies.schedule import Schedule


def check_data(config: RunConfig, dataset: Dataset, schedule: Schedule) -> list[int]:
    """Refuse data that are not sound, or not what the settings of peers need; returns the teachers that see nothing.

    Raises: ValueError.
    """
    dataset_check.check(dataset)
    check_holdings(config.data, dataset, config.peers.count, config.run.seed)
    dataset_check.check_settings(dataset.shape, flip=config.data.flip, layout=config.hosting.layout)
    blind = check_views(config, dataset, schedule)
    warn_of_equal_views(config)
    return blind


def check_widths(config: RunConfig, schedule: Schedule, dataset: Dataset, groups: tuple[GroupPlan, ...]) -> int:
    """Check the config against data and networks; returns the width of exchanged vectors. Raises: ConfigError."""
    features = config.exchange.what == "features"
    widths = sorted({group.feature_dim if features else group.output_dim for group in groups})
    if len(widths) > 1:
        raise ConfigError(
            f"peers.groups: all must exchange vectors of one width, got {', '.join(map(str, widths))}: "
            + ("exchange logits through heads of one dim" if features else "give them heads of one dim")
        )
    num_train, num_test, what = len(dataset.train_labels), len(dataset.test_labels), noun(dataset.shape)
    if num_test < 2:
        raise ConfigError(f"data: at least 2 test {what} are needed, got {num_test}: raise data.test_limit or add some")
    if config.data.partition is None and config.data.batch_size > num_train:
        raise ConfigError(
            f"data.batch_size must be at most the {num_train} training {what}, got {config.data.batch_size}: lower it"
        )
    if config.exchange.top_k >= widths[0]:
        raise ConfigError(
            f"exchange.top_k must be below the {widths[0]} outputs, got {config.exchange.top_k}: lower it, or set it "
            "to 0 to send all"
        )
    check_probes(config.evaluation, num_train)
    if config.exchange.supervised and widths[0] < dataset.num_classes:
        raise ConfigError(
            f"exchange.supervised needs an output per class: {dataset.num_classes} classes, got {widths[0]} outputs; "
            "set peers.head.dim"
        )
    check_pooling(config.peers, config.exchange, schedule, config.run.rounds, widths[0])
    warn_of_idle_liars(config, schedule)
    return widths[0]
