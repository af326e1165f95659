"""Benchmarks: their arithmetic, their subjects, the records, the tables and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from processes import Process, start_module
from typer.testing import Result

from charlm.benchmarks import memory, subjects, suite, timing
from charlm.benchmarks.classic import ClassicLM, classic_stream
from charlm.benchmarks.findings import Findings, Measurement, Sgemm
from charlm.benchmarks.machine import Load, Processor
from charlm.benchmarks.memory import measure_memory
from charlm.benchmarks.sizes import ProductShape, Sizes, layer_flops, sgemm_shape
from charlm.benchmarks.subjects import (
    STREAM_CHARS,
    joint_texts,
    layer_steps,
    single_texts,
    stream,
    training_steps,
)
from charlm.benchmarks.suite import Benchmark, default_implementations
from charlm.benchmarks.timing import MedianRange, measure_in_turn, median_range
from charlm.console.benchmarks import show_findings
from charlm.errors import ConfigError
from charlm.kernels.library import Kernels, load_kernels
from charlm.networks import implementations, native_predictor
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import Cell, ModelSettings
from charlm.training.updating import NativeUpdate

Charlm = Callable[..., Result]
CPU = torch.device("cpu")
TINY = Sizes(hidden_size=4, num_layers=2, batch_size=3, seq_len=2, vocab_size=5)
TINY_OPTIONS = ("--hidden-size=4", "--num-layers=2", "--batch-size=3", "--seq-len=2", "--vocab-size=5", "--rounds=2")
needs_kernels = pytest.mark.kernels


@pytest.fixture
def _short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (subjects, suite):
        monkeypatch.setattr(module, "NUM_TEXTS", 3)
        monkeypatch.setattr(module, "TEXT_CHARS", 20)


@pytest.fixture
def _one_item_a_turn(monkeypatch: pytest.MonkeyPatch, _short_texts: None) -> None:
    monkeypatch.setattr(timing, "SECONDS_A_TURN", 0.0)
    monkeypatch.setattr(timing, "SECONDS_TO_WARM_UP", 0.0)


def comparison(**changes: object) -> Measurement:
    """Return a row of three rounds."""
    values = {
        "what": "layer",
        "cell": "gru",
        "implementation": "native",
        "unit": "ms",
        "theirs": (4.0, 6.0, 9.0),
        "ours": (2.0, 2.0, 9.0),
    }
    return Measurement(**(values | changes))  # type: ignore[arg-type]


# Arithmetic.


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert median_range((3.0, 1.0, 10.0)) == MedianRange(median=3.0, low=1.0, high=10.0)
    assert median_range((3.0, 1.0, 10.0, 4.0)).median == 3.5


def test_the_operations_of_a_layer_step_are_those_counted_by_hand() -> None:
    # T*B is 6, H is 4, V is 5, and there are two layers of a GRU with 3 gates.
    recurrent = 2 * (2 * 6 * 4 * 12)
    second_layers_input = 2 * 6 * 4 * 12
    output = 2 * 6 * 4 * 5
    assert layer_flops("gru", TINY) == 3 * (recurrent + second_layers_input + output) == 5904
    assert [sgemm_shape(cell, TINY).columns for cell in ("rnn", "gru", "lstm")] == [4, 12, 16]
    assert sgemm_shape("lstm", TINY) == ProductShape(rows=6, depth=4, columns=16)
    assert ProductShape(2, 3, 5).flops == 60


def test_a_ratio_is_taken_in_each_round_and_says_how_many_times_as_fast_ours_is() -> None:
    # The rounds' ratios are 2, 3 and 1; the ratio of the medians would be 3.
    assert comparison().ratio == MedianRange(2.0, 1.0, 3.0)
    rates = comparison(unit="chars_per_second", theirs=(10.0, 10.0, 10.0), ours=(20.0, 30.0, 10.0))
    assert rates.ratio == MedianRange(2.0, 1.0, 3.0)


def test_the_ratio_of_memory_is_how_much_ours_takes() -> None:
    row = comparison(what="memory", unit="bytes", theirs=(400.0,), ours=(100.0,))
    assert row.ratio == MedianRange(0.25, 0.25, 0.25)
    assert row.as_record()["ratio_of"] == "memory"


def test_the_fraction_of_sgemm_is_taken_in_each_round() -> None:
    row = comparison(gflops=(10.0, 20.0, 30.0), sgemm_gflops=(100.0, 100.0, 50.0))
    assert row.sgemm_fraction == MedianRange(0.2, 0.1, 0.6)
    assert comparison().sgemm_fraction is None


# Turns.


def test_all_have_their_turn_in_each_round_and_seconds_are_those_of_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, turns = 0.0, []

    def work(name: str, seconds: float) -> Iterator[None]:
        nonlocal clock
        while True:
            clock += seconds
            turns.append(name)
            yield

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)
    monkeypatch.setattr(timing, "SECONDS_A_TURN", 2.0)
    works = {"quick": work("quick", 1.0), "slow": work("slow", 4.0)}
    assert measure_in_turn(works, rounds=3, device=CPU) == {"quick": (1.0, 1.0, 1.0), "slow": (4.0, 4.0, 4.0)}
    warm_up, rounds = turns[:4], turns[4:]
    assert warm_up == ["quick", "quick", "slow", "slow"]
    # Two quick items fill a turn; the next round begins with the other one.
    assert rounds == ["quick", "quick", "slow", "slow", "quick", "quick", "quick", "quick", "slow"]


# Each subject is what it is called.


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_classic_network_is_ours_with_one_hot_inputs(cell: Cell) -> None:
    classic = ClassicLM(cell, TINY)
    model = ModelSettings(cell=cell, hidden_size=4, num_layers=2, implementation="reference")
    ours = build_model(model, TINY.vocab_size, seed=0)
    assert isinstance(ours, CharLM)
    ours.load_state_dict(classic.state_dict())
    ids = torch.randint(5, (2, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(ids, ours.initial_state(3))[0], classic(ids)[0])


@pytest.fixture
def kernel_writes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows by one with each call of the kernels that write."""
    calls: list[object] = []
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)

    def counted(*arguments: Any) -> None:
        calls.append(None)
        kernels.write(*arguments)

    monkeypatch.setattr(native_predictor, "load_kernels", lambda: replace(kernels, write=counted))
    return calls


