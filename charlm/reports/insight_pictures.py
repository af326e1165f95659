"""Choose what a picture of the inside of networks shows: gradients by lag, memory used and gates."""

from __future__ import annotations

import re
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
BELOW = Scale("below", "share of the time", is_share=True)
ABOVE = Scale("above", "share of the time", is_share=True)
INTERVALS = "the 95 % interval"
MAX_NAME = 60
# What the name of a sweep's trial ends with.
TRIAL_END = re.compile(r"-[0-9a-f]{8}$")
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
    if len(known) == 1:
        names = [f"layer {layer + 1}" for layer in range(depth)]
        lines = [line for layer, name in enumerate(names) for line in _layer_lines(known[0], layer, name, layer)]
        panels = [Panel(LAG, NORM, tuple(lines))]
    else:
        names, moments = labels(known), _moments(known)
        panels = [
            Panel(
                LAG,
                NORM,
                tuple(
                    line
                    for number, found in enumerate(networks)
                    for line in _layer_lines(found, layer, names[number], number)
                ),
                title=_joined(f"layer {layer + 1}" if depth > 1 else "", title),
            )
            for layer in range(depth)
            for title, networks in moments
        ]
    has_cells = any(line.is_training for panel in panels for line in panel.lines)
    keys = [Key(name, number) for number, name in enumerate(names)]
    return Picture(tuple(panels), (*keys, *[Key(CELL_KEY, is_training=True)] * has_cells))


def memory_picture(findings: Sequence[Findings]) -> Picture:
    """Return the picture of what characters cost after few and many characters, n-grams of the same lengths dashed."""
    known = [found for found in findings if found.memory]
    names = labels(known) if len(findings) > 1 else ["network"]
    # Networks that learned the same text share its n-grams.
    shared = len(names) if len({found.ngrams for found in known}) == 1 else None
    panels = [
        Panel(LENGTH, NATS, tuple(_memory_lines(networks, names, shared)), title=title)
        for title, networks in _moments(known)
    ]
    has_ngrams = any(line.is_training for panel in panels for line in panel.lines)
    keys = [Key(name, number) for number, name in enumerate(names)]
    ngram_key = [Key(NGRAM_KEY, shared, is_training=True)] * has_ngrams
    looks = ("Bands show the 95 % interval.",) * bool(known)
    return Picture(tuple(panels), (*keys, *ngram_key) if known else (), looks=looks, spread=INTERVALS)


def gate_picture(findings: Sequence[Findings]) -> Picture:
    """Return the saturation plots: a mark for each unit, at the shares of time at which its gate is shut and open."""
    known = [(found, found.gates) for found in findings if found.gates]
    names = list(dict.fromkeys(_gate_name(gate) for _, gates in known for gate in gates))
    runs = list(dict.fromkeys(found.run for found, _ in known))
    short = dict(zip(runs, labels([found for found, _ in known]), strict=True))
    has_moments = len(known) > len(runs)
    titles = [
        _joined(short[found.run] if len(runs) > 1 else "", step_name(found.step) if has_moments else "")
        for found, _ in known
    ]
    panels = [
        Panel(
            replace(BELOW, title=f"{BELOW.title} {_below(gates[0])}"),
            replace(ABOVE, title=f"{ABOVE.title} {_above(gates[0])}"),
            tuple(_gate_line(gate, names.index(_gate_name(gate))) for gate in gates if gate.layer == layer),
            title=_joined(title, f"layer {layer}"),
        )
        for title, (_, gates) in zip(titles, known, strict=True)
        for layer in range(1, max(gate.layer for gate in gates) + 1)
    ]
    return Picture(tuple(panels), tuple(Key(name, number) for number, name in enumerate(names)))


def labels(findings: Sequence[Findings]) -> list[str]:
    """Return a short name for each run, in order: of a sweep's trials without what only makes them unique."""
    runs = list(dict.fromkeys(found.run for found in findings))
    short = [TRIAL_END.sub("", run) for run in runs]
    return [printable(name, MAX_NAME) for name in (short if len(set(short)) == len(runs) else runs)]


def step_name(step: int) -> str:
    """Return a step in words; step 0 is the start of training."""
    return f"step {step:,}" if step else "start"


def _moments(findings: Sequence[Findings]) -> list[tuple[str, list[Findings]]]:
    """Return the networks of each moment of training with its title, which is empty if each run has one moment.

    The networks of each moment are in the order of their runs.
    """
    by_run: dict[str, list[Findings]] = {}
    for found in findings:
        by_run.setdefault(found.run, []).append(found)
    moments = [list(networks) for networks in zip(*by_run.values(), strict=True)]
    return [(_title(networks) if len(moments) > 1 else "", networks) for networks in moments]


def _title(networks: Sequence[Findings]) -> str:
    steps = {found.step for found in networks}
    return step_name(steps.pop()) if len(steps) == 1 else "trained"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _memory_lines(networks: Sequence[Findings], names: Sequence[str], shared: int | None) -> Iterator[Line]:
    """Yield the lines of networks, then those of their n-grams; those that are shared are drawn once."""
    for number, (found, name) in enumerate(zip(networks, names, strict=True)):
        if found.memory:
            dots = tuple(_dot(each.length, each.nats) for each in found.memory.lengths)
            yield Line(name, number, dots, measures="network", runs=(found.run,))
    for number, (found, name) in enumerate(zip(networks[: None if shared is None else 1], names, strict=False)):
        if found.ngrams:
            dots = tuple(_dot(each.length, each.nats) for each in found.ngrams)
            own = (name, number) if shared is None else (NGRAM_KEY, shared)
            yield Line(*own, dots, is_training=True, measures="ngrams")


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


def _below(gate: GateShares) -> str:
    return "exactly 0" if gate.high is None else f"below {gate.low:g}"


def _above(gate: GateShares) -> str:
    return "never, for relu has no upper end" if gate.high is None else f"above {gate.high:g}"


def _moved(panel: Panel, first: int) -> Panel:
    return replace(panel, lines=tuple(replace(line, number=line.number + first) for line in panel.lines))


def _moved_key(key: Key, first: int) -> Key:
    return key if key.number is None else replace(key, number=key.number + first)
