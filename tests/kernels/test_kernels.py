"""The native kernels equal our cells in float64, and give the same bits however they are run."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
import torch
from pairs import covering
from processes import run_code
from stacks import (
    CELLS,
    DECODER,
    V,
    assert_chunks_are_whole,
    assert_same_bits,
    build_stack,
    decoder_results,
    doubled,
    draw_decoder,
    draw_inputs,
    in_float64,
    positive_sum,
    with_gradients,
)
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from torch.testing import assert_close

from charlm.kernels.library import CELL_NUMBERS, Kernels, load_kernels
from charlm.networks import native
from charlm.networks.building import build_model
from charlm.networks.native import NativeStack
from charlm.networks.recurrent import LayerWeights, Stack, State
from charlm.settings.model import ModelSettings

has_kernels = pytest.mark.kernels
on_each_set = pytest.mark.usefixtures("instruction_set")


# Equality.


BATCHES, LENGTHS = (1, 3, 32), (1, 2, 35)
NARROW = (BATCHES, LENGTHS, (1, 2, 3), (True, False))


def all_sizes(hidden_size: int) -> Iterator[tuple[int, int, int, bool]]:
    """Yield windows (B, T), depths, and whether inputs are one-hot; wide layers alternate these two."""
    if hidden_size < 100:
        yield from product(*NARROW)
        return
    for (b, B), (t, T) in product(enumerate(BATCHES), enumerate(LENGTHS)):
        yield B, T, 1 + (b + t) % 3, (b + 2 * t) % 2 == 0


def some_sizes(hidden_size: int, turn: int) -> list[tuple[int, int, int, bool]]:
    """Return those that have every pair of values together; of wide layers each B and T once, other pairs each turn."""
    sizes = list(all_sizes(hidden_size))
    return sorted(covering(*NARROW)) if hidden_size < 100 else [sizes[3 * b + (b + turn) % 3] for b in range(3)]


@on_each_set
@pytest.mark.parametrize("sizes", ["some", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("hidden_size", [1, 7, 16, 100, 130, 256])
@pytest.mark.parametrize("name", CELLS)
def test_outputs_states_and_gradients_equal_our_cells_in_float64(name: str, hidden_size: int, sizes: str) -> None:
    turn = list(CELLS).index(name) + (hidden_size == 256)
    for B, T, num_layers, is_one_hot in all_sizes(hidden_size) if sizes == "all" else some_sizes(hidden_size, turn):
        stack = build_stack(name, hidden_size, num_layers, is_one_hot=is_one_hot, seed=hidden_size)
        inputs, state = draw_inputs(stack, T, B)
        found = with_gradients(stack, inputs, state)
        for key, value in with_gradients(in_float64(stack), *doubled(inputs, state)).items():
            # One number of float32 is exact to 6e-8, and these are sums of products of sums. Where a tensor has only a
            # few numbers, all of them may be differences of larger ones, and less exact whoever computes them.
            bound = 1e-5 if value.numel() <= 4 else 2e-6
            # A dead relu and a product of 35 small weights leave nothing.
            error = (found[key].double() - value).abs().max() / value.abs().max().clamp(min=1e-30)
            assert error < bound, f"{key} of T {T}, B {B}, {stack.model}: {error:.2e}"


@on_each_set
@pytest.mark.parametrize(("name", "part"), [*product(CELLS, ("outputs", "final h", "one step")), ("lstm", "final c")])
def test_a_loss_of_a_part_of_the_results_has_our_cells_gradients(name: str, part: str) -> None:
    choose = {
        "outputs": lambda outputs, _: outputs,
        "final h": lambda _, final: final[0],
        "final c": lambda _, final: final[1],
        "one step": lambda outputs, _: outputs[2],
    }[part]
    stack = build_stack(name, 7, 2, is_one_hot=False)
    inputs, state = draw_inputs(stack, 5, 3)

    def run_part(stack: Stack) -> Callable[..., tuple[Tensor, State]]:
        return lambda *arguments: (choose(*stack.run(*arguments)), ())

    reference = in_float64(stack)
    found = with_gradients(stack, inputs, state, run_part(stack))
    expected = with_gradients(reference, *doubled(inputs, state), run_part(reference))
    assert_close(found, expected, check_dtype=False, rtol=1e-5, atol=1e-6)


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_views_count_as_what_they_show(name: str) -> None:
    stack = build_stack(name, 7, 2, is_one_hot=False)
    inputs, state = draw_inputs(stack, 5, 3)
    one_hot = build_stack(name, 7, 2)
    for one, own in ((inputs, stack), (draw_inputs(one_hot, 5, 3)[0], one_hot)):
        strided = one.transpose(0, 1).contiguous().transpose(0, 1)
        wide = tuple(torch.stack([part, part], dim=-1)[..., 0] for part in state)
        assert not strided.is_contiguous()
        assert not wide[0].is_contiguous()
        assert_same_bits(with_gradients(own, strided, wide), with_gradients(own, one, state))
    # The same row is in every place, as when a prefix is read.
    row = tuple(part[:, :1] for part in state)
    spread, _ = stack.run(inputs[:, :1].expand(-1, 3, -1), tuple(part.expand(-1, 3, -1) for part in row))
    alone, _ = stack.run(inputs[:, :1], row)
    assert torch.equal(spread, alone.expand(-1, 3, -1))


@on_each_set
@pytest.mark.parametrize("num_symbols", [1, 2, 65, 300])
@pytest.mark.parametrize("H", [1, 7, 100, 512])
def test_the_output_layer_and_its_gradients_equal_torchs_in_float64(H: int, num_symbols: int) -> None:
    for T, B in ((1, 1), (2, 3), (35, 32)):
        tensors = draw_decoder(T, B, H, num_symbols)
        expected = decoder_results(linear, tensors, torch.float64)
        for found, value in zip(decoder_results(DECODER.decode, tensors), expected, strict=True):
            assert found.shape == value.shape
            assert (found.double() - value).abs().max() / value.abs().max() < 2e-6


# The same bits.


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_the_number_of_threads_changes_no_bit_forward_or_backward(
    name: str, is_one_hot: bool, set_threads: Callable[[int], None]
) -> None:
    for H, B in ((1, 1), (7, 3), (33, 4), (100, 32)):
        stack = build_stack(name, H, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, 9, B)
        set_threads(1)
        one = with_gradients(stack, inputs, state)
        for threads in (2, 3):
            set_threads(threads)
            assert_same_bits(with_gradients(stack, inputs, state), one)


@on_each_set
def test_the_number_of_threads_changes_no_bit_of_the_output_layer(set_threads: Callable[[int], None]) -> None:
    for T, B, H, num_symbols in ((1, 1, 1, 1), (9, 3, 33, 20), (35, 32, 100, 65)):
        tensors = draw_decoder(T, B, H, num_symbols)
        set_threads(1)
        one = decoder_results(DECODER.decode, tensors)
        set_threads(2)
        assert all(map(torch.equal, decoder_results(DECODER.decode, tensors), one))


@has_kernels
@pytest.mark.parametrize("embedding_size", [None, 6])
@pytest.mark.parametrize("name", CELLS)
def test_the_number_of_threads_changes_no_bit_of_a_models_gradients(
    name: str, embedding_size: int | None, set_threads: Callable[[int], None]
) -> None:
    model = ModelSettings(
        **CELLS[name], hidden_size=64, num_layers=2, embedding_size=embedding_size, implementation="native"
    )
    network = build_model(model, V, seed=0)
    ids = torch.randint(V, (36, 32), generator=torch.Generator().manual_seed(0))

    def gradients(threads: int) -> dict[str, Tensor]:
        set_threads(threads)
        logits, _ = network(ids[:-1], network.initial_state(32))
        loss = cross_entropy(logits.flatten(0, 1), ids[1:].flatten())
        named = dict(network.named_parameters())
        return {"loss": loss.detach()} | dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))

    assert_same_bits(gradients(2), gradients(1))


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_a_row_alone_has_the_bits_it_has_among_others(name: str, is_one_hot: bool) -> None:
    for H in (1, 7, 100, 300):
        stack = build_stack(name, H, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, 6, 32)
        with torch.no_grad():
            outputs, final = stack.run(inputs, state)
            for rows in (slice(5, 6), slice(0, 2), slice(30, 32), slice(3, 6), slice(3, 7), slice(1, 20)):
                some_outputs, some_final = stack.run(inputs[:, rows], tuple(part[:, rows] for part in state))
                assert torch.equal(some_outputs, outputs[:, rows])
                for some, part in zip(some_final, final, strict=True):
                    assert torch.equal(some, part[:, rows])


@on_each_set
@pytest.mark.parametrize("num_symbols", [2, 65])
def test_a_row_of_the_output_layer_alone_has_the_bits_it_has_among_others(num_symbols: int) -> None:
    hidden, weight, bias = draw_decoder(9, 32, 300, num_symbols)
    logits = DECODER.decode(hidden, weight, bias)
    for t, b in ((0, 0), (4, 17), (8, 31)):
        alone = DECODER.decode(hidden[t : t + 1, b : b + 1], weight, bias)
        assert torch.equal(alone, logits[t : t + 1, b : b + 1])


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_chunks_with_the_state_carried_have_the_bits_of_the_whole(name: str, is_one_hot: bool) -> None:
    for H, B in ((1, 1), (7, 3), (100, 4)):
        assert_chunks_are_whole(build_stack(name, H, 2, is_one_hot=is_one_hot), B)


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_gradients_through_a_carried_state_equal_those_of_the_whole(name: str) -> None:
    stack = build_stack(name, 16, 2, is_one_hot=False)
    inputs, before = draw_inputs(stack, 10, 3)

    def run_in_chunks(inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs = []
        for window in inputs.split(4):
            part, state = stack.run(window, state)
            outputs.append(part)
        return torch.cat(outputs), state

    found = with_gradients(stack, inputs, before, run_in_chunks)
    expected = with_gradients(stack, inputs, before)
    assert_close(found, expected, rtol=1e-5, atol=1e-6)


# Graphs.


def live_graph(stack: NativeStack, seed: int) -> tuple[Tensor, list[Tensor]]:
    """Return a loss and the tensors that it has gradients for."""
    inputs, state = draw_inputs(stack, 5, 3, seed=seed)
    leaves = [part.requires_grad_() for part in state]
    outputs, final = stack.run(inputs, tuple(leaves))
    return positive_sum((outputs, *final)), [*leaves, *stack.parameters()]


@on_each_set
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("name", CELLS)
def test_graphs_that_live_at_once_have_the_gradients_of_each_alone(name: str, order: tuple[int, int]) -> None:
    stack = build_stack(name, 7, 2)
    alone = [torch.autograd.grad(*live_graph(stack, seed)) for seed in (0, 1)]
    graphs = [live_graph(stack, seed) for seed in (0, 1)]
    for seed in order:
        assert all(map(torch.equal, torch.autograd.grad(*graphs[seed]), alone[seed]))


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_a_second_walk_back_over_a_graph_is_refused(name: str) -> None:
    stack = build_stack(name, 7, 2)
    loss, leaves = live_graph(stack, 0)
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, leaves)
    assert all(map(torch.equal, first, kept))


@has_kernels
@pytest.mark.parametrize("name", CELLS)
def test_a_gradient_of_a_gradient_is_refused(name: str) -> None:
    loss, leaves = live_graph(build_stack(name, 7), 0)
    gradients = torch.autograd.grad(loss, leaves, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(positive_sum(gradients), leaves)


@has_kernels
@pytest.mark.parametrize("name", CELLS)
def test_what_a_backward_pass_needs_may_not_change_before_it(name: str) -> None:
    for changed in ("weights", "outputs"):
        stack = build_stack(name, 7)
        inputs, state = draw_inputs(stack, 5, 3)
        outputs, _ = stack.run(inputs, state)
        loss = outputs.sum()
        with torch.no_grad():
            (stack.get_parameter("weight_hh_l0") if changed == "weights" else outputs).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


@on_each_set
@pytest.mark.parametrize("is_one_hot", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_without_gradients_the_bits_are_the_same_and_nothing_is_kept(name: str, is_one_hot: bool) -> None:
    stack = build_stack(name, 17, 2, is_one_hot=is_one_hot)
    inputs, state = draw_inputs(stack, 5, 3)
    outputs, final = stack.run(inputs, state)
    assert outputs.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            plain, plain_final = stack.run(inputs, state)
        assert plain.grad_fn is None
        assert not any(part.requires_grad for part in (plain, *plain_final))
        assert torch.equal(plain, outputs)
        assert all(map(torch.equal, plain_final, final))


@on_each_set
def test_frozen_weights_get_no_gradient_and_the_others_theirs() -> None:
    stack = build_stack("lstm", 7, 2, is_one_hot=False)
    inputs, state = draw_inputs(stack, 5, 3)
    free = with_gradients(stack, inputs, state)
    for parameter in stack.parameters():
        parameter.requires_grad_(False)
    stack.get_parameter("bias_hh_l0").requires_grad_(True)
    outputs, final = stack.run(inputs, state)
    positive_sum((outputs, *final)).backward()
    grads = {name: parameter.grad for name, parameter in stack.named_parameters() if parameter.grad is not None}
    assert list(grads) == ["bias_hh_l0"]
    assert torch.equal(grads["bias_hh_l0"], free["gradient of bias_hh_l0"])


@on_each_set
def test_the_final_state_is_no_view_of_the_outputs() -> None:
    stack = build_stack("lstm", 7, 2)
    inputs, state = draw_inputs(stack, 5, 3)
    with torch.no_grad():
        outputs, final = stack.run(inputs, state)
        before = outputs.clone()
        for part in final:
            part.zero_()
    assert torch.equal(outputs, before)


@has_kernels
def test_memory_that_is_not_there_is_an_error() -> None:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    stack = build_stack("gru", 7)
    inputs, _ = draw_inputs(stack, 2, 3)
    hidden = torch.zeros(3, 3, 7)
    weights = tuple(getattr(stack, f"{kind}_l0").detach() for kind in LayerWeights._fields)
    call = native._layer_call(kernels, CELL_NUMBERS["gru_reset_after"], inputs, weights, (hidden,), None)
    # A table of 2^45 rows is refused before a single one of them is read.
    call.input_size = 2**45
    for threads in (1, 2):
        call.threads = threads
        with pytest.raises(MemoryError):
            kernels.forward(call)


# Numbers out of the ordinary.


def sweep() -> Tensor:
    """Return inputs over the whole range of an activation, densest near 0."""
    small = torch.logspace(-45, 2, 20_000, dtype=torch.float64).float()
    line = torch.linspace(-100, 100, 40_001)
    edges = torch.tensor([torch.inf, 3e38, 100.0, 88.8, 88.0, 87.0, 18.1, 9.02, 9.0, 1e-38, 1e-45, 0.0])
    x = torch.cat([edges, -edges, line, small, -small]) + 0.0
    return x[: len(x) // 16 * 16]


def ulps_apart(found: Tensor, expected: Tensor) -> Tensor:
    """Return how many float32 numbers are between two numbers of the same sign."""
    assert torch.equal(found.signbit(), expected.signbit())
    return (found.view(torch.int32).long() - expected.view(torch.int32).long()).abs()


def through_layer(name: str, x: Tensor, hidden_size: int) -> Tensor:
    """Return an activation of each x: tanh of an RNN, or sigmoid of a GRU's update gate."""
    # A look-up, without any product: infinity times a weight of 0 would be no number. A bias of 0 makes -0 to 0.
    columns = x.view(-1, hidden_size).t()  # (H, V)
    stack = build_stack(name, hidden_size, num_symbols=columns.shape[1])
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.zero_()
        # The update gate is the second of three: h' = (1 - z) tanh 0 + z h, with h = 1.
        stack.get_parameter("weight_ih_l0").view(-1, *columns.shape)[1 if name == "gru" else 0] = columns
    ids = torch.arange(columns.shape[1])[None]
    # Use gradients, because a single step without them is left to our cells.
    outputs, _ = stack.run(ids, (torch.ones(1, ids.shape[1], hidden_size),))
    return outputs.detach().flatten()


