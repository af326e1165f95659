"""A model in one file is the run's model wherever it is read, tells no folders, and is read as data from a stranger."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charlm
from charlm.errors import ConfigError, RunError, TextError
from charlm.library.models import Model
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.model_file import pack_model, read_model_file
from charlm.runs.parents import open_parent
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Header = dict[str, Any]
Pack = Callable[..., Path]


@pytest.fixture
def packed(tmp_path: Path) -> Pack:
    """Return a function that exports the best checkpoint of a run."""

    def pack(run: Run, **options: Any) -> Path:
        path = tmp_path / "model.charlm"
        path.write_bytes(pack_model(run, load_checkpoint(run), **options))
        return path

    return pack


def taken_apart(path: Path) -> tuple[Header, bytes]:
    """Return the header and the numbers of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(path: Path, header: Header | bytes, numbers: bytes) -> None:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + numbers)


def test_it_writes_and_scores_what_the_run_does(trained: Run, packed: Pack) -> None:
    path = packed(trained)
    assert charlm.generate(path, "the ", num_samples=3) == charlm.generate(trained, "the ", num_samples=3)
    assert list(charlm.score(path, "the cat")) == list(charlm.score(trained, "the cat"))
    with pytest.raises(TextError, match=r"holds a model without the text that it has learned: there is no"):
        charlm.evaluate(path)
    model = charlm.open_run(path)
    assert model.summary() == trained.summary()
    assert model.metrics() == [trained.summary()]
    assert repr(model).startswith("Model(run='model.charlm', step=60, direction='forward'")


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.direction=bidirectional", "model.cell=gru"),
        ("model.direction=backward", "model.embedding_size=5", "model.learned_state=true"),
        ("model.direction=leaky",),
        ("corpus.items=lines", "model.cell=rnn"),
        ("model.zoneout=0.1", "optimizer.average.method=ema"),
    ],
    ids=" ".join,
)
def test_every_kind_of_model_fits(
    tiny_settings: Callable[..., Settings], tmp_path: Path, packed: Pack, overrides: tuple[str, ...]
) -> None:
    run = charlm.train(tiny_settings(*overrides, "eval.baselines=false"), name="run", runs_dir=tmp_path)
    path, backward = packed(run), "direction=backward" in overrides[0]

    def texts(model: Model) -> list[str]:
        return charlm.generate(model, suffix="the ") if backward else charlm.generate(model, "the ")

    assert texts(charlm.open_run(path)) == texts(charlm.open_run(run))
    (tmp_path / "text.txt").write_text("the cat\nthe moon\n", encoding="utf-8")
    files = [tmp_path / "text.txt"]
    assert charlm.evaluate(path, files=files) == charlm.evaluate(run, files=files)


def test_the_same_checkpoint_gives_the_same_bytes_and_no_folder(trained: Run, packed: Pack, corpus_file: Path) -> None:
    content = packed(trained, license_line="CC0").read_bytes()
    assert packed(trained, license_line="CC0").read_bytes() == content
    assert corpus_file.name.encode() in content
    for folder in (corpus_file.parent, trained.path.parent):
        assert str(folder).encode() not in content


def test_it_says_where_it_is_from(trained: Run, packed: Pack) -> None:
    file, environment = read_model_file(packed(trained, license_line="CC BY 4.0")), trained.environment()
    assert (file.run_name, file.license, file.name) == ("trained", "CC BY 4.0", "model.charlm")
    assert file.facts.corpus_sha256 == environment.corpus_sha256
    assert file.facts.split == environment.split
    assert file.facts.machine.platform is None
    record = json.loads(json.dumps(file.as_record(), default=dict))
    assert (record["run"], record["step"], record["license"]) == ("trained", 60, "CC BY 4.0")
    assert record["results"]["val_bpc"] == trained.summary()["val_bpc"]  # pyright: ignore[reportOptionalSubscript]


