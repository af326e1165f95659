"""A result with its units, its interval and its baselines: all cover exactly the same characters."""

from __future__ import annotations

import bz2
import json
import lzma
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

import charlm
from charlm.console.evaluation import NO_BETTER, baseline_rows, show_figures
from charlm.console.results import result_rows
from charlm.console.summary import Closing, show_closing
from charlm.errors import CharlmWarning, TextError
from charlm.evaluation.assessment import Assessment, assess_text
from charlm.evaluation.baselines import fit_baselines
from charlm.evaluation.figure import Figure, Figures, figures_record
from charlm.evaluation.intervals import BlockSums
from charlm.evaluation.ngrams import fit_ngrams, ngram_nats
from charlm.evaluation.reading import measure_text
from charlm.evaluation.subject import Subject
from charlm.library.training import train
from charlm.networks.building import Network, build_model
from charlm.runs.json_records import from_json
from charlm.runs.records import Summary
from charlm.runs.run import Run
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings
from charlm.text.encoding import hash_ids
from charlm.text.splits import Part
from charlm.text.vocabulary import Ids, Vocabulary

Charlm = Callable[..., Result]
LATIN = Vocabulary(" abcdefghij")
GREEK = Vocabulary("αβγδεζηθικλ")
V, N = 11, 300
NAMES = ["uniform", "unigram", "bigram", "5-gram", "bzip2", "xz"]
NGRAM = re.compile(r"[3-9]-gram|1[0-2]-gram")
FIELDS = ["bits_per_byte", "bpc_interval", "sha256", "baselines", "beats_5gram"]
ESCAPE = "\x1b]0;evil\x07"


