"""Chunks of images: how large, and that every image is in one."""

import pytest
import torch
from torch import Tensor, nn

from peers.networks.models import mlp, paper_cnn, small_cnn
from peers.probing.forwards import CHUNK, LEAST, bounds, chunk_of, in_chunks

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("count", "expected"),
    [(3, [(0, 3)]), (16, [(0, 16)]), (31, [(0, 31)]), (32, [(0, 16), (16, 32)]), (50, [(0, 16), (16, 32), (32, 50)])],
)
def test_bounds__the_last_chunk_holds_what_is_left(count: int, expected: list[tuple[int, int]]) -> None:
    assert list(bounds(count, 16)) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(47, [(0, 47)]), (48, [(0, 32), (32, 48)]), (79, [(0, 32), (32, 79)]), (80, [(0, 32), (32, 64), (64, 80)])],
)
def test_bounds__only_a_few_are_added_to_the_last_chunk(count: int, expected: list[tuple[int, int]]) -> None:
    assert list(bounds(count, 32)) == expected


def test_chunk_of__small_only_for_convolutions_of_large_images_on_a_cpu() -> None:
    network = small_cnn((3, 32, 32), [16], "batch")
    assert chunk_of(network, 32 * 32, CPU) == 64
    assert chunk_of(network, 2**30, CPU) == LEAST
    assert chunk_of(network, 8 * 8, CPU) == CHUNK
    assert chunk_of(paper_cnn((3, 32, 32), "batch"), 32 * 32, CPU) == LEAST
    assert chunk_of(network, 32 * 32, torch.device("cuda")) == CHUNK
    assert chunk_of(mlp((3, 32, 32), [4], "batch"), 32 * 32, CPU) == CHUNK
    assert chunk_of(nn.Sequential(network, nn.Linear(4, 4)), 32 * 32, CPU) == CHUNK


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels-last"])
@pytest.mark.parametrize("norm", ["batch", "group"])
@torch.no_grad()
def test_in_chunks__convolutions_give_the_bits_of_all_images_at_once(layout: torch.memory_format, norm: str) -> None:
    images = torch.randn(37, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for network in (small_cnn((3, 16, 16), [8, 16], norm), paper_cnn((3, 16, 16), norm)):  # type: ignore[arg-type]
        network = network.eval().to(memory_format=layout)
        seen: list[int] = []

        def of_chunk(start: int, stop: int, network: nn.Module = network, seen: list[int] = seen) -> Tensor:
            seen.append(stop - start)
            found: Tensor = network(images[start:stop])
            return found

        assert torch.equal(in_chunks(of_chunk, len(images), LEAST), network(images))
        assert seen == [16, 21]