@needs_kernels
@pytest.mark.usefixtures("_short_texts")
@pytest.mark.parametrize("make", [layer_steps, training_steps, stream, single_texts, joint_texts])
def test_native_work_runs_the_kernels_and_torch_work_does_not(
    make: Callable[..., Iterator[object]], kernel_writes: list[object]
) -> None:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    for name, runs_kernels in (("native", True), ("torch", False), ("native", True)):
        work = make(name, "gru", TINY, CPU)
        for _ in range(2):
            before = kernels.num_calls() + len(kernel_writes)
            next(work)
            assert (kernels.num_calls() + len(kernel_writes) > before) == runs_kernels


@needs_kernels
def test_each_item_of_a_native_stream_is_one_call_of_the_kernels(kernel_writes: list[object]) -> None:
    work = stream("native", "gru", TINY, CPU)
    for num_items in range(1, 5):
        next(work)
        # The prefix is read before the first; it has one character, hence one call.
        assert len(kernel_writes) == 1 + num_items


@pytest.mark.parametrize("subject", ["classic", *default_implementations(CPU), "reference"])
def test_a_training_step_moves_the_parameters_and_a_layer_step_leaves_them(
    subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[object] = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda *_: steps.append(None))
    monkeypatch.setattr(NativeUpdate, "apply", lambda *_: steps.append(None))
    next(training_steps(subject, "lstm", TINY, CPU))  # type: ignore[arg-type]
    assert len(steps) == 1
    next(layer_steps(subject, "lstm", TINY, CPU))  # type: ignore[arg-type]
    assert len(steps) == 1


@pytest.mark.parametrize("subject", ["classic", *default_implementations(CPU)])
def test_a_streamkernel_writes_as_many_characters_as_are_counted(subject: str) -> None:
    work = stream(subject, "rnn", TINY, CPU)  # type: ignore[arg-type]
    pieces = [next(work), next(work)]
    assert [len(str(piece)) for piece in pieces] == [STREAM_CHARS] * 2
    assert pieces[0] != pieces[1]
    assert torch.is_grad_enabled()