@on_each_set
@pytest.mark.parametrize("hidden_size", [1, 4, 16])
def test_tanh_is_within_two_units_of_the_last_place(hidden_size: int) -> None:
    x = sweep()
    found = through_layer("rnn tanh", x, hidden_size)
    assert ulps_apart(found, x.tanh()).max() <= 2
    assert ulps_apart(found, x.double().tanh().float()).max() <= 2


@on_each_set
@pytest.mark.parametrize("hidden_size", [1, 4, 16])
def test_sigmoid_is_within_two_units_of_the_last_place(hidden_size: int) -> None:
    x = sweep()
    found = through_layer("gru", x, hidden_size)
    # From there on torch's own result has less than full precision, and ours stays a little above it: both are 0 to
    # anything they are added to or multiplied by.
    is_normal = x > -87.0
    assert ulps_apart(found[is_normal], x[is_normal].sigmoid()).max() <= 2
    assert ulps_apart(found[is_normal], x[is_normal].double().sigmoid().float()).max() <= 2
    assert 0.0 <= found[~is_normal].min() <= found[~is_normal].max() < 2e-38


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_not_a_number_stays_one_and_in_its_row(name: str) -> None:
    for H in (1, 7, 16):
        stack = build_stack(name, H, is_one_hot=False)
        inputs, state = draw_inputs(stack, 3, 4)
        clean, _ = stack.run(inputs, state)
        inputs[1, 2, 0] = torch.nan
        outputs, final = stack.run(inputs, state)
        assert outputs[1:, 2].isnan().all()
        assert all(part[:, 2].isnan().all() for part in final)
        assert torch.equal(outputs[0], clean[0])
        assert torch.equal(outputs[:, [0, 1, 3]], clean[:, [0, 1, 3]])
        (gradient,) = torch.autograd.grad(outputs.sum(), [stack.get_parameter("weight_ih_l0")])
        assert gradient[:, 0].isnan().all()


