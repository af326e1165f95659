"""An ensemble is taken wherever a run is read, and refuses by name what does not fit or has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import charlm
from charlm.errors import CharlmWarning, ConfigError, RunError
from charlm.library.ensembling import MadeEnsemble
from charlm.library.training import train
from charlm.runs.ensembles import read_ensemble
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training import choosing

Tiny = Callable[..., Settings]
Command = Callable[..., Result]


@pytest.fixture(scope="session")
def home(tiny_settings: Tiny, trained: Run, listed: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with runs of one text that differ, runs of items, and ensembles of some of them."""
    folder = tmp_path_factory.mktemp("ensembles") / "runs"
    shutil.copytree(trained.path, folder / "first")
    shutil.copytree(listed.path, folder / "names")
    short = ("train.max_steps=30", "train.eval_every=15", "optimizer.learning_rate=0.02")
    for name, overrides in {
        "gru": ("model.cell=gru", "model.hidden_size=11"),
        "both": ("model.direction=bidirectional",),
        "back": ("model.direction=backward",),
        "back-gru": ("model.direction=backward", "model.cell=gru"),
        "torch": ("model.implementation=torch", "train.seed=3"),
        "leaky": ("model.direction=leaky",),
        "other-split": ("corpus.split=80/10/10",),
        "lowercase": ("corpus.clean.letters=true",),
        "no-val": ("corpus.split=none",),
    }.items():
        train(tiny_settings(*short, "eval.baselines=false", *overrides), name=name, runs_dir=folder)
    charlm.ensemble("joined", "first", "gru", ngrams=True, runs_dir=folder)
    charlm.ensemble("of-names", "names", ngrams=True, runs_dir=folder)
    return folder


def split_texts(run: str, home: Path) -> dict[str, float]:
    return {
        split: charlm.open_run(run, runs_dir=home).evaluate(split=split).main.nats_per_char for split in ("val", "test")
    }


def test_an_ensemble_predicts_the_test_split_better_than_each_member(home: Path) -> None:
    joined = Run(home / "joined").summary()
    assert joined is not None
    assert joined.test is not None
    assert joined.val is not None
    for name in ("first", "gru"):
        member = Run(home / name).summary()
        assert member is not None
        assert member.test is not None
        assert joined.test.nats < member.test.nats
    measured = charlm.open_run("joined", runs_dir=home).evaluate(split="test").main
    assert measured.nats_per_char == pytest.approx(joined.test.nats)
    assert joined.val.standing is not None
    assert joined.val.standing.baselines


@pytest.mark.parametrize(
    "members",
    [("first", "both"), ("first", "torch"), ("back", "back-gru"), ("first", "gru", "both"), ("names",)],
    ids="+".join,
)
def test_scores_add_up_to_the_result_and_texts_depend_only_on_the_seed(
    members: tuple[str, ...], home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home, runs := tmp_path / "runs")
    made = charlm.ensemble("new", *members, ngrams=True, runs_dir=runs)
    model = charlm.open_run("new", runs_dir=runs)
    assert model.end == charlm.open_run(members[0], runs_dir=runs).end
    text = "ba\nkoli\nmuta\n" if model.end else "the cat sat on the mat.\n"
    scored = [each.bits for each in model.score(text) if each.bits is not None]
    file = tmp_path / "text.txt"
    file.write_text(text, encoding="utf-8")
    figure = model.evaluate(files=[file]).main
    assert sum(scored) == pytest.approx(figure.nats / np.log(2), rel=1e-5)
    options = {"suffix": "cat"} if model.direction == "backward" else {"prefix": "ba" if model.end else "the "}
    texts = model.generate(**options, length=40, num_samples=3, seed=5)
    assert texts == charlm.open_run("new", runs_dir=runs).generate(**options, length=40, num_samples=3, seed=5)
    assert model.generate(**options, length=40, num_samples=1, seed=5) == texts[:1]
    assert made.ensemble.description.startswith("1 network" if len(members) == 1 else f"{len(members)} networks")


def test_a_running_text_is_written_piece_by_piece_as_at_once(home: Path) -> None:
    model = charlm.open_run("joined", runs_dir=home)
    assert "".join(charlm.stream(model, "the ", length=60, seed=2)) == model.generate("the ", length=60, seed=2)[0]
    greedy = model.generate("the ", length=30, temperature=0)[0]
    assert greedy == model.generate("the ", length=30, top_k=1, seed=8)[0]


