import subprocess
import sys

import pytest

from peers.probing.config import KNN, ProbeConfig
from peers.probing.memory import probing_bytes

# the peak is of the process: one for each probe; resource's ru_maxrss begins at that of the process that started it
MEASURE = """
import sys, torch
from peers.probing import probes
name, train, test, dim, classes = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
def peak():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))  # KiB
def drawn(rows):
    return torch.randn(rows, dim, generator=generator), torch.randint(0, classes, (rows,), generator=generator)
def run(train, train_labels, test, test_labels, classes):
    if name != "sgd":
        train, test = probes.standardise_by(train, test)  # kept for all probes that want them so
    if name == "knn":
        probes.knn(train, train_labels, test, test_labels, classes)
    elif name == "linear":
        probes.ridge(train, train_labels, test, test_labels, classes, penalties=(1.0, 2.0), standardise=False)
    else:
        probes.sgd_probe(train, train_labels, test, test_labels, classes, generator=generator, epochs=1)
features = *drawn(train), *drawn(test)
warm = features[0][:50, :4], features[1][:50] % 3, features[2][:50, :4], features[3][:50] % 3
run(*warm, 3)
before = peak()
run(*features, classes)
print((peak() - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from Linux's /proc")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("knn", (4000, 200, 128, 8000)),
        ("knn", (4000, 2000, 4000, 10)),  # wide features, of which there are two copies for a moment
        ("linear", (4000, 200, 128, 3000)),  # primal
        ("linear", (1000, 500, 8000, 1000)),  # dual
        ("sgd", (4000, 200, 128, 8000)),
    ],
)
def test_probing_bytes__as_measured(name: str, sizes: tuple[int, int, int, int]) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE, name, *map(str, sizes)], capture_output=True, text=True, check=True
    )
    config = ProbeConfig(probes=(name,), probe_train=sizes[0], probe_test=sizes[1])  # type: ignore[arg-type]
    assert int(answer.stdout) == pytest.approx(probing_bytes(config, *sizes), rel=0.25)


def test_probing_bytes__grows_with_the_classes_and_no_more_than_the_images_that_are_seen() -> None:
    one_hot = 12 * 4000  # bytes a class: int64, then float32
    knn = ProbeConfig(probes=("knn",), knn=KNN(k=1))
    few, many = (probing_bytes(knn, 10**6, 10**6, 64, classes) for classes in (10_000, 20_000))
    assert many - few == one_hot * 10_000
    assert probing_bytes(knn, 4000, 2000, 64, 10_000) == few
    assert probing_bytes(ProbeConfig(probes=()), 4000, 2000, 64, 10_000) == 0