def build(direction: str = "forward") -> Network:
    """Return a small model that is far from sure and far from uniform."""
    network = build_model(ModelSettings(hidden_size=8, implementation="torch", direction=direction), V, seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3
    return network


def draw_ids(length: int = N, seed: int = 0) -> Ids:
    return np.random.default_rng(seed).integers(V, size=length).astype(np.uint8)


def measure(
    ids: Ids, vocabulary: Vocabulary = LATIN, *, encoding: str = "utf-8", train: Ids | None = None, **options: Any
) -> Assessment:
    part = Part(ids, hash_ids(ids, vocabulary))
    baselines = None if train is None else fit_baselines(train, vocabulary, encoding)
    return assess_text(build(), part, vocabulary, encoding=encoding, baselines=baselines, **options)


def check_names(names: Iterable[str]) -> None:
    """Check that these are all baselines, and the best n-gram where validation has not chosen the 5-gram."""
    best = [name for name in names if name not in NAMES]
    assert [name for name in names if name in NAMES] == NAMES
    assert len(best) <= 1
    assert all(NGRAM.fullmatch(name) and list(names)[4] == name for name in best)


def bits(figures: dict[str, Figure]) -> dict[str, float]:
    return {name: figure.bits_per_char for name, figure in figures.items()}


# Units.


@pytest.mark.parametrize(
    ("vocabulary", "encoding", "bytes_each"),
    [(LATIN, "utf-8", 1), (GREEK, "utf-8", 2), (GREEK, "utf-16", 2), (LATIN, "utf-16", 2), (GREEK, "iso8859-7", 1)],
)
def test_bits_per_byte_are_bits_per_character_by_the_bytes_of_each(
    vocabulary: Vocabulary, encoding: str, bytes_each: int
) -> None:
    measured = measure(draw_ids(), vocabulary, encoding=encoding)
    assert measured.num_bytes == bytes_each * (N - 1)
    bits = measured.figures.main.bits_per_char
    assert measured.bits_per_byte == pytest.approx(bits / bytes_each, rel=1e-12)


def test_bytes_are_counted_of_the_predicted_characters_alone() -> None:
    vocabulary = Vocabulary("".join(sorted("abé漢😀fghijk")))
    ids = vocabulary.encode("漢aé😀")
    assert measure(ids, vocabulary).num_bytes == 1 + 2 + 4


def test_a_corpus_of_bytes_is_measured_in_its_own_bytes(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(np.random.default_rng(0).choice(np.arange(120, 140, dtype=np.uint8), 3_000).tobytes())
    settings = tiny_settings(f"corpus.path='{path}'", "corpus.encoding=latin-1", "sample.prefixes=['x']")
    run = train(settings, name="run", runs_dir=tmp_path)
    measured = charlm.assess(run)
    assert measured.bits_per_byte == pytest.approx(measured.figures.main.bits_per_char, rel=1e-12)
    before, text = path.read_bytes()[:2700], path.read_bytes()[2850:]
    expected = 8 * (len(bz2.compress(before + text)) - len(bz2.compress(before))) / 150
    assert measured.baselines["bzip2"] == pytest.approx(expected, rel=1e-12)


def test_the_unknown_symbol_has_the_bytes_of_the_replacement_character() -> None:
    vocabulary = Vocabulary("abcdefghij", has_unknown=True)
    assert measure(np.array([0, 10, 0, 10], np.uint8), vocabulary).num_bytes == 3 + 1 + 3


# Baselines.


def test_baselines_predict_exactly_the_characters_that_the_model_predicts() -> None:
    known, part = draw_ids(2_000, seed=1), draw_ids()
    baselines = fit_baselines(known, LATIN, "utf-8").measure(part)
    assert list(baselines) == NAMES
    main = measure_text(build(), part).main
    assert all(figure.num_predicted == main.num_predicted == N - 1 for figure in baselines.values())
    assert baselines["uniform"].bits_per_char == pytest.approx(math.log2(V), rel=1e-12)
    for name, order in (("unigram", 1), ("bigram", 2), ("5-gram", 5)):
        expected = ngram_nats(fit_ngrams(known, V, order), part, V)
        assert len(expected) == N - 1
        assert baselines[name].nats == pytest.approx(expected.sum(), rel=1e-12)
    assert measure(part, train=known).baselines == bits(baselines)


@pytest.mark.parametrize("vocabulary", [LATIN, GREEK])
def test_a_compressors_bits_are_what_it_needs_beyond_the_training_split(vocabulary: Vocabulary) -> None:
    known, part = draw_ids(2_000, seed=1), draw_ids()
    before, text = (vocabulary.decode(ids).encode() for ids in (known, part))
    found = bits(fit_baselines(known, vocabulary, "utf-8").measure(part))
    for name, compress in (("bzip2", bz2.compress), ("xz", lzma.compress)):
        num_bytes = len(compress(before + text)) - len(compress(before))
        assert found[name] == pytest.approx(8 * num_bytes / N, rel=1e-12)
        # For a random text nothing can need fewer than log2 V bits, apart from headers and rounding to whole words.
        assert math.log2(V) - 0.2 < found[name] < 8


@pytest.mark.parametrize("length", [0, 1, 2, 4])
def test_a_training_split_of_almost_nothing_has_baselines(length: int) -> None:
    found = bits(fit_baselines(draw_ids(length), LATIN, "utf-8").measure(draw_ids()))
    assert all(math.isfinite(bits) for bits in found.values())


def test_baselines_know_the_last_characters_of_a_longer_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.evaluation.baselines.MAX_TRAIN_CHARS", 500)
    known, part = draw_ids(2_000, seed=1), draw_ids()
    whole, last = (fit_baselines(ids, LATIN, "utf-8").measure(part) for ids in (known, known[-500:]))
    assert whole == last


def test_without_a_training_split_there_are_no_baselines() -> None:
    measured = measure(draw_ids())
    assert (measured.baselines, measured.beats_5gram) == ({}, None)
    assert (measured.as_record()["baselines"], measured.as_record()["beats_5gram"]) == (None, None)


@pytest.mark.parametrize(("better", "beats"), [(-0.01, True), (0.0, False), (0.01, False)])
def test_a_model_beats_the_5_gram_where_it_needs_fewer_bits(
    capsys: pytest.CaptureFixture[str], better: float, beats: bool
) -> None:
    figures = Figures(Figure(2.0 * math.log(2) * 100, 100))
    bits = figures.main.bits_per_char
    measured = Assessment(figures, "0" * 64, 100, (1.0, 2.0), {"uniform": 3.0, "5-gram": bits - better})
    assert measured.beats_5gram is beats
    assert measured.as_record("val_")["val_beats_5gram"] is beats
    assert measured.as_record()["beats_5gram"] is beats
    show_figures(Subject("run", 1), "a text", measured)
    warning = f"a table of 5-grams {NO_BETTER}"
    assert (NO_BETTER in capsys.readouterr().out) is not beats
    summary = from_json(Summary, closing_record() | measured.as_record("val_"))
    assert (("validation, warning", warning) in result_rows(summary)) is not beats


@pytest.mark.parametrize(
    ("baselines", "name"),
    [
        ({"uniform": 3.0, "5-gram": 2.1, "7-gram": 1.9}, "a table of 7-grams"),
        ({"uniform": 3.0, "bigram": 2.0, "5-gram": 2.1}, "a table of bigrams"),
        ({"uniform": 1.5, "5-gram": 1.6}, "the uniform model"),
        # They learn from the text itself.
        ({"uniform": 3.0, "5-gram": 2.1, "bzip2": 1.0, "xz": 1.0}, None),
    ],
)
def test_the_best_static_baseline_is_the_one_to_beat(baselines: dict[str, float], name: str | None) -> None:
    found = dict(baseline_rows(2.0, baselines))
    assert found.get("warning") == (None if name is None else f"{name} {NO_BETTER}")
    assert ("adaptive" in found) is ("xz" in baselines)


@pytest.mark.parametrize("boundary", [None, 0])
def test_validation_chooses_the_order_that_predicts_it_best(boundary: int | None) -> None:
    # Each character follows from the four before it, and from no fewer.
    generator, text = np.random.default_rng(0), [1, 2, 3, 4]
    for _ in range(20_000):
        following = sum(place * character for place, character in enumerate(text[-4:], 1)) % 7 + 1
        text.append(following if generator.random() < 0.9 else int(generator.integers(1, 8)))
    ids = np.array(text, np.uint8)
    train, val = ids[:18_000], ids[18_000:]
    fitted = fit_baselines(train, LATIN, "utf-8", val=val, boundary=boundary)
    costs = [
        ngram_nats(fit_ngrams(train, V, order, boundary=boundary), val, V, boundary=boundary).sum()
        for order in range(3, 13)
    ]
    best = 3 + int(np.argmin(costs))
    assert best > 3
    assert fitted.orders == {"unigram": 1, "bigram": 2, "5-gram": 5, f"{best}-gram": best}
    assert fitted.measure(val)[f"{best}-gram"].nats == pytest.approx(min(costs), rel=1e-12)


def test_of_orders_that_predict_validation_equally_well_the_lowest_is_taken() -> None:
    # In two characters there are no n-grams beyond bigrams, so that all the tried orders are the same model.
    fitted = fit_baselines(draw_ids(2), LATIN, "utf-8", val=draw_ids())
    assert fitted.orders["3-gram"] == 3
    assert len({bits(fitted.measure(draw_ids()))[name] for name in ("bigram", "3-gram", "5-gram")}) == 1


def test_without_a_validation_split_no_order_is_chosen(tmp_path: Path, tiny_settings: Callable[..., Settings]) -> None:
    run = train(tiny_settings("corpus.split=[2700,0,300]"), name="run", runs_dir=tmp_path)
    assert list(charlm.assess(run).baselines) == NAMES


# Observed costs.


@pytest.mark.parametrize("chunk_chars", [1, 7, 64, N - 1, N, 2048])
@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional"])
def test_each_cost_is_observed_once_and_in_order(direction: str, chunk_chars: int) -> None:
    network, ids = build(direction), draw_ids()
    seen: list[float] = []
    figures = measure_text(network, ids, chunk_chars=chunk_chars, observe=lambda costs: seen.extend(costs.tolist()))
    assert len(seen) == N - 1
    assert sum(seen) == pytest.approx(figures.main.nats, rel=1e-12)
    # Of a bidirectional model, the forward half's: a shorter text's are the first of them.
    for length in (2, 100, 250):
        beginning = measure_text(network, ids, max_chars=length).main
        assert sum(seen[: length - 1]) == pytest.approx(beginning.nats, rel=1e-5)
    assert figures == measure_text(network, ids, chunk_chars=chunk_chars)


def test_the_interval_is_that_of_the_observed_costs() -> None:
    ids, costs = draw_ids(6_000), []
    measure_text(build(), ids, observe=costs.append)
    blocks = BlockSums()
    blocks.add(np.concatenate(costs))
    measured = measure(ids)
    assert measured.interval == blocks.interval()
    assert measured.interval is not None
    low, high = (nats / math.log(2) for nats in measured.interval)
    assert measured.as_record("val_")["val_bpc_interval"] == [low, high]
    assert low < measured.figures.main.bits_per_char < high


def test_a_stop_between_chunks_is_obeyed() -> None:
    def stop(done: int) -> None:
        raise InterruptedError(done)

    with pytest.raises(InterruptedError):
        measure(draw_ids(), train=draw_ids(), report=stop)


# Runs.


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional", "leaky"])
def test_the_closing_record_equals_measuring_each_split_again(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str, direction: str
) -> None:
    settings = tiny_settings("train.max_steps=3", f"model.direction={direction}", "corpus.split=[2000,600,400]")
    run = train(settings, name="run", runs_dir=tmp_path)
    end = run.summary()
    assert end is not None
    for part, text in (("val", corpus_text[2000:2600]), ("test", corpus_text[2600:])):
        again = charlm.assess(run, split=part).as_record(f"{part}_")
        assert {key: end[key] for key in again} == again
        assert end[f"{part}_sha256"] == sha256(text.encode()).hexdigest() == end["split"][part]["sha256"]
        check_names(end[f"{part}_baselines"])


def test_a_backward_models_baselines_read_as_it_does(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str
) -> None:
    run = train(tiny_settings("train.max_steps=1", "model.direction=backward"), name="run", runs_dir=tmp_path)
    model = charlm.open_run(run)
    vocabulary = model.checkpoint.vocabulary
    texts = (corpus_text[:2700], corpus_text[2700:2850], corpus_text[2850:])
    known, val, part = (vocabulary.encode(text)[::-1] for text in texts)
    found = charlm.assess(model)
    assert found.baselines == bits(fit_baselines(known, vocabulary, "utf-8", val=val).measure(part))
    onwards = bits(fit_baselines(known[::-1], vocabulary, "utf-8").measure(part[::-1]))
    assert all(found.baselines[name] != onwards[name] for name in ("bigram", "5-gram"))
    assert found.figures == charlm.evaluate(model)


def test_a_run_may_leave_its_baselines_out_and_be_resumed_with_them(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    where = (f"--runs-dir={tmp_path}", "--run=run")
    closing = charlm_command("train", *tiny_options, *where, "--set=eval.baselines=false").stdout
    assert "quality: not compared with any baseline" in closing
    shown = charlm_command("info", "run", where[0]).stdout
    end = Run(tmp_path / "run").summary()
    assert end is not None
    assert (end["val_baselines"], end["val_beats_5gram"], end["test_baselines"]) == (None, None, None)
    assert "bits per byte" in shown
    assert not any(word in shown for word in ("validation, baselines", "warning"))
    resume = ("train", "--resume", *where, "--set=train.max_steps=13", "--set=eval.baselines=true", "--json")
    check_names(json.loads(charlm_command(*resume).stdout)["val_baselines"])


def test_a_missing_split_has_neither_results_nor_baselines(
    tmp_path: Path, tiny_settings: Callable[..., Settings]
) -> None:
    end = train(tiny_settings("corpus.split=nanogpt"), name="run", runs_dir=tmp_path).summary()
    assert end is not None
    assert end["test_bpc"] is None
    assert not any(f"test_{field}" in end for field in FIELDS)


# The command line.


def test_eval_prints_all_fields_and_no_baselines_leaves_theirs_empty(trained: Run, charlm_command: Charlm) -> None:
    command = ("eval", f"--run={trained.path}", "--json")
    record = json.loads(charlm_command(*command).stdout)
    heading = ["run", "step", "text", "nats", "nats_per_char", "bpc", "perplexity", "chars"]
    assert list(record) == [*heading, *FIELDS, "adaptive"]
    check_names(record["baselines"])
    assert record["beats_5gram"] is (record["bpc"] < record["baselines"]["5-gram"])
    assert record["bpc_interval"] is None  # 149 characters are too few for one
    without = charlm_command(*command, "--no-baselines")
    assert json.loads(without.stdout) == record | {"baselines": None, "beats_5gram": None, "adaptive": None}
    plain = charlm_command(*command[:-1], "--no-baselines").stdout
    assert not any(word in plain for word in ("baselines", "adaptive", "warning", "interval"))


def test_eval_prints_the_interval_of_a_text_of_ten_blocks(
    trained: Run, charlm_command: Charlm, tmp_path: Path, corpus_text: str
) -> None:
    path = tmp_path / "long.txt"
    path.write_text(corpus_text * 2, encoding="utf-8")
    command = ("eval", f"--run={trained.path}", f"--corpus={path}")
    record = json.loads(charlm_command(*command, "--json").stdout)
    low, high = record["bpc_interval"]
    assert low < record["bpc"] < high
    assert record["sha256"] == sha256(path.read_bytes()).hexdigest()
    check_names(record["baselines"])
    assert f"95 % interval       {low:.3f} to {high:.3f} bits per character\n" in charlm_command(*command).stdout


def test_other_files_have_the_baselines_of_the_runs_own_training_split(
    trained: Run, tmp_path: Path, corpus_text: str
) -> None:
    path = tmp_path / "test.txt"
    path.write_text(corpus_text[2850:], encoding="utf-8")
    assert charlm.assess(trained, files=[path]) == charlm.assess(trained)


def test_the_training_split_itself_has_no_baselines_which_would_know_it_by_heart(trained: Run) -> None:
    assert charlm.assess(trained, split="train").baselines == {}


def test_a_result_without_its_baselines_says_why(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str
) -> None:
    corpus, other = tmp_path / "corpus.txt", tmp_path / "other.txt"
    corpus.write_text(corpus_text, encoding="utf-8")
    other.write_text(corpus_text[:500], encoding="utf-8")
    run = train(tiny_settings(f"corpus.path='{corpus}'"), name="run", runs_dir=tmp_path)
    whole = charlm.assess(run, files=[other])
    corpus.write_text(corpus_text + "a", encoding="utf-8")
    with pytest.warns(CharlmWarning, match="the result has no baselines: the corpus has changed since the run run was"):
        assert charlm.assess(run, files=[other]) == replace(whole, baselines={})
    corpus.unlink()
    with pytest.warns(CharlmWarning, match="the result has no baselines: there is no corpus file"):
        charlm.assess(run, files=[other])
    assert charlm.assess(run, files=[other], baselines=False) == replace(whole, baselines={})
    # Neither hides a problem with the text that is measured.
    other.write_text("é" * 20, encoding="utf-8")
    with pytest.raises(TextError, match="never seen"):
        charlm.assess(run, files=[other])
    with pytest.raises(TextError, match="there is no corpus file"):
        charlm.assess(run)


# Closing records from other sources.


def closing_record() -> dict[str, Any]:
    """Return a closing record as `charlm train` writes it."""
    figures = Figures(Figure(100.0, 100))
    measured = Assessment(figures, "0" * 64, 100, (1.0, 2.0), {"uniform": 3.0, "5-gram": 2.0})
    bidirectional = Assessment(Figures(figures.main, figures.main, figures.main), "0" * 64, 100, None, {})
    record = {"kind": "end", "run": "run", "stopped_by": "max_steps", "steps": 12, "epochs": 0, "best_step": 6}
    record |= {"seconds": 1.0, "chars_per_second": 1.0, "direction": "forward"}
    record |= {"split": {part: {"chars": 101, "sha256": "0" * 64} for part in ("train", "val", "test")}}
    record |= figures_record(figures, "train_") | measured.as_record("val_") | bidirectional.as_record("test_")
    return record


def hostile_records() -> Iterator[dict[str, Any]]:
    """Yield closing records with each field missing, or of a type that it cannot have."""
    good = closing_record()
    values = [None, True, "x", ESCAPE, 3, -1.5, 1e300, [], {}, [1], [1.0, 2.0, 3.0], ["a", "b"], [None, None], [[], []]]
    values += [{"a": "b"}, {"5-gram": None}, {ESCAPE: 1.0}, {"val": []}, {"val": {"sha256": 3}}, "0" * 5_000]
    for key in good:
        yield {name: value for name, value in good.items() if name != key}
        yield from (good | {key: value} for value in values)


def show(summary: Summary, path: Path) -> None:
    """Print both the end of a training and what `charlm info` shows about it."""
    show_closing(Closing(summary, path, None, None, "charlm generate", "charlm info run", "charlm train"))
    for name, value in result_rows(summary):
        print(f"{name}: {value}")


def test_any_closing_record_is_shown_or_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, num_shown = Run(tmp_path), 0
    for record in [closing_record(), *hostile_records()]:
        (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
        found = run.summary()
        if found is not None:
            num_shown += 1
            show(found, tmp_path)
            shown = capsys.readouterr().out
            assert all(line.isprintable() for line in shown.splitlines()), record
    assert num_shown > 50


@pytest.mark.parametrize(
    "change",
    [
        {"val_baselines": 3},
        {"val_baselines": {"5-gram": "best"}},
        {"val_baselines": {ESCAPE: 1.0}},
        {"test_bpc_interval": ["a", "b", "c"]},
        {"test_bits_per_byte": {}},
        {"val_sha256": ESCAPE},
        {"split": []},
        {"val_perplexity": None},
    ],
    ids=str,
)
def test_a_run_that_is_done_is_resumed_whatever_its_closing_record_holds(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], change: dict[str, Any]
) -> None:
    where = (f"--runs-dir={tmp_path}", "--run=run")
    good = json.loads(charlm_command("train", *tiny_options, "--set=train.max_steps=2", *where, "--json").stdout)
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:-1], json.dumps(good | change), ""]), encoding="utf-8")
    result = charlm_command("train", "--resume", *where)
    assert result.exit_code == 0
    assert result.stdout.startswith("result: perplexity ")
    assert all(line.isprintable() for line in (result.stdout + result.stderr).splitlines())


def test_the_closing_record_of_an_older_charlm_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    new = {f"{part}_{field}" for part in ("val", "test") for field in FIELDS}
    old = {key: value for key, value in closing_record().items() if key not in new}
    show(from_json(Summary, old), tmp_path)
    closing, *rows = capsys.readouterr().out.split("validation:")
    assert "on the validation split" in closing
    assert "not compared with any baseline" in closing
    assert len(rows) == 1