# Threads.


PROCESS = """
import hashlib, json, os, time
import torch
from charlm.networks.building import build_model
from charlm.networks.modes import left_to_kernels
from charlm.settings.model import ModelSettings
network = build_model(ModelSettings(cell="lstm", hidden_size=64, num_layers=2, implementation="native"), 20, seed=0)
ids = torch.randint(20, (9, 32), generator=torch.Generator().manual_seed(0))
def bits():
    with left_to_kernels(network):
        logits, _ = network(ids, network.initial_state(32))
        tensors = [logits.detach(), *torch.autograd.grad(logits.sum(), list(network.parameters()))]
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()
def num_tasks():
    return len(os.listdir("/proc/self/task"))
torch.set_num_threads(1)
found, before = [bits()], num_tasks()
for threads in (2, 3, 2):
    torch.set_num_threads(threads)
    found.append(bits())
began, used = num_tasks() - before, time.process_time()
time.sleep(0.5)
idle = time.process_time() - used
receiver, sender = os.pipe()
if os.fork() == 0:
    # A child has none of its parent's threads, and starts its own.
    alone = num_tasks()
    os.write(sender, json.dumps([alone, bits(), num_tasks()]).encode())
    os._exit(0)
child = json.loads(os.read(receiver, 4096))
print(json.dumps({"bits": [*found, child.pop(1)], "began": began, "idle": idle, "child": child}))
"""


