"""`charlm bench`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from charlm.cli.arguments import JsonOption
from charlm.errors import ConfigError


def bench(
    cell: Annotated[
        Literal["rnn", "gru", "lstm"] | None, typer.Option(help="One cell.", show_default="all three")
    ] = None,
    implementation: Annotated[Literal["auto", "torch", "reference"], typer.Option()] = "auto",
    hidden_size: Annotated[int, typer.Option(min=1)] = 256,
    num_layers: Annotated[int, typer.Option(min=1)] = 1,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    seq_len: Annotated[int, typer.Option(min=1)] = 64,
    vocab_size: Annotated[int, typer.Option(min=2, max=256)] = 65,
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds of five steps each.")] = 9,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="torch's choice")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json_: JsonOption = False,
) -> None:
    """Measure whole training steps in characters per second against the classic torch.nn loop, in turn.

    Example:

        charlm bench --cell lstm --hidden-size 128
    """
    import torch

    from charlm.benchmarks.speed import compare_speed
    from charlm.console.benchmarks import show_comparison
    from charlm.console.terminal import print_json
    from charlm.settings.schema import Cell
    from charlm.training.experiment import choose_device

    if device == "auto":
        raise ConfigError("--device must be cpu or cuda here: a benchmark says what it measures")
    choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    cells: tuple[Cell, ...] = (cell,) if cell else ("rnn", "gru", "lstm")
    for each in cells:
        comparison = compare_speed(
            each,
            implementation=implementation,
            hidden_size=hidden_size,
            num_layers=num_layers,
            batch_size=batch_size,
            seq_len=seq_len,
            vocab_size=vocab_size,
            rounds=rounds,
            device=device,
        )
        print_json(comparison.as_record()) if json_ else show_comparison(comparison)