def test_the_classic_stream_draws_each_character_from_the_one_before() -> None:
    model = ClassicLM("rnn", TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # Each character's own direction in the hidden state, and from there to the next character.
        model.recurrent.weight_ih_l0[:4, :4] = 10 * torch.eye(4)
        model.recurrent.weight_ih_l1.copy_(10 * torch.eye(4))
        model.decoder.weight[:4] = 1000 * torch.eye(4).roll(1, 0)
    assert next(classic_stream(model, "abcde", 7, CPU)) == "bcdabcd"


@pytest.mark.usefixtures("_short_texts")
def test_joint_texts_are_the_single_ones() -> None:
    for name in default_implementations(CPU):
        single = single_texts(name, "gru", TINY, CPU)
        texts = next(joint_texts(name, "gru", TINY, CPU))
        assert isinstance(texts, list)
        assert (len(texts), {len(text) for text in texts}) == (subjects.NUM_TEXTS, {subjects.TEXT_CHARS})
        assert texts[:3] == [next(single) for _ in range(3)]


# Memory.


@pytest.mark.slow
@pytest.mark.parametrize("is_cold", [False, True])
def test_memory_is_measured_in_a_process_of_its_own_for_each_subject(
    charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch, *, is_cold: bool
) -> None:
    if not memory.can_measure_memory():
        pytest.skip("only Linux reports the peak memory of a process")
    if not is_cold:

        def fork(command: list[str], *, env: dict[str, str], stdout: int, stderr: int, text: bool) -> Process:
            assert command[:-2] == [sys.executable, "-P", "-m"]
            assert text
            return start_module(*command[-2:], env=env, stdout=stdout, stderr=stderr)

        monkeypatch.setattr(memory, "subprocess", SimpleNamespace(Popen=fork, PIPE=subprocess.PIPE))
    held = bytearray(300_000_000)  # What this process holds must not count.
    result = charlm_command("bench", "--what=memory", "--cell=rnn", "--implementation=torch", "--json", *TINY_OPTIONS)
    (row,) = json.loads(result.stdout)["rows"]
    assert 0 < row["baseline_bytes"] < len(held)
    assert 0 < row["ours_bytes"] < len(held)
    assert row["ratio"] == row["ours_bytes"] / row["baseline_bytes"]
    assert row["rounds"] == 1


def test_a_process_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        measure_memory(["classic"], "rnn", TINY, CPU)


# Records and tables.


@pytest.mark.usefixtures("_one_item_a_turn")
def test_the_json_has_every_row_with_units_in_its_names(charlm_command: Charlm) -> None:
    what = ("--what=generation", "--what=layer", "--what=step", "--what=layer")
    result = charlm_command("bench", *what, "--cell=gru", "--cell=rnn", "--json", *TINY_OPTIONS)
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found.keys() == {"machine", "processor", "load", "precision", "sizes", "sgemm", "rows"}
    assert found["processor"].keys() == {"name", "family", "model", "flags"}
    assert found["load"].keys() == {"cores", "load_average", "others_fraction", "is_quiet"}
    assert found["precision"] == "float32"
    assert found["sizes"] == {"hidden_size": 4, "num_layers": 2, "batch_size": 3, "seq_len": 2, "vocab_size": 5}
    assert {"cpu_capability", "threads", "versions", "kernels", "device"} <= found["machine"].keys()
    for sgemm, cell in zip(found["sgemm"], ("rnn", "gru"), strict=True):
        assert sgemm.keys() == {"cell", "rows", "depth", "columns", "gflops", "gflops_range"}
        assert sgemm["cell"] == cell
    ours = default_implementations(CPU)
    kinds = [(row["what"], row["cell"], row["implementation"], row["baseline"]) for row in found["rows"]]
    assert kinds == [
        (what, cell, name, baseline)
        for what, baseline in (
            ("layer", "classic"),
            ("step", "classic"),
            ("generation", "classic"),
            ("generation", "one_by_one"),
        )
        for cell in ("rnn", "gru")
        for name in ours
    ]
    shared = {"what", "cell", "implementation", "baseline", "ratio_of", "ratio", "ratio_range", "rounds"}
    special = {
        "layer": {
            *("baseline_ms", "ours_ms", "ours_gflops", "sgemm_gflops"),
            *("sgemm_fraction", "sgemm_fraction_range"),
        },
        "step": {"baseline_ms", "ours_ms"},
        "generation": {"num_texts", "baseline_chars_per_second", "ours_chars_per_second"},
    }
    for row in found["rows"]:
        assert row.keys() == shared | special[row["what"]]
        low, high = row["ratio_range"]
        assert 0 < low <= row["ratio"] <= high
        assert row["rounds"] == 2


# Precision.


@pytest.fixture
def kernels_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    """Pretend that the processor has instructions for bfloat16; plain loops replace them where it has none."""
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    pretended = replace(kernels, has_bfloat16=True)
    monkeypatch.setattr(implementations, "load_kernels", lambda: pretended)
    return kernels


@needs_kernels
@pytest.mark.parametrize("make", [layer_steps, training_steps])
def test_only_work_in_bfloat16_runs_the_kernels_for_it(make: Callable[..., Iterator[object]]) -> None:
    kernels = load_kernels()
    assert isinstance(kernels, Kernels)
    for name, calls in (("bfloat16", 4), ("native", 0), ("autocast", 0)):
        before = kernels.num_bfloat16_calls()
        next(make(name, "lstm", TINY, CPU))
        assert kernels.num_bfloat16_calls() - before == calls


def test_the_autocast_loop_is_the_classic_one_in_bfloat16() -> None:
    classic, rounded = (ClassicLM("lstm", TINY, is_autocast=is_autocast) for is_autocast in (False, True))
    rounded.load_state_dict(classic.state_dict())
    ids = torch.randint(5, (2, 3), generator=torch.Generator().manual_seed(0))
    logits, (h, _) = rounded(ids)
    assert h.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, classic(ids)[0])
    torch.testing.assert_close(logits, classic(ids)[0], rtol=0.05, atol=0.05)