def test_results_of_another_checkpoint_are_left_out(tiny_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = tiny_settings("checkpoint.keep_every=1", "eval.baselines=false")
    run = charlm.train(settings, name="run", runs_dir=tmp_path)
    summary = run.summary()
    assert summary is not None
    for step in (6, 12):
        path = tmp_path / f"{step}.charlm"
        path.write_bytes(pack_model(run, load_checkpoint(run, step)))
        assert (read_model_file(path).summary() is None) == (step != summary.best_step)


@pytest.mark.parametrize("line", ["two\nlines", "x" * 1_001, "\x1b[31m"])
def test_a_license_is_one_line(trained: Run, packed: Pack, line: str) -> None:
    with pytest.raises(ConfigError, match="a license must be one line of at most 1,000 characters"):
        packed(trained, license_line=line)


def test_a_step_that_it_does_not_have_is_refused(trained: Run, packed: Pack) -> None:
    path = packed(trained)
    assert charlm.open_run(path, checkpoint=60).checkpoint.step == 60
    assert charlm.open_run(path, checkpoint="last").checkpoint.step == 60
    with pytest.raises(RunError, match=r"has one checkpoint, that of step 60, and none of 7"):
        charlm.open_run(path, checkpoint=7)


def test_training_starts_from_it_and_what_needs_a_run_says_so(
    trained: Run,
    packed: Pack,
    tiny_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = packed(trained)
    parent = open_parent(str(path), folder=tmp_path)
    assert (parent.path, parent.notice) == (path, None)
    settings = tiny_settings(f"start.run={path}", "train.max_steps=2", "eval.baselines=false")
    run = charlm.train(settings, name="child", runs_dir=tmp_path / "runs")
    first = load_checkpoint(run, 0).model
    assert all(np.array_equal(first[name], weight) for name, weight in load_checkpoint(trained).model.items())
    recorded = run.environment().parent
    assert recorded is not None
    assert (recorded.name, recorded.step, recorded.path) == ("model.charlm", 60, str(path))
    # The file is not needed any more.
    path.unlink()
    charlm.train(name="child", runs_dir=tmp_path / "runs", resume=True, overrides=["train.max_steps=3"])
    packed(trained)
    monkeypatch.chdir(path.parent)
    with pytest.raises(RunError, match="without what training resumes from: --from trains on from it"):
        charlm.train(name=path.name, resume=True)
    with pytest.raises(RunError, match="is a file and not the folder of a run"):
        charlm.compare(path, trained.path)


# Files from strangers.


def change_metadata(**changes: Any) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        metadata = header["__metadata__"]
        metadata["charlm"] = json.dumps(json.loads(metadata["charlm"]) | changes)

    return change


def change_record(key: str, **changes: Any) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        change_metadata(**{key: json.loads(header["__metadata__"]["charlm"])[key] | changes})(header)

    return change


def replace_in(key: str, old: str, new: str) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        text = json.loads(header["__metadata__"]["charlm"])[key]
        assert old in text
        change_metadata(**{key: text.replace(old, new)})(header)

    return change


def change_tensor(**changes: Any) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header["decoder.bias"] |= changes

    return change


def rename_tensor(header: Header) -> None:
    header["../../evil"] = header.pop("decoder.bias")


def set_metadata(value: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header["__metadata__"] = value

    return change


NO_MODEL = "is neither the folder of a run nor a model in one file"
HOSTILE: dict[str, tuple[Callable[[Header], None], str]] = {
    "no metadata": (set_metadata(None), NO_MODEL),
    "metadata of others": (set_metadata({"format": "pt"}), NO_MODEL),
    "metadata that are a number": (set_metadata({"charlm": 3}), NO_MODEL),
    "metadata that are no JSON": (set_metadata({"charlm": "{"}), NO_MODEL),
    "deep metadata": (set_metadata({"charlm": "[" * 100_000}), NO_MODEL),
    "a format that is no number": (change_metadata(format="1e9"), NO_MODEL),
    "a number for a text": (change_metadata(run=3), NO_MODEL),
    "a name for the terminal": (change_metadata(run="\x1b[31m"), NO_MODEL),
    "a license of two lines": (change_metadata(license="a\nb"), NO_MODEL),
    "a newer format": (change_metadata(format=2, version="9.9"), r"has format 2, .*: install charlm 9\.9 or newer"),
    "a version for the terminal": (change_metadata(format=2, version="\x1b"), "install a newer charlm"),
    "no YAML": (change_metadata(config="{"), "does not know the checkpoint's configuration"),
    "YAML that runs code": (change_metadata(config="!!python/object/apply:os.system [true]"), "configuration"),
    "a large configuration": (change_metadata(config="# " + "x" * (1 << 19)), "its configuration has 524,290 bytes"),
    "a larger network": (
        replace_in("config", "hidden_size: 8", "hidden_size: 60000"),
        "does not fit its configuration",
    ),
    "half a character": (change_metadata(config="\ud800"), "text that is not Unicode"),
    "no vocabulary": (change_metadata(vocabulary={}), "is not a vocabulary"),
    "symbols twice": (change_record("vocabulary", characters="aabb"), "is not a vocabulary"),
    "fewer symbols": (change_record("vocabulary", characters="abc"), "does not fit its configuration"),
    "NaN": (change_record("state", seconds=math.nan), NO_MODEL),
    "a step below zero": (change_record("state", step=-1), "is not a model of charlm"),
    "an environment that is none": (change_metadata(environment={}), "is not a model of charlm"),
    "results that are none": (change_metadata(results={}), "is not a model of charlm"),
    "another type": (change_tensor(dtype="F64"), "is not float32"),
    "another shape": (change_tensor(shape=[1, 19]), "does not fit its configuration"),
    "a huge shape": (change_tensor(shape=[1 << 62]), "is not float32"),
    "a large shape": (change_tensor(shape=[1 << 40]), "does not fit its configuration"),
    "another name": (rename_tensor, "does not fit its configuration"),
    "overlapping tensors": (change_tensor(data_offsets=[4, 80]), "is not a safetensors file"),
    "offsets beyond the end": (change_tensor(data_offsets=[1 << 40, (1 << 40) + 76]), "is not a safetensors file"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence(trained: Run, packed: Pack, how: str) -> None:
    path = packed(trained)
    header, numbers = taken_apart(path)
    change, said = HOSTILE[how]
    change(header)
    put_together(path, header, numbers)
    with pytest.raises(RunError, match=said) as raised:
        read_model_file(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda _: b"", NO_MODEL),
        (lambda content: content[:5], NO_MODEL),
        (lambda content: content[:-1], r"is damaged: it has [\d,]+ bytes and should have"),
        (lambda content: content + b"\0", r"is damaged: it has [\d,]+ bytes and should have"),
        (lambda content: struct.pack("<Q", 1 << 63) + content[8:], NO_MODEL),
        (lambda content: b"PK\x03\x04" + content, NO_MODEL),
        (lambda _: b"just a text\n" * 100, NO_MODEL),
        (lambda content: content[:-4] + struct.pack("<f", float("nan")), "has weights that are not numbers"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(
    trained: Run, packed: Pack, spoil: Callable[[bytes], bytes], said: str
) -> None:
    path = packed(trained)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RunError, match=said):
        read_model_file(path)


def test_paths_that_a_stranger_wrote_are_not_opened(trained: Run, packed: Pack) -> None:
    path = packed(trained)
    header, numbers = taken_apart(path)
    name = json.loads(header["__metadata__"]["charlm"])["environment"]["corpus"][0]
    replace_in("config", name, "/dev/zero")(header)
    put_together(path, header, numbers)
    assert read_model_file(path).checkpoint.settings.corpus.path == ("zero",)