@has_kernels
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads")
def test_the_kernels_threads_begin_when_needed_and_sleep_when_idle_and_a_child_has_its_own() -> None:
    # Start cold: a fork would have the threads of the process it is forked from.
    ended = run_code(PROCESS, is_cold=True)
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert len(found["bits"]) == 5
    assert len(set(found["bits"])) == 1
    assert found["began"] == 2
    assert found["child"] == [1, 2]
    # A thread that went on spinning would have used half a second of a core.
    assert found["idle"] < 0.1


@on_each_set
@pytest.mark.parametrize("come", [1, 2, 5])
def test_work_is_done_once_however_many_threads_come(come: int, set_threads: Callable[[int], None]) -> None:
    kernels = native.load_kernels()
    assert isinstance(kernels, Kernels)
    asked: list[int] = []

    @ctypes.CFUNCTYPE(None, ctypes.CFUNCTYPE(None, ctypes.c_void_p), ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    def parallel(body: Callable[[int], None], data: int, num_threads: int, _: int) -> None:
        asked.append(num_threads)
        for _ in range(come):
            body(data)

    stack = build_stack("gru before", 33, 2)
    inputs, state = draw_inputs(stack, 5, 4)
    set_threads(1)
    expected = with_gradients(stack, inputs, state)
    set_threads(3)
    kernels.share_threads(ctypes.cast(parallel, ctypes.c_void_p))
    try:
        found = with_gradients(stack, inputs, state)
    finally:
        kernels.share_threads(None)
    assert_same_bits(found, expected)
    assert asked
    assert set(asked) <= {2, 3}


@on_each_set
def test_python_threads_do_not_disturb_each_other(set_threads: Callable[[int], None]) -> None:
    stack = build_stack("lstm", 33, 2)

    def run(seed: int) -> dict[str, Tensor]:
        # Each thread has its own number, which begins with all cores.
        set_threads(2)
        return with_gradients(stack, *draw_inputs(stack, 9, 4, seed=seed))

    expected = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            for found, alone in zip(pool.map(run, range(4)), expected, strict=True):
                assert_same_bits(found, alone)


@on_each_set
@pytest.mark.parametrize("name", CELLS)
def test_an_empty_window_has_gradients_of_zero(name: str) -> None:
    for is_one_hot, (T, B) in product((True, False), ((0, 3), (4, 0))):
        stack = build_stack(name, 7, 2, is_one_hot=is_one_hot)
        inputs, state = draw_inputs(stack, T, B)
        outputs, final = stack.run(inputs, state)
        assert outputs.shape == (T, B, 7)
        for part, before in zip(final, state, strict=True):
            assert torch.equal(part, before)
        gradients = torch.autograd.grad(outputs.sum(), list(stack.parameters()))
        assert all(gradient.eq(0).all() for gradient in gradients)


@has_kernels
@pytest.mark.parametrize("wrong", [V, -1, 2**40])
def test_an_id_outside_the_vocabulary_is_an_error(wrong: int) -> None:
    stack = build_stack("gru", 7)
    inputs, state = draw_inputs(stack, 5, 3)
    inputs[2, 1] = wrong
    with pytest.raises((IndexError, ValueError, RuntimeError)):
        stack.run(inputs, state)


@has_kernels
def test_what_does_not_fit_the_weights_is_an_error_and_not_misread() -> None:
    stack = build_stack("gru", 7)
    ids, (h,) = draw_inputs(stack, 5, 3)
    features = torch.zeros(5, 3, V)
    wrong = [
        (ids[..., :2], h),
        (ids, torch.zeros(1, 3, 8)),
        (features.double(), h),
        (features[..., 1:], h),
    ]
    for inputs, state in wrong:
        with pytest.raises((AssertionError, IndexError, ValueError, RuntimeError)):
            stack.run(inputs, (state,))
    with pytest.raises((AssertionError, ValueError, RuntimeError)):
        stack.double().run(ids, (h,))


@has_kernels
def test_a_second_derivative_of_the_output_layer_is_refused() -> None:
    leaves = [tensor.requires_grad_() for tensor in draw_decoder(2, 3, 4, 5)[1:]]
    loss = DECODER.decode(draw_decoder(2, 3, 4, 5)[0], *leaves).square().sum()
    gradients = torch.autograd.grad(loss, leaves, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(positive_sum(gradients), leaves)


@has_kernels
def test_the_default_dtype_of_torch_is_no_matter() -> None:
    stack = build_stack("lstm", 7)
    inputs, state = draw_inputs(stack, 5, 3)
    expected = stack.run(inputs, state)[0]
    torch.set_default_dtype(torch.float64)
    try:
        outputs = stack.run(inputs, state)[0]
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(outputs, expected)