@pytest.mark.usefixtures("_one_item_a_turn", "kernels_with_bfloat16")
@needs_kernels
def test_bfloat16_is_compared_with_both_classic_loops(charlm_command: Charlm) -> None:
    options = ("--precision=bfloat16", "--cell=gru", *TINY_OPTIONS)
    found = json.loads(charlm_command("bench", "--what=layer", "--what=step", *options, "--json").stdout)
    assert found["precision"] == "bfloat16"
    kinds = [(row["what"], row["implementation"], row["baseline"]) for row in found["rows"]]
    assert kinds == [(what, "native", classic) for what in ("layer", "step") for classic in ("classic", "autocast")]
    shown = charlm_command("bench", "--what=layer", *options)
    assert shown.exit_code == 0
    assert ", ours in bfloat16" in shown.stdout
    assert "implementation  autocast" in shown.stdout


@pytest.mark.usefixtures("_one_item_a_turn", "kernels_with_bfloat16")
@needs_kernels
def test_where_autocast_does_not_run_that_is_said(monkeypatch: pytest.MonkeyPatch, charlm_command: Charlm) -> None:
    run = ClassicLM.forward

    def refuse(self: ClassicLM, *arguments: Any) -> Any:
        if self.is_autocast:
            raise RuntimeError("could not create a primitive")
        return run(self, *arguments)

    monkeypatch.setattr(ClassicLM, "forward", refuse)
    options = ("--precision=bfloat16", "--what=step", "--cell=rnn", *TINY_OPTIONS)
    shown = charlm_command("bench", *options)
    assert shown.exit_code == 0
    assert "torch's autocast in bfloat16 does not run here: rnn\n" in shown.stdout
    assert "implementation  autocast" not in shown.stdout


def findings() -> Findings:
    """Return findings of every kind, with numbers as wide as those of a fast machine."""
    slow, fast, rates = (1234.56,) * 3, (98.7,) * 3, (1500.0,) * 3
    rows = [
        comparison(cell="lstm", implementation="reference", theirs=slow, ours=fast, gflops=rates, sgemm_gflops=rates),
        comparison(what="step", theirs=slow, ours=fast),
        comparison(
            what="generation", unit="chars_per_second", num_texts=1, theirs=(99_999.0,) * 3, ours=(9_999_999.0,) * 3
        ),
        comparison(
            what="generation",
            unit="chars_per_second",
            num_texts=64,
            implementation="reference",
            baseline="one_by_one",
            theirs=(999_999.0,) * 3,
            ours=(99_999_999.0,) * 2 + (9_999_999.0,),
        ),
        comparison(what="memory", unit="bytes", theirs=(3.0 * 2**30,), ours=(2.0**20,)),
    ]
    machine = {
        "cpu_capability": "AVX512",
        "versions": {"torch": "2.13.0+cu130"},
        "threads": 64,
        "device": "cpu",
        "gpus": [],
    }
    sgemms = tuple(Sgemm(cell, sgemm_shape(cell, Sizes()), (12_345.0,)) for cell in ("rnn", "gru", "lstm"))
    processor, load = Processor("AMD EPYC", 26, 2, ("avx2", "avx512f")), Load(64, 123.456, 0.9999)
    return Findings(machine, processor, load, Sizes(1024, 3, 128, 1000, 10_000), 9, sgemms, tuple(rows))


