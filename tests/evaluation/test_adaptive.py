"""PPMd's result is what its code of a text grows by, and stands apart from what is static."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyppmd import Ppmd7Encoder
from typer.testing import Result

import charlm
from charlm.errors import ConfigError
from charlm.evaluation.adaptive import AdaptiveFigure, measure_adaptive
from charlm.library.training import train
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Vocabulary

Charlm = Callable[..., Result]
GREEK = Vocabulary(" αβγδεζηθικ")
LATIN = Vocabulary(" abcdefghij")


def size(text: bytes) -> int:
    encoder = Ppmd7Encoder(6, 64 << 20)
    return len(encoder.encode(text)) + len(encoder.flush())


@pytest.mark.parametrize(
    ("vocabulary", "encoding", "bytes_each"),
    [(LATIN, "utf-8", 1), (LATIN, "latin-1", 1), (GREEK, "iso8859-7", 1), (GREEK, "utf-16", 2)],
)
def test_a_texts_cost_is_what_the_code_grows_by(vocabulary: Vocabulary, encoding: str, bytes_each: int) -> None:
    ids = np.random.default_rng(0).integers(11, size=3_000).astype(np.uint8)
    before, text = (vocabulary.decode(part).encode(encoding.replace("16", "16-le")) for part in np.split(ids, [2_000]))
    assert len(text) == bytes_each * 1_000
    found = measure_adaptive(ids[:2_000], ids[2_000:], vocabulary, encoding)
    grown = 8 * (size(before + text) - size(before))
    assert found.bits_per_byte == pytest.approx(grown / len(text), rel=1e-12)
    assert found.figure.bits_per_char == pytest.approx(grown / 1_000, rel=1e-12)
    assert found.figure.num_predicted == 999
    # A random text costs at least what its symbols do.
    assert math.log2(11) - 0.1 < found.figure.bits_per_char < 8
    assert found.as_record() == {
        "name": "PPMd",
        "order": 6,
        "memory_bytes": 64 << 20,
        "known": ["train"],
        "bpc": found.figure.bits_per_char,
        "bits_per_byte": found.bits_per_byte,
    }


def test_it_knows_the_last_characters_of_a_longer_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlm.evaluation.adaptive.MAX_TRAIN_CHARS", 500)
    known, part = np.split(np.random.default_rng(0).integers(11, size=3_000).astype(np.uint8), [2_000])
    found = measure_adaptive(known, part, LATIN, "utf-8")
    assert found == measure_adaptive(known[-500:], part, LATIN, "utf-8")


def adaptive(run: Run, **where: object) -> AdaptiveFigure | None:
    return charlm.assess(run, adaptive=True, **where).adaptive  # pyright: ignore[reportArgumentType]


def test_before_the_test_split_it_reads_validation_too(trained: Run, tmp_path: Path, corpus_text: str) -> None:
    known, val, test = (text.encode() for text in (corpus_text[:2700], corpus_text[2700:2850], corpus_text[2850:]))
    for where, names, before, text in (
        ({"split": "test"}, ("train", "val"), known + val, test),
        ({"split": "val"}, ("train",), known, val),
    ):
        found = adaptive(trained, **where)
        assert found is not None
        assert found.known == names
        grown = size(before + text) - size(before)
        assert found.bits_per_byte == pytest.approx(8 * grown / len(text), rel=1e-12)
    # A file may be anything, so validation is not taken for what comes before it.
    path = tmp_path / "test.txt"
    path.write_bytes(test)
    found = adaptive(trained, files=[path])
    assert found is not None
    assert found.known == ("train",)
    assert adaptive(trained, split="train") is None
    assert adaptive(trained, baselines=False) is None
    assert charlm.assess(trained).adaptive is None


def test_items_are_read_with_line_ends_between_them(
    tmp_path: Path, tiny_settings: Callable[..., Settings], corpus_text: str
) -> None:
    path = tmp_path / "items.txt"
    words = sorted(set(corpus_text.split()))
    path.write_text("\n".join(words * 9), encoding="utf-8")
    settings = tiny_settings(f"corpus.path='{path}'", "corpus.items=lines", "train.max_steps=1", "sample.prefixes=null")
    found = adaptive(train(settings, name="run", runs_dir=tmp_path))
    assert found is not None
    assert 0 < found.bits_per_byte < 9


def test_eval_shows_it_in_a_row_of_its_own_and_never_as_the_one_to_beat(trained: Run, charlm_command: Charlm) -> None:
    command = ("eval", f"--run={trained.path}")
    record = json.loads(charlm_command(*command, "--json").stdout)
    found = adaptive(trained)
    assert found is not None
    assert record["adaptive"] == found.as_record()
    assert "PPMd" not in record["baselines"]
    rows = {line[:20].strip(): line[20:] for line in charlm_command(*command).stdout.splitlines()}
    assert f"PPMd (order 6) {found.figure.bits_per_char:.3f} bits per character" in rows["adaptive"]
    assert not any(name in rows["baselines"] for name in ("PPMd", "bzip2", "xz"))
    assert not any(name in rows["warning"] for name in ("PPMd", "bzip2", "xz"))


def test_without_its_package_it_is_told_only_where_results_adapt(
    trained: Run, charlm_command: Charlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyppmd", None)
    install = "pip install 'charlm[ppmd]'"
    with pytest.raises(ConfigError, match=r"the package pyppmd, which is not installed: pip install 'charlm\[ppmd\]'"):
        charlm.assess(trained, adaptive=True)
    command = ("eval", f"--run={trained.path}")
    plain = charlm_command(*command)
    assert (plain.exit_code, plain.stderr, "PPMd" in plain.stdout) == (0, "", False)
    assert "adaptive            bzip2" in plain.stdout
    assert json.loads(charlm_command(*command, "--json").stdout)["adaptive"] is None
    rates = (*command, "--dynamic", "--learning-rate=0.0001", "--decay=0")
    assert charlm_command(*rates).stdout.count(install) == 1
    assert install not in charlm_command(*rates, "--no-baselines").stdout
