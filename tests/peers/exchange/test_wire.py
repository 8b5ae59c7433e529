"""Wire formats: exact bytes, error bounds, what is not finite, and rows of a pack being packs of rows."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peers.exchange.messages import Message, check, decode
from peers.exchange.sums import Sum
from peers.exchange.wire import Wire

CPU = torch.device("cpu")
DTYPES = ("float32", "float16", "bfloat16", "int8")
FORMATS = [Wire(dtype, top_k) for dtype, top_k in product(DTYPES, (0, 1, 3))]


def probs(*shape: int, seed: int = 0, temperature: float = 1.0) -> torch.Tensor:
    logits = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.softmax(logits / temperature, dim=-1)


def encode(sender: int, round_index: int, outputs: torch.Tensor, wire: Wire) -> Message:
    return Message(sender, round_index, wire, outputs.shape[-1], wire.pack(outputs))


def there_and_back(wire: Wire, outputs: torch.Tensor) -> torch.Tensor:
    return wire.unpack(wire.pack(outputs), outputs.shape[-1], CPU)


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_num_bytes__is_what_a_payload_holds(wire: Wire):
    message = encode(3, 4, probs(7, 5), wire)
    values, scales, places = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}[wire.dtype], 0, 0
    sent = wire.top_k or 5
    if wire.dtype == "int8":
        scales = 4
    if wire.top_k:
        places = 2
    assert message.num_bytes == 7 * (sent * (values + places) + scales) == wire.num_bytes(7, 5)


@pytest.mark.parametrize(("width", "place"), [(2**16, 2), (2**16 + 1, 4)])
def test_num_bytes__places_beyond_16_bits_take_four(width: int, place: int):
    outputs = torch.zeros(2, width)
    outputs[:, -1] = 1.0
    wire = Wire("float32", 1)
    payload = wire.pack(outputs)
    assert sum(each.nbytes for each in payload) == wire.num_bytes(2, width) == 2 * (4 + place)
    assert there_and_back(wire, outputs)[:, -1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_pack__a_row_of_a_stack_is_the_pack_of_that_row(wire: Wire):
    """Bit for bit, with ties and zeros, in lengths that do not fill the processor's vectors."""
    stack = probs(4, 7, 37)
    stack[2, 3], stack[3, 0] = 1 / 37, 0.0
    together = wire.pack(stack)
    for row in range(4):
        alone = wire.pack(stack[row])
        for part, other in zip(together, alone, strict=True):
            assert (part[row].tobytes(), part.dtype) == (other.tobytes(), other.dtype)
        assert torch.equal(wire.unpack(alone, 37, CPU), wire.unpack(together, 37, CPU)[row])


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_pack__a_peer_that_diverged_leaves_the_others_rows_alone(wire: Wire):
    stack = probs(3, 4, 9)
    whole = there_and_back(wire, stack)
    stack[1, 2, 5], whole[1, 2] = torch.inf, torch.nan
    back = there_and_back(wire, stack)
    assert not torch.isfinite(back[1, 2]).all()
    back[1, 2] = torch.nan
    np.testing.assert_array_equal(back, whole)


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_pack__does_not_depend_on_how_the_outputs_lie_in_memory(wire: Wire):
    outputs = probs(6, 9)
    expected = [each.tobytes() for each in wire.pack(outputs)]
    for same in (outputs.t().contiguous().t(), outputs.repeat_interleave(2, dim=1)[:, ::2]):
        assert not same.is_contiguous()
        assert [each.tobytes() for each in wire.pack(same)] == expected
    same = outputs[:1].expand(3, 9)
    assert [each.tobytes() for each in wire.pack(same)] == [each.tobytes() for each in wire.pack(same.contiguous())]


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_unpack__leaves_read_only_arrays_alone_and_shares_no_memory(wire: Wire):
    outputs = probs(3, 6)
    payload = wire.pack(outputs)
    before = [each.copy() for each in payload]
    for each in payload:
        each.setflags(write=False)
    wire.unpack(payload, 6, CPU).add_(1)
    outputs.add_(1)
    for each, old in zip(payload, before, strict=True):
        np.testing.assert_array_equal(each, old)