def test_the_tables_fit_into_80_columns_and_say_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    show_findings(findings())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "AMD EPYC (family 26, model 2): avx2 avx512f" in lines
    assert "AVX512, torch 2.13.0+cu130, 64 threads, float32" in lines
    assert "load average before: 123.46; other processes used 100.0% of 64 cores: not quiet" in lines
    assert "GFLOP/s: rnn 12,345, gru 12,345, lstm 12,345" in text
    assert "lstm  reference       1234.56  98.70  12.51 (12.51 to 12.51)      1.00" in text
    assert "100.00 (10.00 to 100.00)" in text
    # One round has no range.
    assert lines[-1].split() == ["gru", "native", "3072.0", "1.0", "0.00"]


def test_the_tables_of_a_gpu_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings()
    found.machine.update(device="cuda:1", gpus=["First", "Second"])
    show_findings(found)
    assert capsys.readouterr().out.startswith("Second, torch")


@pytest.mark.usefixtures("_one_item_a_turn")
def test_the_command_prints_tables(charlm_command: Charlm) -> None:
    result = charlm_command("bench", "--what=layer", "--cell=lstm", "--implementation=reference", *TINY_OPTIONS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "rounds, measured in turn: 2;" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("lstm  reference ")


# What cannot be measured.


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--what=speed"], "--what must be layer, step, generation or memory, got 'speed'"),
        (["--cell=lstm", "--cell=qrnn"], "--cell must be rnn, gru or lstm, got 'qrnn'; did you mean rnn?"),
        (["--implementation=auto"], "--implementation must be native, torch or reference, got 'auto'"),
        (
            ["--device=auto"],
            "--device must be cpu, cuda or cuda:N here, got 'auto': a benchmark must name what it measures",
        ),
        (["--precision=float16"], "--precision must be float32 or bfloat16, got 'float16'; did you mean bfloat16?"),
        (
            ["--precision=bfloat16", "--implementation=torch"],
            "--precision bfloat16 measures the native implementation: leave --implementation out",
        ),
        (
            ["--precision=bfloat16", "--what=generation"],
            "--precision bfloat16 concerns training: generation is always computed in float32",
        ),
        (["--device=cuda:99"], f"--device cuda:99: torch {torch.__version__} sees no such GPU here; use cpu"),
    ],
)
def test_wrong_options_get_one_sentence(options: list[str], problem: str, charlm_command: Charlm) -> None:
    result = charlm_command("bench", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"charlm: {problem}\n")


def test_the_native_implementation_belongs_to_the_cpu() -> None:
    cuda = torch.device("cuda")
    assert default_implementations(cuda) == ("torch",)
    with pytest.raises(ConfigError, match="the native implementation cannot be measured: the native kernels run on"):
        Benchmark(("layer",), ("rnn",), ("native",), TINY, 1, cuda)


def test_without_kernels_torch_alone_is_measured(monkeypatch: pytest.MonkeyPatch, charlm_command: Charlm) -> None:
    monkeypatch.setattr(suite.NativeStack, "missing", lambda *_: "there are none")
    assert default_implementations(CPU) == ("torch",)
    result = charlm_command("bench", "--implementation=native")
    assert (result.exit_code, result.stderr) == (
        2,
        "charlm: the native implementation cannot be measured: there are none\n",
    )


@pytest.mark.usefixtures("_one_item_a_turn")
def test_memory_is_left_out_where_it_cannot_be_measured_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, charlm_command: Charlm
) -> None:
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere"))
    asked = charlm_command("bench", "--what=memory")
    assert (asked.exit_code, asked.stderr) == (
        2,
        "charlm: memory cannot be measured: only Linux reports the peak memory of a process\n",
    )
    result = charlm_command("bench", "--cell=rnn", "--implementation=torch", "--json", *TINY_OPTIONS)
    assert result.stderr == "charlm: memory is not measured: only Linux reports the peak memory of a process\n"
    assert {row["what"] for row in json.loads(result.stdout)["rows"]} == {"layer", "step", "generation"}


@pytest.mark.usefixtures("_one_item_a_turn")
def test_progress_names_each_measurement_and_how_many_there_are() -> None:
    reports: list[tuple[int, int, str]] = []
    plan = Benchmark(("layer", "step"), ("rnn", "lstm"), ("torch",), TINY, 1, CPU)
    suite.run_benchmark(plan, lambda *report: reports.append(report))
    names = ("layer, rnn", "layer, lstm", "step, rnn", "step, lstm")
    assert reports == [(done, 4, name) for done, name in zip(count(), names, strict=False)]