@pytest.mark.parametrize("name", ["joined", "of-names"])
def test_files_come_back_byte_for_byte(name: str, home: Path, tmp_path: Path) -> None:
    pytest.importorskip("constriction")
    for number, content in enumerate(
        (b"", b"a", b"the cat sat on the mat.\n" * 40, bytes(range(256)), "\u00e9\r\n".encode())
    ):
        (source := tmp_path / f"{number}.bin").write_bytes(content)
        written = charlm.compress(charlm.open_run(name, runs_dir=home), source)
        charlm.decompress(written.path, tmp_path / "back", runs_dir=home, force=True)
        assert (tmp_path / "back").read_bytes() == content
    other = charlm.ensemble("again", "first", ngrams=True, runs_dir=copied(home, tmp_path))
    with pytest.raises(RunError, match="compressed with another model"):
        charlm.decompress(tmp_path / "2.bin.cz", tmp_path / "no", model=other.run)


def copied(home: Path, folder: Path) -> Path:
    """Return a copy of the runs that a test may change."""
    shutil.copytree(home, folder / "copied")
    return folder / "copied"


@pytest.mark.parametrize(
    ("members", "error", "says"),
    [
        ((), ConfigError, "name the runs to join"),
        (("first",), ConfigError, "an ensemble of one run needs --ngrams"),
        (("first", "first"), ConfigError, "first is named twice"),
        (("first", "leaky"), ConfigError, "leaky is leaky"),
        (("first", "back"), ConfigError, "read in different directions"),
        (("first", "other-split"), ConfigError, "different splits or texts"),
        (("first", "lowercase"), ConfigError, "different vocabularies"),
        (("first", "names"), ConfigError, "different vocabularies"),
        (("no-val", "no-val2"), RunError, "there is no run no-val2"),
        (("joined", "first"), RunError, "joined is an ensemble already"),
        (("first", "missing"), RunError, "there is no run missing"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    members: tuple[str, ...], error: type[Exception], says: str, home: Path
) -> None:
    with pytest.raises(error, match=says):
        charlm.ensemble("refused", *members, runs_dir=home)
    assert not (home / "refused").exists()


def test_a_run_without_a_validation_split_has_nothing_to_fit_weights_to(home: Path) -> None:
    with pytest.raises(RunError, match=r"no-val has no validation split \(corpus.split none\)"):
        charlm.ensemble("refused", "no-val", ngrams=True, runs_dir=home)
    assert not (home / "refused").exists()


def test_the_same_network_under_two_names_is_refused(home: Path, tmp_path: Path) -> None:
    runs = copied(home, tmp_path)
    shutil.copytree(runs / "first", runs / "copy")
    with pytest.raises(ConfigError, match="copy and first are the same network"):
        charlm.ensemble("refused", "first", "copy", runs_dir=runs)


def test_an_exported_file_takes_part_and_is_found_again(home: Path, tmp_path: Path) -> None:
    runs = copied(home, tmp_path)
    file = charlm.export_model(Run(runs / "gru"), tmp_path / "gru.charlm")
    made = charlm.ensemble("with-file", "first", file, runs_dir=runs)
    assert [member.name for member in made.ensemble.members] == ["first", "gru.charlm"]
    assert charlm.generate(made.run, "the ", length=5)[0].startswith("the ")
    file.unlink()
    with pytest.raises(RunError, match=r"the ensemble with-file needs gru.charlm, and there is no"):
        charlm.open_run("with-file", runs_dir=runs)


def test_a_member_that_is_missing_or_has_changed_is_refused_by_name(home: Path, tmp_path: Path) -> None:
    runs = copied(home, tmp_path)
    shutil.rmtree(runs / "gru")
    with pytest.raises(RunError, match="the ensemble joined needs gru, and there is no"):
        charlm.open_run("joined", runs_dir=runs)
    shutil.copytree(runs / "first", runs / "gru")
    step = read_ensemble(Run(runs / "joined")).members[1].step
    checkpoints = runs / "gru" / "checkpoints"
    if not (checkpoints / f"step-{step:08d}").exists():
        with pytest.raises(RunError, match=f"the ensemble joined needs gru at step {step}"):
            charlm.open_run("joined", runs_dir=runs)
        record = runs / "joined" / "ensemble.json"
        content = json.loads(record.read_text())
        content["members"][1]["step"] = content["members"][0]["step"]
        record.write_text(json.dumps(content))
    with pytest.raises(RunError, match="gru has changed since the ensemble joined was made of it"):
        charlm.open_run("joined", runs_dir=runs)


@pytest.mark.parametrize("damage", ["cut", "bit", "weights", "lengths", "format", "text", "no text"])
def test_a_damaged_ensemble_is_refused_in_one_sentence(damage: str, home: Path, tmp_path: Path) -> None:
    runs = copied(home, tmp_path)
    record, text = runs / "joined" / "ensemble.json", runs / "joined" / "ngrams.safetensors"
    content = json.loads(record.read_text())
    if damage == "cut":
        record.write_bytes(record.read_bytes()[:200])
    elif damage == "weights":
        record.write_text(json.dumps(content | {"weights": [[0.5]]}))
    elif damage == "lengths":
        record.write_text(json.dumps(content | {"weights": content["weights"][:3]}))
    elif damage == "format":
        record.write_text(json.dumps(content | {"format": 2}))
    elif damage == "bit":
        text.write_bytes(bytes([*text.read_bytes()[:-1], text.read_bytes()[-1] ^ 1]))
    elif damage == "text":
        text.write_bytes(b"")
    else:
        text.unlink()
    with pytest.raises(RunError) as raised:
        charlm.open_run("joined", runs_dir=runs).generate("the ", length=3)
    assert "\n" not in str(raised.value)


def test_its_own_validation_split_flatters_it_and_that_is_said(home: Path) -> None:
    with pytest.warns(CharlmWarning, match="were fitted to the validation split, so its result there flatters it"):
        flattered = charlm.evaluate(charlm.open_run("joined", runs_dir=home), split="val").main
    summary = Run(home / "joined").summary()
    assert summary is not None
    assert summary.val is not None
    assert flattered.nats_per_char < summary.val.nats


def test_ensembles_that_differ_only_by_seed_share_a_row(home: Path, tiny_settings: Tiny, tmp_path: Path) -> None:
    runs = copied(home, tmp_path)
    for seed in (1, 2):
        overrides = ("train.max_steps=30", "train.eval_every=15", f"train.seed={seed}", "eval.baselines=false")
        train(tiny_settings(*overrides), name=f"seed-{seed}", runs_dir=runs)
        charlm.ensemble(f"n-{seed}", f"seed-{seed}", ngrams=True, runs_dir=runs)
    alone, together = charlm.compare("seed-1", "seed-2", "n-1", "n-2", runs_dir=runs).rows
    assert (alone.settings["ensemble"], together.settings["ensemble"]) == ("1 network", "1 network + 12-gram")
    assert len(together.results) == 2
    assert together.bits("test").mean < alone.bits("test").mean


REFUSING = {
    "export": ("export", "joined"),
    "inspect": ("inspect", "joined"),
    "page": ("page", "joined", "-o", "x.html"),
    "guide": ("guide", "equations", "--run", "joined"),
    "dynamic": ("eval", "--run", "joined", "--dynamic"),
    "resume": ("train", "--resume", "--run", "joined"),
    "compress dynamic": ("compress", "poem.txt", "--run", "joined", "--dynamic"),
}


@pytest.mark.parametrize("asked", REFUSING)
def test_what_needs_one_network_names_the_members(
    asked: str, home: Path, charlm_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("poem.txt").write_text("the cat sat.\n", encoding="utf-8")
    found = charlm_command(*REFUSING[asked], "--runs-dir", str(home))
    assert found.exit_code == 4, found.output
    assert "joined is an ensemble" in found.stderr
    assert "name one of its members: first, gru" in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poem.txt"]


def test_a_run_does_not_start_from_an_ensemble(home: Path, charlm_command: Command, corpus_file: Path) -> None:
    found = charlm_command("train", str(corpus_file), "--from", "joined", "--steps", "3", "--runs-dir", str(home))
    assert found.exit_code == 4
    assert "joined is an ensemble" in found.stderr


def test_the_command_shows_members_weights_and_results(home: Path, charlm_command: Command, tmp_path: Path) -> None:
    runs = copied(home, tmp_path)
    made = charlm_command("ensemble", "shown", "first", "gru", "--ngrams", "--runs-dir", str(runs))
    assert made.exit_code == 0, made.output
    shown = charlm_command("info", "shown", "--runs-dir", str(runs))
    for output in (made.stdout, shown.stdout):
        assert "2 networks + 12-gram" in output
        assert "nothing was fitted to this split" in output
        assert "weights by the length of the longest context" in output
    record = json.loads(charlm_command("info", "shown", "--json", "--runs-dir", str(runs)).stdout)
    assert [each["name"] for each in record["ensemble"]["members"]] == ["first", "gru"]
    table = charlm_command("info", "--runs-dir", str(runs)).stdout
    assert "2 networks + 12-gram" in table
    assert "unchanged: first, gru, n-grams" in charlm_command("verify", "shown", "--runs-dir", str(runs)).stdout
    removal = json.loads(charlm_command("rm", "gru", "--dry-run", "--json", "--runs-dir", str(runs)).stdout)
    assert removal["runs"][0]["ensembles"] == ["joined", "shown"]
    assert (
        "gru is a member of joined, shown" in charlm_command("rm", "gru", "--dry-run", "--runs-dir", str(runs)).stdout
    )
    kept = json.loads(charlm_command("prune", "gru", "--dry-run", "--json", "--runs-dir", str(runs)).stdout)
    step = read_ensemble(Run(runs / "shown")).members[1].step
    assert f"step-{step:08d}" not in json.dumps(kept["runs"]) or kept["bytes"] == 0
    gone = charlm_command("rm", "shown", "--yes", "--runs-dir", str(runs))
    assert gone.exit_code == 0
    assert not (runs / "shown").exists()


def test_members_of_one_name_have_a_column_each(home: Path, tmp_path: Path, charlm_command: Command) -> None:
    runs = copied(home, tmp_path)
    shutil.copytree(runs / "gru", runs / "more" / "first")
    made = charlm_command("ensemble", "two", "first", "more/first", "--ngrams", "--runs-dir", str(runs))
    assert made.exit_code == 0, made.output
    [titles] = [line for line in made.stdout.splitlines() if line.startswith("context")]
    assert titles.split() == ["context", "first", "more/first", "n-grams"]


def test_the_newest_run_may_be_an_ensemble(home: Path, tmp_path: Path, charlm_command: Command) -> None:
    runs = copied(home, tmp_path)
    made: MadeEnsemble = charlm.ensemble("newest", "first", ngrams=True, runs_dir=runs)
    assert charlm.open_run(runs_dir=runs).run == made.run
    assert charlm_command("generate", "the ", "--runs-dir", str(runs)).exit_code == 0
    with pytest.raises(RunError, match="newest is an ensemble, which has no checkpoint of step 30"):
        charlm.open_run("newest", checkpoint=30, runs_dir=runs)


def test_a_name_that_exists_is_refused_before_anything_is_read(home: Path, charlm_command: Command) -> None:
    found = charlm_command("ensemble", "joined", "nothing", "--runs-dir", str(home))
    assert found.exit_code == 2
    assert "joined" in found.stderr
    assert "nothing" not in found.stderr


def test_minutes_are_divided_among_networks_which_n_grams_join(
    charlm_command: Command, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "num_members", lambda *_: 2)
    options = ("--set", "model.hidden_size=8", "--set", "eval.baselines=false", "--runs-dir", str(tmp_path / "runs"))
    asked = ("train", str(corpus_file), "--minutes", "0.01", "--ensemble", "--run", "both", "--seed", "4", *options)
    found = charlm_command(*asked)
    assert found.exit_code == 0, found.output
    assert "2 networks, one after another" in found.stderr
    assert [each.name for each in read_ensemble(Run(tmp_path / "runs" / "both")).members] == ["both-1", "both-2"]
    runs = [Run(tmp_path / "runs" / name) for name in ("both-1", "both-2")]
    assert [run.settings().train.seed for run in runs] == [4, 5]
    again = charlm_command(*asked)
    assert again.exit_code == 2
    assert "both" in again.stderr


@pytest.mark.parametrize("extra", [("--steps", "5"), ("--seeds", "2"), ("--config", "defaults")], ids=str)
def test_minutes_that_are_not_there_cannot_be_divided(
    extra: tuple[str, ...], charlm_command: Command, corpus_file: Path, tmp_path: Path
) -> None:
    found = charlm_command("train", str(corpus_file), "--ensemble", *extra, "--runs-dir", str(tmp_path / "runs"))
    assert found.exit_code == 2
    assert "--ensemble divides minutes among networks" in found.stderr
    assert not (tmp_path / "runs").exists()