@pytest.mark.parametrize(("dtype", "error"), [("float32", 0.0), ("float16", 2**-11), ("bfloat16", 2**-8)])
def test_floats__are_rounded_to_nearest(dtype: Any, error: float):
    outputs = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    back = there_and_back(Wire(dtype), outputs)
    assert back.dtype == torch.float32 and torch.equal(back, outputs.to(getattr(torch, dtype)).float())
    assert ((back - outputs).abs() <= error * outputs.abs()).all()


def test_int8__by_hand():
    """Scales 2 / 127 and 0: the multiples are 127, -63.5 -> -64, 31.75 -> 32, 0; and zeros stay."""
    outputs = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    whole, scales = Wire("int8").pack(outputs)
    assert whole.tolist() == [[127, -64, 32, 0], [0, 0, 0, 0]] and whole.dtype == np.int8
    assert scales.tolist() == [np.float32(2) / np.float32(127), 0.0]
    back = there_and_back(Wire("int8"), outputs)
    np.testing.assert_allclose(back[0], np.array([127, -64, 32, 0]) * 2 / 127, rtol=1e-6)
    assert back[1].tolist() == [0.0] * 4


def test_int8__halves_are_rounded_to_even():
    whole, scales = Wire("int8").pack(torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]]))
    assert (whole.tolist(), scales.tolist()) == ([[127, 0, 2, 2, 0, -2, -2]], [1.0])


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=2, max_size=20))
@settings(max_examples=200, deadline=None)
def test_int8__is_off_by_half_a_step_at_most(values: list[float]):
    outputs = torch.tensor([values])
    back = there_and_back(Wire("int8"), outputs)
    step = outputs.abs().max().double() / 127
    assert ((back.double() - outputs.double()).abs() <= step * (0.5 + 1e-5) + 1e-43).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("top_k", [0, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_pack__what_is_not_finite_stays_so(dtype: Any, top_k: int, value: float):
    """A peer that diverged must be seen to have: it drops out by what arrives, whatever the format."""
    outputs = probs(4, 6)
    outputs[2, 3] = value
    finite = torch.isfinite(there_and_back(Wire(dtype, top_k), outputs)).all(dim=1)
    assert finite.tolist() == [True, True, False, True]


def test_float16__overflow_is_not_finite():
    assert not torch.isfinite(there_and_back(Wire("float16"), torch.tensor([[1e5, 0.0]]))).all()


def test_top_k__by_hand_with_the_rest_spread_evenly():
    outputs = torch.tensor([[0.5, 0.1, 0.3, 0.1], [0.25, 0.25, 0.25, 0.25]])
    back = there_and_back(Wire("float32", 2), outputs)
    np.testing.assert_allclose(back, [[0.5, 0.1, 0.3, 0.1], [0.25] * 4], rtol=1e-6)
    assert Wire("float32", 2).pack(outputs)[1].tolist() == [[0, 2], [0, 1]]  # of equals the first
    np.testing.assert_allclose(there_and_back(Wire("float32", 1), outputs)[0], [0.5, *[0.5 / 3] * 3], rtol=1e-6)


def test_top_k__of_many_equals_the_first_are_sent():
    outputs = torch.full((2, 300), 1 / 300)
    outputs[1, 200] = 0.5
    places = Wire("float32", 4).pack(outputs)[1]
    assert places.tolist() == [[0, 1, 2, 3], [200, 0, 1, 2]] and places.dtype == np.uint16


@pytest.mark.parametrize("dtype", DTYPES)
def test_top_k__what_rounds_to_more_than_one_is_scaled_and_leaves_nothing(dtype: Any):
    """Kept 0.67 and 0.33, and 1e-9 beside them: the sum is 1, whatever the two became on the way."""
    back = there_and_back(Wire(dtype, 2), torch.tensor([[0.67, 1e-9, 0.33, 1e-9]]))
    np.testing.assert_allclose(back.double().sum(), 1.0, atol=2e-7)
    np.testing.assert_allclose(back[0], [0.67, 0.0, 0.33, 0.0], atol=0.005)
    assert (back >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=st.integers(0, 1000), k=st.integers(1, 8), sharp=st.sampled_from([0.05, 1.0]))
@settings(max_examples=30, deadline=None)
def test_top_k__gives_distributions_that_keep_the_largest(dtype: Any, seed: int, k: int, sharp: float):
    outputs = probs(5, 9, seed=seed, temperature=sharp)
    back = there_and_back(Wire(dtype, k), outputs)
    np.testing.assert_allclose(back.sum(dim=1), 1.0, atol=1e-6)
    assert (back >= 0).all()
    kept = outputs.topk(k, dim=1).indices
    np.testing.assert_allclose(back.gather(1, kept), outputs.gather(1, kept), atol=0.01)
    rest = back.scatter(1, kept, -1.0)
    left = rest[rest >= 0].view(5, -1)
    assert (left - left[:, :1]).abs().max() == 0  # what was not sent is equal


def test_message__of_a_peer_that_dropped_out_is_empty():
    assert Message(0, 0, Wire(), 5, None).num_bytes == 0


def test_encode__is_detached_and_decodes_to_itself():
    outputs = torch.randn(4, 3, requires_grad=True)
    message = encode(1, 2, outputs, Wire())
    assert (message.sender, message.round_index, message.width) == (1, 2, 3)
    assert torch.equal(decode(message, CPU), outputs.detach()) and not decode(message, CPU).requires_grad


# ---- what a receiver refuses ----


@pytest.mark.parametrize("temperature", [0.05, 1.0, 5.0])
@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_check__takes_what_peers_send(wire: Wire, temperature: float):
    for seed in range(20):
        message = encode(1, 2, probs(16, 40, seed=seed, temperature=temperature), wire)
        assert message.payload is not None and wire.flaw(message.payload, 16, 40, distribution=True) == ""
        check(message, wire, 40, 16, distribution=True)  # raises nothing
    check(replace(message, payload=None), wire, 40, 16, distribution=True)  # of one that has dropped out
    if not wire.top_k:
        check(encode(1, 2, 50 * torch.randn(16, 40), wire), wire, 40, 16, distribution=False)


def mutations(message: Message, wire: Wire) -> dict[str, Message]:
    """One thing wrong in each."""
    payload = message.payload
    assert payload is not None

    def with_part(place: int, part: np.ndarray) -> Message:
        return replace(message, payload=tuple(part if i == place else each for i, each in enumerate(payload)))

    def with_value(place: int, value: Any) -> Message:
        part = payload[place].copy()
        part.flat[1] = value
        return with_part(place, part)

    nan = {"float32": np.nan, "float16": np.nan, "bfloat16": 0x7FC0}
    found = {
        "another format": replace(message, wire=Wire(wire.dtype, wire.top_k + 1)),
        "another width": replace(message, width=41),
        "a part too few": replace(message, payload=payload[:-1]),
        "a part too many": replace(message, payload=(*payload, payload[0])),
        "a sample too few": with_part(0, payload[0][:-1]),
        "an output too few": with_part(0, payload[0][:, :-1]),
        "another dtype": with_part(0, payload[0].astype(np.float64)),
    }
    if wire.dtype == "int8":
        found |= {f"a scale of {value}": with_value(1, value) for value in (np.nan, np.inf, -1.0, 1e3)}
        found["a negative probability"] = with_value(0, -3)
    else:
        found["nan"] = with_value(0, nan[wire.dtype])
        found["a negative probability"] = with_value(0, -0.25 if wire.dtype != "bfloat16" else -16800)
        found["a probability of 2"] = with_value(0, 2.0 if wire.dtype != "bfloat16" else 0x4000)
    if wire.top_k:
        found["no such place"] = with_value(-1 % len(payload), 40)
    if wire.top_k > 1:
        found["a place twice"] = with_value(-1 % len(payload), payload[-1].flat[0])
    return found


@pytest.mark.parametrize("wire", FORMATS, ids=str)
def test_check__refuses_what_differs_in_anything(wire: Wire):
    message = encode(1, 2, probs(16, 40), wire)
    for name, wrong in mutations(message, wire).items():
        with pytest.raises(ValueError, match=r"^the message of peer 1 for round 2 has ") as caught:
            check(wrong, wire, 40, 16, distribution=True)
        assert "\n" not in str(caught.value), name


def test_sum_check__refuses_what_is_no_sum():
    good = Sum.of(3, [probs(16, 5), probs(16, 5, seed=1)])
    good.check(16, 5, 2)
    Sum(3, 0, None).check(16, 5, 2)
    assert good.values is not None
    for wrong in (
        replace(good, count=3),
        replace(good, count=-1),
        replace(good, count=0),
        replace(good, values=None),
        replace(good, values=good.values[:-1]),
        replace(good, values=good.values * np.nan),
    ):
        with pytest.raises(ValueError, match=r"^the sum for round 3 "):
            wrong.check(16, 5, 2)
