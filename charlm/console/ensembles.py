"""Print an ensemble: its members, their weights, and what they are worth alone and together."""

from __future__ import annotations

import math
import sys

from charlm.console.columns import NOTHING, column_table, print_whole
from charlm.console.runs import print_pairs
from charlm.console.terminal import console_for, is_live
from charlm.errors import printable
from charlm.runs.ensembles import Ensemble
from charlm.runs.overview import Overview
from charlm.runs.rates import Rates
from charlm.runs.records import Summary
from charlm.runs.run import Run

TEXTS = ("member", "model")
MAX_PATH = 200
CROSS_FITTED = "each half of the validation split is predicted with weights that were fitted to the other half"


def show_ensemble_run(run: Run, overview: Overview, ensemble: Ensemble) -> None:
    """Print an ensemble's members, weights and results, and what is known about its text."""
    rows = {
        "run": overview.name,
        "model": overview.model,
        "corpus": overview.corpus,
        "parameters": f"{overview.num_parameters:,}",
        "path": str(run.path),
    }
    print_pairs(console_for(sys.stdout), rows.items(), width=14)
    console_for(sys.stdout).print("")
    show_ensemble(ensemble, run.summary())


def show_ensemble(ensemble: Ensemble, summary: Summary | None) -> None:
    """Print the members with their weights, and the results.

    Args:
        ensemble: the ensemble.
        summary: its results, or None.
    """
    console = console_for(sys.stdout)
    print_whole(console, column_table(_members(ensemble, summary), texts=TEXTS))
    if ensemble.ngrams:
        console.print("\nweights by the length of the longest context that the training text has", style=_bold())
        print_whole(console, column_table(_weights(ensemble), texts=()))
    if summary is None:
        return
    console.print("")
    for rates, name, told in (
        (summary.test, "test", "nothing was fitted to this split"),
        (summary.val, "validation", CROSS_FITTED),
    ):
        if rates:
            console.print(f"{name}: {_rates_text(rates)}; {told}", soft_wrap=True)
    if summary.test is None:
        console.print("there is no test split: the validation result is the one to quote", soft_wrap=True)
    if ensemble.ngrams and ensemble.ngrams.is_cut:
        number = ensemble.ngrams.num_chars
        console.print(f"the n-grams are those of the last {number:,} characters of the training split", soft_wrap=True)


def _members(ensemble: Ensemble, summary: Summary | None) -> dict[str, list[str]]:
    """Return the cells of each column by its title."""
    rows = [
        (each.name, each.model, f"{each.step:,}", _bits(each.val_nats_per_char), f"{each.val_nats_per_char:.4f}")
        for each in ensemble.members
    ]
    if (ngrams := ensemble.ngrams) is not None:
        own = ngrams.val_nats_per_char
        rows.append(("n-grams", f"{ngrams.order}-gram, all orders", NOTHING, _bits(own), f"{own:.4f}"))
    if summary and summary.val:
        together = summary.val.nats
        rows.append(("together", ensemble.description, NOTHING, _bits(together), f"{together:.4f}"))
    titles = ("member", "model", "step", "val bpc", "val nats")
    return {title: [row[number] for row in rows] for number, title in enumerate(titles)}


def _weights(ensemble: Ensemble) -> dict[str, list[str]]:
    found = [each.name for each in ensemble.members]
    # Members of one name are told apart by their paths.
    paths = [printable(each.path, MAX_PATH) for each in ensemble.members]
    names = [path if found.count(name) > 1 else name for name, path in zip(found, paths, strict=True)] + ["n-grams"]
    lengths = {"context": [str(length) for length in range(len(ensemble.weights))]}
    columns = zip(*ensemble.weights, strict=True)
    return lengths | {name: [f"{weight:.2f}" for weight in column] for name, column in zip(names, columns, strict=True)}


def _rates_text(rates: Rates) -> str:
    text = f"perplexity {rates.perplexity:.2f}, {rates.bpc:.3f} bits per character, {rates.nats:.4f} nats"
    return f"{text}, {rates.standing.bits_per_byte:.3f} bits per byte" if rates.standing else text


def _bits(nats: float) -> str:
    return f"{nats / math.log(2):.3f}"


def _bold() -> str | None:
    return "bold" if is_live(sys.stdout) else None
