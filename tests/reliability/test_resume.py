"""A run that is cut and resumed equals the uncut run to the last bit; whatever could make it different is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, product
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from pairs import by_pairs, one_in

from charlm.errors import RunError, StoppedError, TextError
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.facts import PartFacts
from charlm.runs.run import Run
from charlm.text.vocabulary import Vocabulary
from charlm.training.events import End, Evaluation, Samples, Start, Step
from charlm.training.experiment import prepare
from charlm.training.launch import train_reports
from charlm.training.progress import Progress
from charlm.training.recording import measure, write_samples
from charlm.training.resume import check_same_text

NUM_STEPS = 16
WINDOWS_PER_EPOCH = 7


def cut_steps(where: str, random: Random, steps_per_epoch: int) -> list[int]:
    """Draw the steps after which a run is cut."""
    if where == "inside":
        return [random.choice([step for step in range(1, NUM_STEPS) if step % steps_per_epoch])]
    if where == "end":
        return [random.choice(range(steps_per_epoch, NUM_STEPS, steps_per_epoch))]
    return sorted(random.sample(range(1, NUM_STEPS), {"twice": 2, "five times": 5}[where]))


@pytest.fixture(scope="module")
def tally(endurance: Any) -> Iterator[Counter[str]]:
    """Yield what counts the cells of the matrix."""
    counts: Counter[str] = Counter()
    yield counts
    endurance.tell("resume matrix", f"{counts['identical']} of {counts['cells']} cells identical")


# The matrix.


@pytest.mark.parametrize(
    ("cell", "method", "dropout", "accumulation", "where"),
    by_pairs(
        ("rnn", "gru", "lstm"),
        ("consecutive", "random"),
        (0, 0.3),
        (1, 3),
        ("inside", "end", "twice", "five times"),
    ),
)
def test_a_cut_run_is_the_uncut_run(
    laboratory: Any,
    endurance: Any,
    tally: Counter[str],
    cell: str,
    method: str,
    dropout: float,
    accumulation: int,
    where: str,
) -> None:
    overrides = (
        f"model.cell={cell}",
        f"sampling.method={method}",
        f"model.num_layers={2 if dropout else 1}",
        f"model.dropout={dropout}",
        f"optimizer.accumulation={accumulation}",
    )
    random = Random(f"{endurance.seed} {overrides} {where}")
    steps = cut_steps(where, random, -(-WINDOWS_PER_EPOCH // accumulation))
    cuts = laboratory.cuts(random, *steps)
    tally["cells"] += 1
    difference = laboratory.difference(cuts, *overrides)
    assert difference is None, (cuts, difference)
    tally["identical"] += 1


IMPLEMENTATIONS = [
    (f"model.implementation={name}", f"model.cell={cell}", "model.num_layers=2", "model.dropout=0.3")
    for name, cell in product(("reference", "torch"), ("rnn", "gru", "lstm"))
]
MODELS = [
    ("model.direction=backward",),
    ("model.direction=bidirectional", "model.cell=gru"),
    ("model.direction=bidirectional", "model.lookahead=5", "model.num_layers=2", "model.dropout=0.3"),
    ("model.direction=bidirectional", "model.lookahead=5", "sampling.method=random"),
    ("model.direction=leaky", "model.cell=rnn"),
    ("model.embedding_size=5", "model.init=orthogonal"),
    ("model.cell=gru", "model.reset_after=false"),
    ("model.cell=rnn", "model.activation=relu", "model.init=identity"),
]
OPTIMIZERS = [
    ("optimizer.method=adamw", "optimizer.weight_decay=0.1"),
    ("optimizer.method=sgd",),
    ("optimizer.method=sgd", "optimizer.momentum=0.9", "optimizer.weight_decay=0.1"),
    ("optimizer.method=rmsprop",),
    ("optimizer.method=rmsprop", "optimizer.momentum=0.9"),
    ("optimizer.clip_value=0.01", "optimizer.clip_norm=null"),
]
SGD = ("optimizer.method=sgd", "optimizer.learning_rate=10")
EMA = ("optimizer.average.method=ema",)
TRIGGERED = (*SGD, "optimizer.average={method: triggered, patience: 1}")
AVERAGES = [
    EMA,
    ("optimizer.average={method: ema, decay: 0.3}", "model.num_layers=2", "model.dropout=0.3", "model.cell=gru"),
    (*EMA, "corpus.split=none", "optimizer.accumulation=3"),
    (*EMA, "model.direction=bidirectional", "sampling.method=random", "train.eval_every=3"),
    (*EMA, "model.learned_state=true", "model.embedding_size=8", "model.tied_embeddings=true"),
    (*TRIGGERED, "train.eval_every=1", "optimizer.weight_decay=0.001", "optimizer.momentum=0.5"),
    (*TRIGGERED, "train.eval_every=2", "train.early_stopping=9", "checkpoint.minutes=1e-9"),
    (*TRIGGERED, "train.eval_every=8", "eval.max_chars=50"),  # too seldom for it to begin
]
SCHEDULES = [
    ("optimizer.schedule={method: step, every: 5, warmup_steps: 3}",),
    ("optimizer.schedule={method: exponential, every: {epochs: 1}}",),
    ("optimizer.schedule={method: cosine, warmup_steps: 6, min_learning_rate: 0.001}",),
    ("optimizer.schedule={method: plateau, patience: 1}", "optimizer.learning_rate=1", "train.eval_every=2"),
    ("optimizer.schedule={method: plateau, patience: 1}", "optimizer.learning_rate=1e-30", "train.eval_every=1"),
]
PERIODS = [
    ("eval.baselines=true",),
    ("train.early_stopping=3", "optimizer.learning_rate=1e-30", "train.eval_every=4"),
    ("corpus.split=none",),
    ("corpus.split=none", "sample.every={epochs: 1}", "train.eval_every={epochs: 1}"),
    ("train.eval_every=5", "sample.every=2", "eval.max_chars=50"),
    ("train.epochs=2", "train.max_steps=null", "train.eval_every={epochs: 1}"),
    ("train.eval_every=1000", "sample.every=1000"),
    ("train.on_divergence=rollback", "checkpoint.keep_every=null", "checkpoint.minutes=1e-9"),
]


@pytest.mark.parametrize(
    "overrides",
    [case for kind in (IMPLEMENTATIONS, MODELS, OPTIMIZERS, AVERAGES, SCHEDULES, PERIODS) for case in one_in(4, kind)],
    ids=" ".join,
)
def test_a_cut_run_of_any_other_kind_is_the_uncut_run(
    laboratory: Any, endurance: Any, overrides: tuple[str, ...]
) -> None:
    random = Random(f"{endurance.seed} {overrides}")
    for _ in range(endurance.times(1, 5)):
        cuts = laboratory.cuts(random, *sorted(random.sample(range(1, 12), 2)))
        difference = laboratory.difference(cuts, *overrides)
        assert difference is None, (cuts, difference)


@pytest.mark.parametrize("where", one_in(3, ["at", "before", "after", "inside", "end", "twice", "five times"]))
def test_a_cut_run_with_an_average_is_the_uncut_run_whether_it_has_begun_or_not(
    laboratory: Any, endurance: Any, where: str
) -> None:
    overrides = (*TRIGGERED, "train.eval_every=1", "model.num_layers=2", "model.dropout=0.3")
    checkpoints = laboratory.trace(laboratory.whole(*overrides)).checkpoints
    begun = [step for step, files in checkpoints.items() if files["state"]["progress"]["is_averaging"]]
    # Of the checkpoint at which it begins, the model still has the raw weights.
    assert 2 < begun[0] < NUM_STEPS - 3
    assert [checkpoints[step]["state"]["progress"]["num_averaged"] for step in begun] == list(range(len(begun)))
    random = Random(f"{endurance.seed} {where}")
    beside = {"before": begun[0] - 1, "at": begun[0], "after": begun[0] + 1}
    steps = [beside[where]] if where in beside else cut_steps(where, random, WINDOWS_PER_EPOCH)
    for is_abrupt in (True, False):
        cuts = [replace(cut, is_abrupt=is_abrupt) for cut in laboratory.cuts(random, *steps)]
        difference = laboratory.difference(cuts, *overrides)
        assert difference is None, (cuts, difference)


def test_a_cut_run_with_two_threads_is_the_uncut_run(
    laboratory: Any, set_threads: Callable[[int], None], endurance: Any
) -> None:
    set_threads(2)
    overrides = ("train.threads=2", "model.hidden_size=64", "sampling.batch_size=20", "sampling.seq_len=24")
    cuts = laboratory.cuts(Random(endurance.seed), 5, 9)
    assert laboratory.difference(cuts, *overrides) is None


# A small run that is cut everywhere: with scheduled and closing evaluations and samples.
EVERYWHERE = ("train.max_steps=5", "train.eval_every=2", "sample.every=3", "sample.length=4")


def test_a_request_to_stop_may_come_at_any_check(laboratory: Any) -> None:
    whole = laboratory.trace(laboratory.whole(*EVERYWHERE))
    settings = laboratory.make(*laboratory.seven_windows, "checkpoint.keep_every=1", *EVERYWHERE)
    ended = Counter[str]()
    for number in count(1):
        folder, calls = laboratory.folder(), count(1)

        def should_stop(calls: Iterator[int] = calls, number: int = number) -> str | None:
            # Asked again, it returns None: one request is enough.
            return "terminate" if next(calls) == number else None

        try:
            *_, end = train_reports(settings, name="run", runs_dir=folder, should_stop=should_stop)
        except StoppedError:
            ended["before"] += 1
            assert list(folder.iterdir()) == []
            continue
        assert isinstance(end, End)
        if end.stopped_by == "max_steps":
            break
        assert end.stopped_by == "terminate"
        assert Run(folder / "run").summary() is None
        ended[str(end.record["steps"])] += 1
        laboratory.session(folder, settings)
        assert laboratory.trace(Run(folder / "run")).difference(whole) is None, number
    # At the end there are a closing evaluation, closing samples and the closing reads to leave.
    assert ended["before"] == 1
    assert all(ended[str(step)] for step in range(6))
    assert ended["5"] > 6


def test_a_run_may_be_killed_after_any_report(laboratory: Any) -> None:
    whole = laboratory.trace(laboratory.whole(*EVERYWHERE))
    settings = laboratory.make(*laboratory.seven_windows, "checkpoint.keep_every=1", *EVERYWHERE)
    kinds: list[type] = []
    for number in count(1):
        folder = laboratory.folder()
        reports = train_reports(settings, name="run", runs_dir=folder)
        last = [next(reports) for _ in range(number)][-1]
        kinds.append(type(last))
        reports.close()  # pyright: ignore[reportAttributeAccessIssue]
        before = digest(folder)
        reports = laboratory.session(folder, settings)
        assert laboratory.trace(Run(folder / "run")).difference(whole) is None, number
        if isinstance(last, End):
            assert digest(folder) == before
            break
    assert Counter(kinds) == {Start: 1, Step: 5, Evaluation: 3, Samples: 2, End: 1}


def test_a_run_may_be_killed_before_its_first_checkpoint(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, settings = (
        laboratory.folder(),
        laboratory.make(*laboratory.seven_windows, "checkpoint.keep_every=1", *EVERYWHERE),
    )

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("charlm.runs.writer.write_checkpoint", die)
        with pytest.raises(KeyboardInterrupt):
            laboratory.session(folder, settings)
    assert Run(folder / "run").checkpoint_paths() == []
    laboratory.session(folder, settings)
    assert laboratory.trace(Run(folder / "run")).difference(laboratory.trace(laboratory.whole(*EVERYWHERE))) is None


# What a resumed run reports.


def test_a_resumed_run_says_from_where_and_records_it(laboratory: Any) -> None:
    folder, settings = laboratory.folder(), laboratory.make("train.max_steps=8")
    laboratory.session(folder, settings, cut=laboratory.cuts(Random(0), 5)[0])
    stopped_at = load_checkpoint(Run(folder / "run"), "last").step
    start = laboratory.session(folder, settings)[0]
    assert (start.resumed_at, start.note) == (stopped_at, None)
    (line,) = (folder / "run" / "resumes.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["step"] == stopped_at


def test_sampling_and_evaluating_change_nothing_that_training_continues_from(laboratory: Any) -> None:
    experiment = prepare(laboratory.make("model.num_layers=2", "model.dropout=0.5"))
    weights = {name: tensor.clone() for name, tensor in experiment.network.state_dict().items()}
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for step in range(3):
        progress = Progress(step=step)
        measure(experiment, progress, 0.0, chooses=True, is_closing=False, should_stop=lambda: None)
        write_samples(experiment, progress, is_closing=False, should_stop=lambda: None)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in experiment.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)
    assert experiment.optimizer.state_dict()["state"] == {}


# Budgets.


def digest(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file of a folder, with the time it was written."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.parametrize(
    "budgets",
    one_in(
        2,
        [
            (("train.max_steps=8",), ("train.max_steps=16",)),
            (("train.max_steps=10",), ("train.max_steps=16",)),  # ends off schedule
            (("train.max_steps=1",), ("train.max_steps=16",)),
            (("train.max_steps=10",), ("train.max_steps=11",)),  # off schedule twice
            (("train.epochs=1", "train.max_steps=null"), ("train.epochs=2",)),
            (("train.epochs=1", "train.max_steps=null"), ("train.epochs=2", "train.max_steps=13")),
            (("train.minutes=1e-9",), ("train.minutes=1000",)),
            (("train.minutes=1e-9",), ("train.minutes=null",)),
            (
                ("train.early_stopping=1", "optimizer.learning_rate=1e-30", "train.max_steps=16"),
                ("train.early_stopping=2",),
            ),
            (
                ("optimizer.schedule={method: cosine, total_steps: 16}", "train.max_steps=9"),
                ("train.max_steps=16",),
            ),
            ((*EMA, "train.max_steps=8"), ("train.max_steps=16",)),
            ((*EMA, "train.max_steps=10"), ("train.max_steps=16",)),
            # Off schedule: the closing result of the first end must not start it.
            *(
                ((*TRIGGERED, "train.eval_every=2", f"train.max_steps={steps}"), ("train.max_steps=16",))
                for steps in (5, 8, 11)
            ),
        ],
    ),
    ids=lambda budgets: " then ".join(" ".join(texts) for texts in budgets),
)
def test_a_run_with_an_extended_budget_equals_one_that_had_it_from_the_start(
    laboratory: Any, budgets: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    first, then = budgets
    folder = laboratory.folder()
    settings = laboratory.make(*laboratory.seven_windows, "train.eval_every=4", "sample.every=3", *first)
    end = laboratory.session(folder, settings)[-1]
    again = laboratory.session(folder, None, overrides=then)
    assert again[0].resumed_at == end.record["steps"] < again[-1].record["steps"]
    whole = laboratory.folder()
    laboratory.session(
        whole, laboratory.make(*laboratory.seven_windows, "train.eval_every=4", "sample.every=3", *first, *then)
    )
    found, expected = laboratory.trace(Run(folder / "run")), laboratory.trace(Run(whole / "run"))
    # The checkpoint of the first end may replace another, so only those that both keep are compared.
    steps = found.checkpoints.keys() & expected.checkpoints.keys()
    assert max(expected.checkpoints) in steps
    assert found.difference(replace(expected, checkpoints={step: expected.checkpoints[step] for step in steps})) is None
    assert Run(folder / "run").settings() == Run(whole / "run").settings()


def test_a_result_off_the_schedule_chooses_no_checkpoint_of_the_resumed_run(laboratory: Any) -> None:
    # A rate that jumps from sensible to absurd: the closing result at step 20 would be the best.
    schedule = "{method: constant, warmup_steps: 1000}"
    rising = f"optimizer={{method: sgd, learning_rate: 1000, clip_norm: 1, schedule: {schedule}}}"
    worse = (rising, "train.eval_every=50")
    folder = laboratory.folder()
    laboratory.session(folder, laboratory.make(*worse, "train.max_steps=20"))
    first = Run(folder / "run").summary()
    assert first is not None
    assert first["best_step"] == 20
    laboratory.session(folder, None, overrides=["train.max_steps=60"])
    whole = laboratory.folder()
    laboratory.session(whole, laboratory.make(*worse, "train.max_steps=60"))
    extended, expected = (laboratory.trace(Run(path / "run")).metrics for path in (folder, whole))
    assert first["val_bpc"] < expected[-1]["val_bpc"]
    assert extended == expected


@pytest.mark.parametrize(
    ("settings", "then"),
    [
        ("train.max_steps=6", ()),
        ("train.max_steps=6", ("train.max_steps=3",)),
        ("train.max_steps=7", ("train.max_steps=7",)),
        ("train.epochs=2", ("train.epochs=1",)),
        ("train.minutes=1e-9", ()),
        ("train.minutes=1e-9", ("train.minutes=5e-10",)),
    ],
)
def test_resuming_a_completed_run_reports_its_closing_results_and_writes_nothing(
    laboratory: Any, settings: str, then: tuple[str, ...]
) -> None:
    folder = laboratory.folder()
    # Evaluated at each step: the last checkpoint may have been saved before the time was up.
    made = laboratory.make(*laboratory.seven_windows, "train.max_steps=null", "train.eval_every=1", settings)
    end = laboratory.session(folder, made)[-1]
    before = digest(folder)
    assert laboratory.session(folder, None, overrides=then) == [end]
    assert digest(folder) == before


def test_a_run_whose_time_ran_out_after_its_last_save_is_done(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    folder, settings = laboratory.folder(), laboratory.make("train.eval_every=1", "train.minutes=1")
    end = None
    for end in train_reports(settings, name="run", runs_dir=folder):
        if isinstance(end, Evaluation):
            # Between the save and the next look at the clock.
            now[0] += 31
    assert isinstance(end, End)
    assert (end.stopped_by, end.record["steps"]) == ("minutes", 2)
    before = digest(folder)
    assert laboratory.session(folder, settings) == [end]
    assert digest(folder) == before


def test_a_done_run_that_lost_its_last_line_is_closed_again(laboratory: Any) -> None:
    folder = laboratory.folder()
    shutil.copytree(laboratory.whole().path, folder / "run")
    lines = (folder / "run" / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "run" / "metrics.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    assert not [report for report in laboratory.session(folder, None) if isinstance(report, Step)]
    assert laboratory.trace(Run(folder / "run")).difference(laboratory.trace(laboratory.whole())) is None


# What may change, and what must not.


@pytest.mark.parametrize("then", ["train.eval_every=3", "eval.max_chars=40", "sample.every=1", "checkpoint.minutes=1"])
def test_a_changed_period_changes_no_weight(laboratory: Any, then: str) -> None:
    folder = laboratory.folder()
    settings = laboratory.make(
        *laboratory.seven_windows, "train.max_steps=16", "model.num_layers=2", "model.dropout=0.3"
    )
    laboratory.session(folder, settings, cut=laboratory.cuts(Random(0), 7)[0])
    laboratory.session(folder, None, overrides=[then])
    whole = laboratory.whole("model.num_layers=2", "model.dropout=0.3")
    last = max(laboratory.trace(whole).checkpoints)
    found, expected = (laboratory.trace(run).checkpoints[last] for run in (Run(folder / "run"), whole))
    for name in ("model.safetensors", "training.safetensors"):
        assert found[name] == expected[name]


@pytest.mark.parametrize(
    "listens",
    [
        "train.early_stopping=5",
        "optimizer.schedule.method=plateau",
        "optimizer={method: sgd, average: {method: triggered}}",
    ],
)
@pytest.mark.parametrize(
    ("then", "named"),
    [
        ("train.eval_every=3", "train.eval_every was 6 and is 3"),
        ("eval.max_chars=40", "eval.max_chars was 20000 and is 40"),
    ],
)
def test_what_decides_anything_through_validation_must_not_change(
    laboratory: Any, listens: str, then: str, named: str
) -> None:
    folder = laboratory.folder()
    laboratory.session(folder, laboratory.make(listens), cut=laboratory.cuts(Random(0), 2)[0])
    before = digest(folder)
    with pytest.raises(RunError, match=named):
        laboratory.session(folder, None, overrides=[then])
    assert digest(folder) == before


@pytest.mark.parametrize(
    ("then", "named"),
    [
        (("model.hidden_size=9",), ["model.hidden_size was 8 and is 9"]),
        (("optimizer.learning_rate=0.1",), ["optimizer.learning_rate was 0.005 and is 0.1"]),
        (("train.seed=1", "model.cell=gru"), ["model.cell was 'lstm' and is 'gru'", "train.seed was 0 and is 1"]),
        (("sampling.method=random",), ["sampling.method was 'consecutive' and is 'random'"]),
        (("corpus.split=none",), ["corpus.split"]),
        (("corpus.clean={lowercase: true}",), ["corpus.clean.lowercase was False and is True"]),
        (("vocabulary.min_count=2",), ["vocabulary.min_count was 1 and is 2"]),
        (("optimizer.schedule={method: cosine, total_steps: 5}",), ["optimizer.schedule.method was 'constant'"]),
        (("optimizer.average.method=ema",), ["optimizer.average.method was 'none' and is 'ema'"]),
    ],
    ids=lambda texts: " ".join(texts),
)
def test_a_setting_that_must_not_change_is_named_with_both_values(
    laboratory: Any, then: tuple[str, ...], named: list[str]
) -> None:
    folder = laboratory.folder()
    laboratory.session(folder, laboratory.make(), cut=laboratory.cuts(Random(0), 2)[0])
    before = digest(folder)
    with pytest.raises(RunError) as raised:
        laboratory.session(folder, None, overrides=then)
    assert raised.value.exit_code == 4
    assert all(text in str(raised.value) for text in named), raised.value
    assert digest(folder) == before


def test_what_is_left_open_stays_as_the_run_resolved_it(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise AssertionError("measured again")

    folder = laboratory.folder()
    settings = laboratory.make("model.implementation=reference", "optimizer.schedule.method=cosine")
    laboratory.session(folder, settings, cut=laboratory.cuts(Random(0), 7)[0])
    stored = Run(folder / "run").settings()
    monkeypatch.setattr("charlm.training.threads.thread_counts", lambda: [2, 1])
    monkeypatch.setattr("charlm.training.threads._fastest", refuse)
    left_open = ("train.threads=null", "model.implementation=auto", "train.device=auto")
    asked = laboratory.make(*left_open, "optimizer.schedule.method=cosine", "train.max_steps=20")
    laboratory.session(folder, asked)
    found = Run(folder / "run").settings()
    assert found.train == stored.train.model_copy(update={"max_steps": 20})
    assert (found.model, found.optimizer) == (stored.model, stored.optimizer)


# The text.


def on_a_copy(laboratory: Any, folder: Path, text: str) -> Path:
    """Begin a run on a text of its own, and return the text's file."""
    path = folder / "corpus.txt"
    path.write_text(text, encoding="utf-8")
    settings = laboratory.make(f"corpus.path={path}", "checkpoint.keep_every=1")
    laboratory.session(folder, settings, cut=laboratory.cuts(Random(0), 7)[0])
    return path


