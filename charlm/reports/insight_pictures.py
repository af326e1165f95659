"""Choose what a picture of the inside of networks shows: gradients by lag, memory used and gates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from charlm.errors import ConfigError, printable
from charlm.insight.findings import Findings
from charlm.insight.gates import GateShares
from charlm.insight.samples import Estimate
from charlm.reports.pictures import Dot, Key, Line, Panel, Picture, Scale

LAG = Scale("lag", "k, characters back", is_whole=True)
NORM = Scale("gradient_norm", "mean norm of dL_t/dh_{t-k}", is_log=True)
CELL_KEY = "the same of the cell state c"
LENGTH = Scale("length", "k, characters read", is_whole=True, is_log=True)
NATS = Scale("nats", "nats per character")
NGRAM_KEY = "n-grams with contexts of k"
BELOW = Scale("below", "share of time below")
ABOVE = Scale("above", "share of time above")
INTERVALS = "the 95 % interval"
MAX_NAME = 60
MAX_PANELS = 12


def insight_picture(findings: Sequence[Findings]) -> Picture:
    """Return one picture of all that was found; each kind has lines of its own looks.

    Raises:
        ConfigError: if it would have too many panels.
    """
    pictures = [picture(findings) for picture in (gradient_picture, memory_picture, gate_picture)]
    panels: list[Panel] = []
    keys: list[Key] = []
    for picture in pictures:
        # The networks of a comparison have one look in all panels; other lines must not be taken for them.
        is_shared = len(findings) > 1 and picture is not pictures[-1]
        first = 0 if is_shared else max((key.number for key in keys if key.number is not None), default=-1) + 1
        panels += [_moved(panel, first) for panel in picture.panels]
        keys += [key for key in (_moved_key(key, first) for key in picture.keys) if key not in keys]
    if len(panels) > MAX_PANELS:
        raise ConfigError(f"a picture has room for {MAX_PANELS} panels, not {len(panels)}: choose some with --show")
    looks = [sentence for picture in pictures for sentence in picture.looks]
    notes = [sentence for picture in pictures for sentence in picture.notes]
    return Picture(tuple(panels), tuple(keys), notes=tuple(notes), looks=tuple(looks), spread=INTERVALS)


def gradient_picture(findings: Sequence[Findings]) -> Picture:
    """Return the picture of gradient norms by lag: of one network a line for each layer, of several a panel for each.

    The norms of an LSTM's cell state are dashed.
    """
    known = [found for found in findings if found.gradients]
    depth = max((len(found.gradients.layers) for found in known if found.gradients), default=0)
    if len(findings) == 1:
        names = [f"layer {layer + 1}" for layer in range(depth)]
        shown = [[(found, layer, name, layer) for found in known for layer, name in enumerate(names)]] if depth else []
    else:
        names = labels(known)
        shown = [
            [(found, layer, name, number) for number, (found, name) in enumerate(zip(known, names, strict=True))]
            for layer in range(depth)
        ]
    panels = [
        Panel(
            LAG,
            NORM,
            tuple(line for each in lines for line in _layer_lines(*each)),
            title=f"layer {number}" if len(shown) > 1 else "",
        )
        for number, lines in enumerate(shown, 1)
    ]
    has_cells = any(line.is_training for panel in panels for line in panel.lines)
    keys = [Key(name, number) for number, name in enumerate(names)]
    return Picture(tuple(panels), (*keys, *[Key(CELL_KEY, is_training=True)] * has_cells))


def memory_picture(findings: Sequence[Findings]) -> Picture:
    """Return the picture of what characters cost after few and many characters, n-grams of the same lengths dashed."""
    known = [(found, found.memory) for found in findings if found.memory]
    if not known:
        return Picture(())
    names = labels([found for found, _ in known]) if len(findings) > 1 else ["network"]
    lines = [
        Line(name, number, tuple(_dot(each.length, each.nats) for each in memory.lengths), measures="network")
        for number, (name, (_, memory)) in enumerate(zip(names, known, strict=True))
    ]
    tables = dict.fromkeys(found.ngrams for found, _ in known if found.ngrams)
    # Networks that learned the same text share its n-grams.
    first = len(names) if len(tables) == 1 else None
    lines += [
        Line(
            name if first is None else NGRAM_KEY,
            number if first is None else first,
            tuple(_dot(each.length, each.nats) for each in found.ngrams),
            is_training=True,
            measures="ngrams",
        )
        for number, (name, (found, _)) in enumerate(zip(names, known, strict=True))
        if tables.pop(found.ngrams, True) is None
    ]
    has_ngrams = any(line.is_training for line in lines)
    keys = [Key(name, number) for number, name in enumerate(names)]
    return Picture(
        (Panel(LENGTH, NATS, tuple(lines)),),
        (*keys, *[Key(NGRAM_KEY, first, is_training=True)] * has_ngrams),
        looks=("Bands show the 95 % interval.",),
        spread=INTERVALS,
    )


def gate_picture(findings: Sequence[Findings]) -> Picture:
    """Return the saturation plots: a mark for each unit, at the shares of time at which its gate is shut and open."""
    known = [(found, found.gates) for found in findings if found.gates]
    names = list(dict.fromkeys(_gate_name(gate) for _, gates in known for gate in gates))
    titles = labels([found for found, _ in known]) if len(findings) > 1 else [""] * len(known)
    panels = [
        Panel(
            replace(BELOW, title=f"{BELOW.title} {_limit(gates[0].low)}"),
            replace(ABOVE, title=f"{ABOVE.title} {_limit(gates[0].high)}"),
            tuple(_gate_line(gate, names.index(_gate_name(gate))) for gate in gates if gate.layer == layer),
            title=", ".join(part for part in (title, f"layer {layer}") if part),
        )
        for title, (_, gates) in zip(titles, known, strict=True)
        for layer in range(1, max(gate.layer for gate in gates) + 1)
    ]
    return Picture(tuple(panels), tuple(Key(name, number) for number, name in enumerate(names)))


def labels(findings: Sequence[Findings]) -> list[str]:
    """Return a short name for each network: its run, with the step where a run has several."""
    has_several = len({(found.run, found.step) for found in findings}) > len({found.run for found in findings})
    steps = [f", {step_name(found.step)}" if has_several else "" for found in findings]
    return [printable(found.run, MAX_NAME) + step for found, step in zip(findings, steps, strict=True)]


def step_name(step: int) -> str:
    """Return a step in words; step 0 is the start of training."""
    return f"step {step:,}" if step else "start"


def _layer_lines(found: Findings, layer: int, label: str, number: int) -> Iterator[Line]:
    """Yield the lines of a layer, the hidden state's first; a network of fewer layers has none."""
    assert found.gradients
    for norms in found.gradients.layers[layer : layer + 1]:
        for values, measures in ((norms.hidden, "hidden"), (norms.cell or (), "cell")):
            # A logarithmic scale has no place for a gradient that is exactly zero, or that is not a number.
            dots = tuple(Dot(lag, norm) for lag, norm in enumerate(values) if 0 < norm < float("inf"))
            if dots:
                yield Line(label, number, dots, is_training=measures == "cell", measures=measures, runs=(found.run,))


def _dot(length: int, estimate: Estimate) -> Dot:
    return Dot(length, estimate.mean, (estimate.high - estimate.low) / 2)


def _gate_line(gate: GateShares, number: int) -> Line:
    dots = tuple(Dot(below, above) for below, above in gate.units)
    return Line(_gate_name(gate), number, dots, measures="unit", marked=tuple(range(len(dots))), is_joined=False)


def _gate_name(gate: GateShares) -> str:
    return "hidden units" if gate.letter == "h" else f"{gate.gate} gate {gate.letter}"


def _limit(value: float | None) -> str:
    return "its end" if value is None else f"{value:g}"


def _moved(panel: Panel, first: int) -> Panel:
    return replace(panel, lines=tuple(replace(line, number=line.number + first) for line in panel.lines))


def _moved_key(key: Key, first: int) -> Key:
    return key if key.number is None else replace(key, number=key.number + first)
