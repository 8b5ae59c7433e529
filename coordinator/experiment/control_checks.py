"""What the control runs of `evaluation.controls` need in the other sections, and in the data."""

from collections.abc import Sequence

from coordinator.experiment.sections import EvaluationConfig
from peers.data.config import DataConfig
from peers.data.datasets import Dataset
from peers.data.formats.shapes import noun
from peers.exchange.config import ExchangeConfig
from peers.learning.control import Control
from peers.learning.twin import IRRELEVANT
from peers.networks.config import PeersConfig


def check_controls(
    evaluation: EvaluationConfig,
    data: DataConfig,
    irrelevant: DataConfig | None,
    peers: PeersConfig,
    exchange: ExchangeConfig,
) -> None:
    """Refuse control runs for which something is missing. Raises: ValueError, in one line."""
    controls = evaluation.controls
    for control in (Control.PRIVATE_ONLY, Control.POOLED):
        if control in controls and data.partition is None:
            raise ValueError(
                f"evaluation.controls: {control} trains on private data, but data.partition is left out: set it, or "
                f"leave {control} out"
            )
    if Control.TRUTHFUL in controls and not peers.adversaries:
        raise ValueError(
            "evaluation.controls: truthful is the run without lies, but peers.adversaries names nobody who lies: name "
            "some, or leave truthful out"
        )
    if Control.IRRELEVANT in controls:
        _check_irrelevant(irrelevant, exchange)


def _check_irrelevant(irrelevant: DataConfig | None, exchange: ExchangeConfig) -> None:
    if irrelevant is None:
        raise ValueError(
            "evaluation.controls: irrelevant has teachers that learn from another data set, but the section "
            "[irrelevant] is left out: add one, such as kind = 'digits', or leave irrelevant out"
        )
    if not exchange.has_own_terms and exchange.num_views == 1:
        raise ValueError(
            "evaluation.controls: irrelevant has teachers that learn by themselves, but peers have nothing to learn by "
            "themselves from: set exchange.self_loss, exchange.supervised or exchange.views = 2, or leave irrelevant "
            "out"
        )


def check_irrelevant_data(
    evaluation: EvaluationConfig, data: DataConfig, exchange: ExchangeConfig, dataset: Dataset, outputs: Sequence[int]
) -> None:
    """Refuse another data set from which teachers could not learn as in the run. Raises: ValueError, in one line.

    outputs: the numbers of outputs of the peers' networks.
    """
    if Control.IRRELEVANT not in evaluation.controls:
        return
    other = dataset.others[IRRELEVANT]
    count, batch_size, num_outputs = len(other.train_labels), data.batch_size, min(outputs)
    if count < batch_size:
        raise ValueError(
            f"irrelevant: must have at least the {batch_size} training {noun(other.shape)} of a batch, got {count}: "
            "raise irrelevant.train_limit, or lower data.batch_size"
        )
    if exchange.uses_labels and other.num_classes > num_outputs:
        raise ValueError(
            f"irrelevant: exchange.supervised needs an output per class: {other.num_classes} classes, got "
            f"{num_outputs} outputs; raise peers.head.dim, or name a data set with fewer classes"
        )