def test_a_corpus_of_which_one_byte_has_changed_is_refused(laboratory: Any, corpus_text: str) -> None:
    folder = laboratory.folder()
    path = on_a_copy(laboratory, folder, corpus_text)
    path.write_text(corpus_text.replace("moon", "noon", 1), encoding="utf-8")
    before = digest(folder)
    with pytest.raises(
        RunError, match=r"corpus\.txt is not the text that the run run was begun with: its SHA-256 is"
    ) as raised:
        laboratory.session(folder, None)
    assert raised.value.exit_code == 4
    assert digest(folder) == before


def test_a_run_whose_corpus_has_moved_resumes_with_its_new_place(
    laboratory: Any, corpus_text: str, corpus_file: Path
) -> None:
    folder = laboratory.folder()
    path = on_a_copy(laboratory, folder, corpus_text)
    path.rename(folder / "moved.txt")
    with pytest.raises(TextError):
        laboratory.session(folder, None)
    laboratory.session(folder, None, overrides=[f"corpus.path={folder / 'moved.txt'}"])
    whole = laboratory.folder()
    laboratory.session(whole, laboratory.make(f"corpus.path={corpus_file}", "checkpoint.keep_every=1"))
    assert laboratory.trace(Run(folder / "run")).difference(laboratory.trace(Run(whole / "run"))) is None


