import numpy as np
import pytest

from peers.exchange.assignment import Stats
from peers.exchange.messages import Message
from peers.exchange.sums import Sum
from peers.exchange.wire import Wire
from peers.hosting.packing import packed, packed_bundle, unpacked


@pytest.mark.parametrize(("samples", "as_bytes"), [(256, True), (257, False)])
def test_packed_bundle__large_ones_stay_arrays(samples: int, as_bytes: bool) -> None:
    values = np.arange(samples * 64, dtype=np.float32).reshape(samples, 64)
    found = packed_bundle((Message(3, 7, Wire(), 64, (values,)),))
    assert isinstance(found, bytes) is as_bytes
    (message,) = unpacked(found)
    assert message.key == (3, 7) and message.wire == Wire()
    np.testing.assert_array_equal(message.payload[0], values)


def test_unpacked__gives_back_what_was_packed_and_anything_else_as_it_is() -> None:
    stats = {4: Stats(0.5, 1.5, 64, 0.01)}
    assert unpacked(packed(stats)) == stats
    assert unpacked(7) == 7 and unpacked(None) is None
    (part,) = unpacked(packed_bundle((Sum(2, 3, np.ones((2, 2))),)))
    assert part.count == 3 and part.num_bytes == 32
