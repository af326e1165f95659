"""Choose what a picture of the inside of networks shows: gradients by lag, memory used and gates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from charlm.errors import printable
from charlm.insight.findings import Findings
from charlm.reports.pictures import Dot, Key, Line, Panel, Picture, Scale

LAG = Scale("lag", "k, characters back", is_whole=True)
NORM = Scale("gradient_norm", "mean norm of dL_t/dh_{t-k}", is_log=True)
CELL_KEY = "the same of the cell state c"
MAX_NAME = 60


def gradient_picture(findings: Sequence[Findings]) -> Picture:
    """Return the picture of gradient norms by lag: of one network a line for each layer, of several a panel for each.

    The norms of an LSTM's cell state are dashed.
    """
    known = [found for found in findings if found.gradients]
    if len(known) == 1:
        names = [f"layer {layer.layer}" for layer in known[0].gradients.layers] if known[0].gradients else []
        lines = [line for number, name in enumerate(names) for line in _layer_lines(known[0], number, name, number)]
        panels = [Panel(LAG, NORM, tuple(lines))]
    else:
        names = labels(known)
        depth = max((len(found.gradients.layers) for found in known if found.gradients), default=0)
        panels = [
            Panel(
                LAG,
                NORM,
                tuple(
                    line
                    for number, (found, name) in enumerate(zip(known, names, strict=True))
                    for line in _layer_lines(found, layer, name, number)
                ),
                title=f"layer {layer + 1}" if depth > 1 else "",
            )
            for layer in range(depth)
        ]
    keys = [Key(name, number) for number, name in enumerate(names)]
    has_cells = any(line.is_training for panel in panels for line in panel.lines)
    return Picture(tuple(panels), (*keys, *[Key(CELL_KEY, is_training=True)] * has_cells))


def _layer_lines(found: Findings, layer: int, label: str, number: int) -> Iterator[Line]:
    """Yield the lines of a layer, the hidden state's first; a deeper panel has no line of a shallower network."""
    assert found.gradients
    if layer >= len(found.gradients.layers):
        return
    norms = found.gradients.layers[layer]
    for values, is_cell in ((norms.hidden, False), (norms.cell or (), True)):
        # A logarithmic scale has no place for a gradient that is exactly zero, or that is not a number.
        dots = tuple(Dot(lag, norm) for lag, norm in enumerate(values) if 0 < norm < float("inf"))
        if dots:
            measures = "cell" if is_cell else "hidden"
            yield Line(label, number, dots, is_training=is_cell, measures=measures, runs=(found.run,))


def labels(findings: Sequence[Findings]) -> list[str]:
    """Return a short name for each network: its run, with the step where a run has several."""
    several = len({(found.run, found.step) for found in findings}) > len({found.run for found in findings})
    return [printable(found.run, MAX_NAME) + (f", {step_name(found.step)}" if several else "") for found in findings]


def step_name(step: int) -> str:
    """Return a step in words; step 0 is the start of training."""
    return f"step {step:,}" if step else "start"