def test_splits_and_vocabulary_must_be_those_of_the_checkpoint(laboratory: Any) -> None:
    run = laboratory.whole()
    experiment, checkpoint = prepare(run.settings()), load_checkpoint(run, "last")
    check_same_text(run, checkpoint, experiment)
    with pytest.raises(RunError, match=r"the vocabulary has changed .*: 2 symbols then, .* now \(gone \['z'\], new "):
        check_same_text(run, replace(checkpoint, vocabulary=Vocabulary("az")), experiment)
    for part in ("train", "val", "test"):
        split = replace(checkpoint.state.split, **{part: PartFacts(chars=1, sha256="0")})
        with pytest.raises(RunError, match=f"the {part} split of the corpus"):
            check_same_text(run, replace(checkpoint, state=replace(checkpoint.state, split=split)), experiment)


# Everything besides settings and text that affects the exact bits.


def test_another_torch_resumes_and_says_so_in_one_line(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, settings = laboratory.folder(), laboratory.make()
    laboratory.session(folder, settings, cut=laboratory.cuts(Random(0), 7)[0])
    version = torch.__version__
    monkeypatch.setattr(torch, "__version__", "99.0")
    reports = laboratory.session(folder, settings)
    note = f"torch {version} then, 99.0 now: the bits of an uninterrupted run are not promised"
    assert reports[0].note == note
    assert reports[-1].stopped_by == "max_steps"
    (line,) = (folder / "run" / "resumes.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["note"] == note


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        # The kernels' bits do not depend on threads; those of torch's operations do.
        ("torch", "train.threads=2", "threads 1 then, 2 now"),
        ("auto", "model.implementation=reference", "now: the bits of"),
    ],
)
def test_other_threads_or_another_implementation_resume_and_are_named(
    laboratory: Any, set_threads: Callable[[int], None], first: str, then: str, said: str
) -> None:
    set_threads(1)
    folder = laboratory.folder()
    settings = laboratory.make(f"model.implementation={first}")
    laboratory.session(folder, settings, cut=laboratory.cuts(Random(0), 7)[0])
    reports = laboratory.session(folder, None, overrides=[then])
    assert said in reports[0].note
    assert "\n" not in reports[0].note
    assert reports[-1].stopped_by == "max_steps"
