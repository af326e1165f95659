"""`charlm bench`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from charlm.cli.arguments import JsonOption
from charlm.errors import ConfigError
from charlm.settings.nearest import did_you_mean, nearest_choice

if TYPE_CHECKING:
    import torch

    from charlm.benchmarks.findings import What
    from charlm.settings.training import ChosenPrecision

Choice = TypeVar("Choice", bound=str)


WhatOption = Annotated[
    list[str] | None,
    typer.Option(
        help="What to measure: layer, step, generation or memory; may be repeated.", metavar="WHAT", show_default="all"
    ),
]
CellOption = Annotated[
    list[str] | None,
    typer.Option(help="The cell: rnn, gru or lstm; may be repeated.", metavar="CELL", show_default="all"),
]
ImplementationOption = Annotated[
    list[str] | None,
    typer.Option(
        help="The implementation: native, torch or reference; may be repeated.",
        metavar="NAME",
        show_default="those that auto may choose here",
    ),
]


def bench_command(
    what: WhatOption = None,
    cell: CellOption = None,
    implementation: ImplementationOption = None,
    hidden_size: Annotated[int, typer.Option(min=1, help="Units in each layer.")] = 256,
    num_layers: Annotated[int, typer.Option(min=1, help="Number of layers.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows in a batch.")] = 32,
    seq_len: Annotated[int, typer.Option(min=1, help="Characters in a window.")] = 35,
    vocab_size: Annotated[int, typer.Option(min=2, max=50_000, help="Symbols in the vocabulary.")] = 65,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; every subject is measured once in each.")] = 9,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Number of CPU threads.", show_default="torch's choice")
    ] = None,
    device: Annotated[str, typer.Option(help="The device to measure: cpu, cuda or cuda:N.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="What our products are computed in: float32 or bfloat16.", metavar="PRECISION")
    ] = "float32",
    json_: JsonOption = False,
) -> None:
    """Measure how fast charlm's networks are, compared with a torch.nn loop and with the machine's matrix product.

    With --precision bfloat16 the kernels train in bfloat16, and are compared with torch's autocast in bfloat16, too.

    Examples:

        charlm bench --what layer --what step --cell lstm

        charlm bench --what step --hidden-size 512 --threads 1 --json

        charlm bench --precision bfloat16 --cell lstm
    """
    import torch

    from charlm.benchmarks.sizes import Sizes
    from charlm.benchmarks.suite import Benchmark, default_implementations, run_benchmark
    from charlm.console.benchmarks import benchmark_progress, show_findings
    from charlm.console.terminal import print_json

    target = _device(device)
    in_precision = _precision(precision)
    is_rounded = in_precision == "bfloat16"
    plan = Benchmark(
        whats=_chosen("--what", what, ("layer", "step", "generation", "memory")) or _all_whats(in_precision),
        cells=_chosen("--cell", cell, ("rnn", "gru", "lstm")) or ("rnn", "gru", "lstm"),
        implementations=_chosen("--implementation", implementation, ("native", "torch", "reference"))
        or (("native",) if is_rounded else default_implementations(target)),
        sizes=Sizes(hidden_size, num_layers, batch_size, seq_len, vocab_size),
        rounds=rounds,
        device=target,
        precision=in_precision,
    )
    if threads is not None:
        torch.set_num_threads(threads)
    with benchmark_progress() as progress:
        findings = run_benchmark(plan, progress)
    print_json(findings.as_record()) if json_ else show_findings(findings)


def _chosen(option: str, values: list[str] | None, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Return the chosen values, each once and in the order of the choices."""
    for value in values or []:
        if value not in choices:
            near = did_you_mean(nearest_choice(value, choices))
            raise ConfigError(f"{option} must be {', '.join(choices[:-1])} or {choices[-1]}, got {value!r}{near}")
    return tuple(choice for choice in choices if choice in (values or []))


def _precision(name: str) -> ChosenPrecision:
    chosen: tuple[ChosenPrecision, ...] = _chosen("--precision", [name], ("float32", "bfloat16"))
    return chosen[0]


def _all_whats(precision: ChosenPrecision) -> tuple[What, ...]:
    """Return everything that can be measured on this system, and print a note on what cannot."""
    from charlm.benchmarks.memory import can_measure_memory

    # Texts are always written in float32.
    whats: tuple[What, ...] = ("layer", "step") if precision == "bfloat16" else ("layer", "step", "generation")
    if can_measure_memory():
        return (*whats, "memory")
    typer.echo("charlm: memory is not measured: only Linux reports the peak memory of a process", err=True)
    return whats


def _device(name: str) -> torch.device:
    import torch

    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(
            f"--device must be cpu, cuda or cuda:N here, got {name!r}: a benchmark must name what it measures"
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: torch {torch.__version__} sees no such GPU here; use cpu")
    return device
