"""Print what was found inside networks: tables of numbers, and on a terminal pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from charlm.console.columns import NOTHING, column_table, print_whole
from charlm.console.plots import show_picture
from charlm.console.terminal import console_for, is_live
from charlm.insight.findings import Clipping, Findings
from charlm.insight.gates import GateShares, TimeConstants
from charlm.insight.jacobians import Spectrum
from charlm.insight.memory import MemoryUsed
from charlm.insight.neurons import Neuron
from charlm.reports.insight_pictures import gradient_picture, memory_picture, step_name

# A difference of this many nats does not matter.
NEAR = 0.01
# The lags that a table has room for.
LAGS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 200)


def show_findings(findings: Sequence[Findings]) -> None:
    """Print what was found inside each network, then, on a terminal, pictures that show them side by side."""
    console = console_for(sys.stdout)
    for number, found in enumerate(findings):
        if number:
            console.print("")
        _show_network(console, found)
    if is_live(sys.stdout):
        for picture in (gradient_picture(findings), memory_picture(findings)):
            if not picture.is_empty:
                console.print("")
                show_picture(picture)


def _show_network(console: Console, found: Findings) -> None:
    half = f", {found.half}" if found.half else ""
    _head(console, f"run {found.run}, {step_name(found.step)}: {found.network}{half}")
    if found.reading:
        console.print(f"read: {found.reading.num_chars:,} characters of {found.reading.name}")
    if found.gradients:
        _show_table(console, "Mean norm of dL_t/dh_{t-k}, in nats", _gradient_columns(found))
    if found.jacobians:
        _show_table(console, "Largest singular value of dh_t/dh_{t-k}", _jacobian_columns(found))
    if found.spectra:
        _show_table(console, "Recurrent weights W_hh", _spectrum_columns(found.spectra))
        for sentence in _bounds(found.spectra):
            console.print(sentence)
    if found.clipping:
        console.print(_clipping_text(found.clipping))
    if found.memory:
        _show_table(console, "Nats per character after the last k characters alone", _memory_columns(found))
        console.print(_memory_text(found.memory))
    if found.gates:
        _show_table(console, "Gates: share of time and units below and above", _gate_columns(found.gates))
    if found.time_constants:
        title = "Time constants: characters until a unit has lost all but 1/e of what it held"
        _show_table(console, title, _time_columns(found.time_constants))
    if found.neurons is not None:
        _show_table(console, "Units that follow a feature of the text", _neuron_columns(found.neurons))
        console.print(_neuron_text(found.neurons))


def _head(console: Console, text: str) -> None:
    console.print(Text(text, style="bold"), soft_wrap=True)


def _show_table(console: Console, title: str, columns: Mapping[str, Sequence[str]]) -> None:
    console.print("")
    _head(console, title)
    print_whole(console, column_table(columns))


def _gradient_columns(found: Findings) -> Mapping[str, Sequence[str]]:
    assert found.gradients
    rows = [
        (f"layer {layer.layer}, {state}", values)
        for layer in found.gradients.layers
        for state, values in (("h", layer.hidden), ("c", layer.cell))
        if values is not None
    ]
    lags = [lag for lag in LAGS if lag < len(found.gradients.num_at_lag)]
    return {"k": [name for name, _ in rows]} | {str(lag): [_number(values[lag]) for _, values in rows] for lag in lags}


def _jacobian_columns(found: Findings) -> Mapping[str, Sequence[str]]:
    layers = found.jacobians or ()
    lags = [each.lag for each in layers[0].lags] if layers else []
    return {"k": [f"layer {layer.layer}" for layer in layers]} | {
        str(lag): [_number(layer.lags[number].largest) for layer in layers] for number, lag in enumerate(lags)
    }


def _spectrum_columns(spectra: Sequence[Spectrum]) -> Mapping[str, Sequence[str]]:
    return {
        "layer": [str(each.layer) for each in spectra],
        "block": [each.block for each in spectra],
        "spectral radius": [f"{each.radius:.3f}" for each in spectra],
        "largest singular value": [f"{each.norm:.3f}" for each in spectra],
    }


def _bounds(spectra: Sequence[Spectrum]) -> Iterator[str]:
    """Yield what the bound of Pascanu et al. says about each layer of a simple RNN."""
    for each in spectra:
        if each.bound is not None:
            says = (
                "below it: gradients must vanish"
                if each.must_vanish
                else "not below it: the bound does not prove that gradients vanish"
            )
            yield f"layer {each.layer}: the largest singular value {each.norm:.3f}, the bound {each.bound:g}, is {says}"


def _clipping_text(clipping: Clipping) -> str:
    norms = f"gradient norm at {clipping.num_recorded:,} recorded steps: median {clipping.median:.3g}, largest "
    norms += f"{clipping.largest:.3g}"
    if clipping.share is None:
        return f"{norms}; this run does not clip by the norm"
    return f"{norms}; {clipping.share:.0%} of them above clip_norm {clipping.clip_norm:g}"


def _memory_columns(found: Findings) -> Mapping[str, Sequence[str]]:
    assert found.memory
    ngrams = {each.length: each.nats for each in found.ngrams}
    rows = [(str(each.length), each.nats, ngrams.get(each.length)) for each in found.memory.lengths]
    rows.append(("all", found.memory.everything, None))
    columns = {
        "k": [name for name, _, _ in rows],
        "network": [f"{nats.mean:.3f}" for _, nats, _ in rows],
        "95 % interval": [f"{nats.low:.3f} to {nats.high:.3f}" for _, nats, _ in rows],
    }
    return columns | ({"n-grams": [f"{nats.mean:.3f}" if nats else NOTHING for *_, nats in rows]} if ngrams else {})


def _memory_text(memory: MemoryUsed) -> str:
    """Say how far back the network looks."""
    near = next((each.length for each in memory.lengths if each.excess.mean <= NEAR), None)
    places = f"over {len(memory.sample.places):,} characters chosen at random"
    if near is None:
        last = memory.lengths[-1]
        return f"{places}; after the last {last.length} it costs {last.excess.mean:.3f} nats more than after all"
    return f"{places}; after the last {near} it costs at most {NEAR} nats more than after all"


def _gate_columns(gates: Sequence[GateShares]) -> Mapping[str, Sequence[str]]:
    return {
        "layer": [str(each.layer) for each in gates],
        "gate": [f"{each.gate} {each.letter}" for each in gates],
        "below": [f"{each.low:g}: {each.below:.1%}" for each in gates],
        "above": [NOTHING if each.high is None else f"{each.high:g}: {each.above:.1%}" for each in gates],
        "always below": [str(each.num_never) for each in gates],
    }


def _time_columns(constants: Sequence[TimeConstants]) -> Mapping[str, Sequence[str]]:
    names = ("10 %", "25 %", "median", "75 %", "90 %")
    return {
        "layer": [str(each.layer) for each in constants],
        "gate": [f"{each.gate} {each.letter}" for each in constants],
    } | {name: [_number(each.quantiles[number]) for each in constants] for number, name in enumerate(names)}


def _neuron_columns(neurons: Sequence[Neuron]) -> Mapping[str, Sequence[str]]:
    return {
        "feature": [each.feature for each in neurons],
        "unit": [unit_name(each) for each in neurons],
        "correlation": [f"{each.kept:+.2f}" for each in neurons],
        "chance": [f"{each.chance:.2f}" for each in neurons],
        "one split": [NOTHING if each.accuracy is None else f"{each.accuracy:.0%}" for each in neurons],
    }


def _neuron_text(neurons: Sequence[Neuron]) -> str:
    """Say what the numbers are, and how many units may be there by chance."""
    if not neurons:
        return "the text is too short to choose units on one half of it and to test them on the other"
    num_real = sum(each.beats_chance for each in neurons)
    return (
        f"chosen on the first half of the text, correlation on the second; {num_real} of {len(neurons)} exceed chance: "
        "what the same search finds for shifted features in 95 % of cases\n"
        "one split: balanced accuracy with a single threshold, 50% is guessing\n"
        "charlm inspect --neuron LAYER:UNIT colours the text by a unit"
    )


def unit_name(neuron: Neuron) -> str:
    """Return the name by which `--neuron` knows a unit, such as 1:37 or 1:37:c."""
    return f"{neuron.layer}:{neuron.unit}" + (f":{neuron.state}" if neuron.state != "h" else "")


def _number(value: float) -> str:
    return f"{value:.2g}"
