"""Runs whose files are prepared to harm whoever opens them; their manifests agree with their contents.

As a program it makes each out of a good run, opens it with each command, and tells what came of it.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

Change = Callable[[Path], None]
MODEL, TRAINING, STATE = "model.safetensors", "training.safetensors", "state.json"
VOCABULARY, CONFIG, MANIFEST = "vocabulary.json", "config.yaml", "manifest.json"
FILES = (MODEL, TRAINING, STATE, VOCABULARY, CONFIG)
CANARY = "canary"
ESCAPE = "\x1b]0;evil\x07\x1b[31m"
# The right exit codes of verify, generate, train --resume and info.
CHECKPOINT = "4 4 4 0"
NUM_SEEDS = 40
OF_RUN = ("metrics.jsonl", "samples.jsonl", "environment.json", "checkpoints")
SECONDS = 60


class Payload:
    """An object that leaves its mark in the working folder when it is unpickled."""

    def __reduce__(self) -> Any:
        return open, (CANARY, "w")


@dataclass(frozen=True)
class Hostile:
    """One prepared run.

    Args:
        name: of it.
        change: what turns a good run's folder into it.
        codes: the right exit codes of verify, generate, train --resume and info; a slash separates alternatives.
        says: what verify must say about it.
        is_large: whether commands take seconds with it.
    """

    name: str
    change: Change
    codes: str = CHECKPOINT
    says: str = ""
    is_large: bool = False


def newest(run: Path) -> Path:
    """Return the run's one checkpoint."""
    (path,) = (run / "checkpoints").glob("step-*")
    return path


def files(**contents: bytes | Callable[[bytes], bytes]) -> Change:
    """Return what writes files of the checkpoint, by the names before their dots, and a manifest that agrees."""

    def change(run: Path) -> None:
        folder = newest(run)
        for stem, content in contents.items():
            (path,) = folder.glob(f"{stem}.*")
            path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes()))
        agree(folder)

    return change


def agree(folder: Path, **more: Any) -> None:
    """Make the manifest agree with the files."""
    path = folder / MANIFEST
    contents = {name: (folder / name).read_bytes() for name in FILES}
    entries = {name: {"bytes": len(each), "sha256": sha256(each).hexdigest()} for name, each in contents.items()}
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "files": entries, **more}))


def state(**changes: Any) -> Change:
    """Return what changes values of state.json; a key with dots leads to an inner one, and ... removes it."""

    def changed(content: bytes) -> bytes:
        value = json.loads(content)
        for key, new in changes.items():
            *parents, last = key.split("__")
            inner = value
            for parent in parents:
                inner = inner[parent]
            if new is ...:
                del inner[last]
            else:
                inner[last] = new
        return json.dumps(value).encode()

    return files(state=changed)


def raw_state(key: str, text: str) -> Change:
    """Return what puts a text that need not be JSON in the place of a value of state.json."""

    def changed(content: bytes) -> bytes:
        value = json.loads(content)
        *parents, last = key.split("__")
        inner = value
        for parent in parents:
            inner = inner[parent]
        inner[last] = "HERE"
        return json.dumps(value).replace('"HERE"', text).encode()

    return files(state=changed)


def manifest(**changes: Any) -> Change:
    """Return what changes the manifest's own values."""

    def change(run: Path) -> None:
        agree(newest(run), **changes)

    return change


def raw_manifest(content: bytes) -> Change:
    """Return what writes another manifest."""
    return lambda run: (newest(run) / MANIFEST).write_bytes(content) and None


def renamed_entry(name: str) -> Change:
    """Return what has the manifest vouch for a file of another name."""

    def change(run: Path) -> None:
        path = newest(run) / MANIFEST
        value = json.loads(path.read_bytes())
        value["files"][name] = value["files"].pop(STATE)
        path.write_text(json.dumps(value))

    return change


def header(stem: str, change: Callable[[dict[str, Any]], Any], *, data: bytes | None = None) -> Change:
    """Return what changes the header of a safetensors file; a text is taken as it is."""

    def changed(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        value = json.loads(content[8 : 8 + length])
        new = change(value)
        encoded = (new if isinstance(new, str) else json.dumps(value)).encode()
        return struct.pack("<Q", len(encoded)) + encoded + (content[8 + length :] if data is None else data)

    return files(**{stem: changed})


def first(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Return what changes the entry of a header's first tensor."""
    return lambda value: value[next(iter(value))].update(changes)


def configuration(*lines: tuple[str, str]) -> Change:
    """Return what replaces lines of the checkpoint's configuration."""
    return files(config=lambda content: with_lines(content.decode(), lines).encode())


def run_configuration(*lines: tuple[str, str]) -> Change:
    """Return what replaces lines of the run's configuration and of the checkpoint's."""

    def change(run: Path) -> None:
        (run / CONFIG).write_text(with_lines((run / CONFIG).read_text(), lines))
        configuration(*lines)(run)

    return change


def with_lines(text: str, lines: tuple[tuple[str, str], ...]) -> str:
    """Return a configuration with the lines of some keys replaced."""
    done = text.split("\n")
    for key, new in lines:
        at = next(number for number, line in enumerate(done) if line.strip().startswith(f"{key}:"))
        indent = len(done[at]) - len(done[at].lstrip())
        end = at + 1
        while done[end].strip().startswith("- ") and len(done[end]) - len(done[end].lstrip()) >= indent:
            end += 1
        done[at:end] = [" " * indent + new]
    return "\n".join(done)


def vocabulary(characters: Any, *, has_unknown: Any = False) -> Change:
    """Return what writes another vocabulary."""
    value = {"characters": characters, "has_unknown": has_unknown}
    is_short = not isinstance(characters, str) or len(characters) < 9
    return files(vocabulary=json.dumps(value, ensure_ascii=is_short).encode())


def instead(name: str, make: Callable[[Path], Any]) -> Change:
    """Return what puts something else in the place of a file or folder of the run or its checkpoint."""

    def change(run: Path) -> None:
        path = newest(run) if name == "step" else (run if name in OF_RUN else newest(run)) / name
        if path.is_dir():
            shutil.move(path, run.parent / "moved")
        else:
            path.unlink(missing_ok=True)
        make(path)

    return change


def sparse(path: Path) -> None:
    """Make a file of 100 GB that takes no space."""
    with path.open("wb") as file:
        file.truncate(100 * 10**9)


def sparse_with_header(path: Path) -> None:
    """Make one that begins as a safetensors file does."""
    sparse(path)
    with path.open("r+b") as file:
        file.write(struct.pack("<Q", 2) + b"{}")


def huge_and_vouched_for(run: Path) -> None:
    """Have the manifest vouch for 100 GB."""
    path = newest(run) / MANIFEST
    sparse(newest(run) / MODEL)
    value = json.loads(path.read_bytes())
    value["files"][MODEL]["bytes"] = 100 * 10**9
    path.write_text(json.dumps(value))


def pipe(path: Path) -> None:
    """Make a pipe that nobody writes to."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """Make a device without end, or where that is not allowed a link to one."""
    with suppress(PermissionError):
        os.mknod(path, 0o20666, os.makedev(1, 5))
        return
    path.symlink_to("/dev/zero")


def socket_file(path: Path) -> None:
    """Make a socket; its name must be short."""
    before = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(before)


def link_to(target: str) -> Callable[[Path], None]:
    """Return what makes a link."""
    return lambda path: path.symlink_to(target)


def moved(path: Path) -> None:
    """Make a link to where the folder was moved."""
    path.symlink_to(next(parent / "moved" for parent in path.parents if (parent / "moved").exists()))


def records(name: str, content: bytes) -> Change:
    """Return what writes a file of the run."""
    return lambda run: (run / name).write_bytes(content) and None


def nested(depth: int) -> bytes:
    """Return brackets."""
    return b"[" * depth + b"]" * depth


def environment(**changes: Any) -> Change:
    """Return what changes values of environment.json."""

    def change(run: Path) -> None:
        path = run / "environment.json"
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))

    return change


def with_raw_weights(value: dict[str, Any]) -> None:
    """Add to a header what only a run with an average has."""
    value["weights.decoder.bias"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


def scaled(number: float) -> Change:
    """Return what sets every weight to a number."""

    def changed(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        count = (len(content) - 8 - length) // 4
        return content[: 8 + length] + struct.pack(f"<{count}f", *[number] * count)

    return files(model=changed)


def hostile_runs() -> Iterator[Hostile]:
    """Yield all of them."""
    yield from _strange_files()
    yield from _strange_manifests()
    yield from _strange_tensors()
    yield from _strange_configurations()
    yield from _strange_vocabularies()
    yield from _strange_states()
    yield from _strange_records()
    for seed in range(NUM_SEEDS):
        yield from _drawn(seed)


def _strange_files() -> Iterator[Hostile]:
    yield Hostile("pickle for weights", files(model=pickle.dumps(Payload())), says="safetensors")
    yield Hostile("pickle for moments", files(training=pickle.dumps(Payload())), says="safetensors")
    yield Hostile("pickle for state", files(state=pickle.dumps(Payload())), says="JSON")
    yield Hostile(
        "python object in the configuration", files(config=b"!!python/object/apply:os.system ['touch canary']")
    )
    yield Hostile("anchors in the configuration", files(config=b"a: &a [1,1]\nb: [*a,*a]\n"))
    for name in FILES:
        yield Hostile(f"{name} is a link", instead(name, link_to("/etc/passwd")), says="it is a link")
        yield Hostile(f"{name} is a pipe", instead(name, pipe), says="not a regular file")
    yield Hostile("manifest is a pipe", instead(MANIFEST, pipe), says="not a regular file")
    yield Hostile("manifest is a link", instead(MANIFEST, link_to("/dev/zero")), says="it is a link")
    yield Hostile("weights are a device", instead(MODEL, device), says="model.safetensors")
    yield Hostile("manifest is a device", instead(MANIFEST, device), says="manifest.json")
    yield Hostile("state is a socket", instead(STATE, socket_file), says="state.json")
    yield Hostile("state is a folder", instead(STATE, Path.mkdir), says="state.json")
    yield Hostile("checkpoint is a link", instead("step", moved), says="is a link")
    yield Hostile("checkpoint is a link to a folder of the system", instead("step", link_to("/etc")), says="is a link")
    yield Hostile("checkpoint is a pipe", instead("step", pipe))
    yield Hostile("checkpoints is a link", instead("checkpoints", moved), "4 4 4 4")
    yield Hostile("weights of 100 GB", instead(MODEL, sparse), says="damaged")
    yield Hostile("weights of 100 GB with a header", instead(MODEL, sparse_with_header), says="model.safetensors")
    yield Hostile("weights of 100 GB, vouched for", huge_and_vouched_for, says="model.safetensors")
    yield Hostile("manifest of 100 GB", instead(MANIFEST, sparse), says="too large")
    yield Hostile("state of 100 GB", instead(STATE, sparse), says="damaged")


def _strange_manifests() -> Iterator[Hostile]:
    yield Hostile("manifest of 50 MB", raw_manifest(b" " * 50_000_000), says="too large")
    yield Hostile("manifest of brackets", raw_manifest(nested(30_000)), says="nested too deeply")
    yield Hostile("manifest of a list", raw_manifest(b"[1]"), says="manifest")
    for number in (0, -1, 1.5, True, "2", None, [2], 1e1):
        yield Hostile(f"format {number!r}", manifest(format=number), says="is not a checkpoint's manifest")
    yield Hostile("format 99", manifest(format=99, charlm="9.9.9"), says="install charlm 9.9.9 or newer")
    yield Hostile("format 10**30", raw_manifest(b'{"format": 1%s}' % (b"0" * 30)), says="too large a number")
    yield Hostile("format 10**29", manifest(format=10**29, charlm=""), says="install a newer charlm")
    yield Hostile("version that commands", manifest(format=99, charlm=f"9{ESCAPE}"), says="install a newer charlm")
    yield Hostile("version of a megabyte", manifest(format=99, charlm="9" * 60_000), says="install a newer charlm")
    names = ("../state.json", "/etc/passwd", "state.json\0", "a/../state.json", "", "..", f"{ESCAPE}.json", "x" * 9_000)
    for name in names:
        yield Hostile(f"entry {name[:20]!r}", renamed_entry(name), says="does not name a checkpoint's files")
    for size in (-1, 1.0, "3", None, True, 10**29):
        entry = {name: {"bytes": size, "sha256": "0" * 64} for name in FILES}
        yield Hostile(f"sizes {size!r}", manifest(files=entry), says="")
    yield Hostile("hash of a list", manifest(files={name: {"bytes": 1, "sha256": [1]} for name in FILES}))
    yield Hostile("files is a list", manifest(files=list(FILES)))


def _strange_tensors() -> Iterator[Hostile]:
    for stem in ("model", "training"):
        yield Hostile(f"{stem}: header of 2**63", files(**{stem: struct.pack("<Q", 1 << 63) + b"{}"}), says="header")
        yield Hostile(f"{stem}: header of 1 GB", files(**{stem: struct.pack("<Q", 10**9) + b"{}"}), says="header")
        yield Hostile(f"{stem}: header of brackets", header(stem, lambda _: nested(100_000).decode()), says="nested")
        yield Hostile(
            f"{stem}: header of small lists", header(stem, lambda _: f"[{'[],' * 1_390_000}[]]"), CHECKPOINT, stem, True
        )
        yield Hostile(f"{stem}: empty", files(**{stem: b""}), says=stem)
        yield Hostile(f"{stem}: no tensors", header(stem, dict.clear), says=stem)
        yield Hostile(f"{stem}: extra tensor", header(stem, lambda v: v.update(more=dict(next(iter(v.values()))))))
        yield Hostile(f"{stem}: a megabyte's name", header(stem, lambda v: v.update({"x" * 10**6: {}})))
        yield Hostile(f"{stem}: name that commands", header(stem, lambda v: v.update({ESCAPE: {}})))
        yield Hostile(f"{stem}: missing tensor", header(stem, lambda v: v.pop(next(iter(v)))))
        yield Hostile(f"{stem}: metadata", header(stem, lambda v: v.update(__metadata__={"a": [[]]})), says=stem)
        yield Hostile(f"{stem}: entry is a list", header(stem, lambda v: v.update({next(iter(v)): []})), says="float32")
        for dtype in ("F64", "F16", "I64", "BOOL", "X", None, 3):
            yield Hostile(f"{stem}: dtype {dtype}", header(stem, first(dtype=dtype)), says="float32")
        for shape in ([-1], [2**62, 4], [1.0], [True], ["3"], [[3]], {}, None, [1] * 10_000, [0]):
            yield Hostile(f"{stem}: shape {str(shape)[:20]}", header(stem, first(shape=shape)), says=stem)
        for offsets in ([0, 0], [4, 0], [-4, 0], [0, 2**63], ["0", "4"], [0.0, 4.0], None, [0], [0, 10**25]):
            yield Hostile(f"{stem}: offsets {offsets}", header(stem, first(data_offsets=offsets)), says=stem)

        def overlapping(value: dict[str, Any]) -> None:
            for entry in value.values():
                length = entry["data_offsets"][1] - entry["data_offsets"][0]
                entry["data_offsets"] = [0, length]

        def doubled(value: dict[str, Any]) -> str:
            name = next(iter(value))
            return json.dumps(value)[:-1] + f', "{name}": {json.dumps({**value[name], "shape": [1]})}}}'

        def true_for_one(value: dict[str, Any]) -> None:
            for entry in value.values():
                entry["shape"] = [True if size == 1 else float(size) for size in entry["shape"]]

        yield Hostile(f"{stem}: overlapping", header(stem, overlapping), says=stem)
        yield Hostile(f"{stem}: a key twice", header(stem, doubled), says=stem)
        yield Hostile(f"{stem}: sizes that only equal whole ones", header(stem, true_for_one), says=stem)
        yield Hostile(f"{stem}: data cut off", header(stem, lambda _: None, data=b""), says=stem)
    yield Hostile("raw weights without an average", header("training", with_raw_weights), says="should be absent")
    for number in (float("nan"), float("inf")):
        yield Hostile(f"weights of {number}", scaled(number), says="not numbers")
    yield Hostile("weights of 3e38", scaled(3e38), "0 0/4 5 0")
    yield Hostile("weights of 1e20", scaled(1e20), "0 0 0/5 0")


def _strange_configurations() -> Iterator[Hostile]:
    large = (("hidden_size", "hidden_size: 65536"), ("num_layers", "num_layers: 256"))
    yield Hostile("a configuration of terabytes", configuration(*large), says="does not fit its configuration")
    wide = (("batch_size", "batch_size: 1000000"),)
    yield Hostile("a batch of a million", configuration(*wide), says="does not fit its configuration")
    both = (*large, ("direction", "direction: bidirectional"))
    yield Hostile("both ways through terabytes", configuration(*both), says="does not fit its configuration")
    yield Hostile("another cell", configuration(("cell", "cell: gru")), says="does not fit its configuration")
    yield Hostile("another optimiser", configuration(("method", "method: random")), "0/4 0/4 0/4 0")
    yield Hostile("sgd", configuration(("method", "method: consecutive"), ("momentum", "momentum: 0.5")))
    average = (b"    method: none", b"    method: ema")
    yield Hostile("an average that was not saved", files(config=lambda text: text.replace(*average)), says="weights.")
    yield Hostile("a key from nowhere", files(config=b"nowhere: 1\n"), says="does not know")
    yield Hostile("a configuration of brackets", files(config=nested(100_000)), says="does not know")
    yield Hostile("a configuration of a megabyte", files(config=b"# " + b"x" * 2**20), says="too large")
    yield Hostile("a configuration that is not UTF-8", files(config=b"\xff\xfe"), says="UTF-8")
    path = "/etc/passwd"
    yield Hostile("the corpus is a file of the system", run_configuration(("path", f"path: [{path}]")), "0 0 3/4 0")
    yield Hostile("the corpus has no end", run_configuration(("path", "path: [/dev/zero]")), "0 0 3/4 0")
    yield Hostile("the corpus is gone", run_configuration(("path", "path: [/nowhere/at/all]")), "0 0 3/4 0")
    yield Hostile("the run's configuration is another", records(CONFIG, b"nowhere: 1\n"), "0 0 2/4 2/4")
    yield Hostile("the run's configuration is deep", records(CONFIG, nested(100_000)), "0 0 2/4 2/4")


def _strange_vocabularies() -> Iterator[Hostile]:
    many = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    yield Hostile("all characters there are", vocabulary(many), says="does not fit its configuration")
    yield Hostile("ten million characters", vocabulary("a" * 10_000_000), says="too large")
    yield Hostile("a million times the same", vocabulary("a" * 4_000_000), says="each once and in order")
    yield Hostile("a character twice", vocabulary("aab"), says="each once and in order")
    yield Hostile("unsorted", vocabulary("ba"), says="each once and in order")
    yield Hostile("half a pair", vocabulary("a\ud800"), says="half of a surrogate pair")
    yield Hostile("one symbol", vocabulary("a"), says="two or more")
    yield Hostile("no symbol", vocabulary("", has_unknown=True), says="two or more")
    for characters in (3, ["a", "b"], None, {}, True, 1.5, [["a"]]):
        yield Hostile(f"characters {characters!r}", vocabulary(characters), says="is not a vocabulary")
    for has_unknown in (1, None, "yes", []):
        yield Hostile(f"unknown {has_unknown!r}", vocabulary("ab", has_unknown=has_unknown), says="is not a vocabulary")
    small_lists = f"[{'[],' * 1_500_000}[]]"
    yield Hostile(
        "vocabulary of small lists", files(vocabulary=small_lists.encode()), CHECKPOINT, "is not a vocabulary", True
    )


def _strange_states() -> Iterator[Hostile]:
    yield Hostile("state of brackets", files(state=nested(100_000)), says="nested too deeply")
    yield Hostile(
        "state of small lists", files(state=f"[{'[],' * 300_000}[]]".encode()), CHECKPOINT, "state.json", True
    )
    yield Hostile("state of 5 MB", files(state=b" " * 5_000_000 + b"{}"), says="too large")
    yield Hostile("state is a list", files(state=b"[]"), says="state")
    yield Hostile("another step", state(step=11), says="contains the checkpoint of step 11")
    for value in (-1, 1.0, "10", True, None, [], 10**25):
        yield Hostile(f"step {value!r}", state(step=value), says="step")
    for text in ("NaN", "Infinity", "1e999", "1" + "0" * 400, "1" * 5_000):
        yield Hostile(f"validation {text[:9]}", raw_state("val_nats_per_char", text), says="number")
        yield Hostile(f"seconds {text[:9]}", raw_state("seconds", text), says="number")
        yield Hostile(f"nats {text[:9]}", raw_state("progress__whole__figures__main__nats", text), says="number")
    for value in ("low", [], {}, True, -1.0):
        yield Hostile(f"validation {value!r}", state(val_nats_per_char=value), says="val_nats_per_char")
        yield Hostile(f"seconds {value!r}", state(seconds=value), says="seconds")
    for value in (-1, 11, 10**9, 1.0, "3", True, None):
        # Generating text does not need to know where the training was.
        yield Hostile(f"recorded until {value!r}", state(recorded_until=value), "4 0/4 4 0")
    counts = ("step", "epoch", "epoch_step", "num_without_improvement", "num_plateaus", "num_skipped", "num_rollbacks")
    for key in (*counts, "num_averaged"):
        for value in (-1, 1.5, "3", True, None, []):
            yield Hostile(f"progress, {key} {value!r}", state(**{f"progress__{key}": value}), "4 0/4 4 0")
    for key in ("step", "epoch", "epoch_step"):
        yield Hostile(f"{key} of 10**25", state(**{f"progress__{key}": 10**25}), "0/4 0/4 4 0")
        yield Hostile(f"{key} of 10**9", state(**{f"progress__{key}": 10**9}), "0/4 0/4 4 0")
    yield Hostile("plateaus 10**25", state(progress__num_plateaus=10**25), "0/4 0/4 0/4 0")
    yield Hostile("rollbacks 10**25", state(progress__num_rollbacks=10**25), "0/4 0/4 0/4 0")
    for key, values in (
        ("is_averaging", (1, "yes", None)),
        ("val_to_beat", ("low", [], True)),
        ("recent_vals", (1.0, None, {}, ["low"], [[1.0]], [None])),
    ):
        for value in values:
            yield Hostile(f"progress, {key} {value!r}", state(**{f"progress__{key}": value}), "4 0/4 4 0")
    yield Hostile("averaged 10**25", state(progress__num_averaged=10**25), "0/4 0/4 0/4 0")
    yield Hostile("many figures", state(progress__recent_vals=[0] * 200_000), "0/4 0/4 0/4 0", is_large=True)
    yield Hostile("progress is a list", state(progress=[]), says="progress")
    yield Hostile("progress of lists", state(progress={"step": 10, "whole": [[]]}), "4 0 4 0")
    yield Hostile("no progress", state(progress=...), says="progress")
    yield Hostile("nothing predicted", state(progress__whole__figures__main__num_predicted=0), "0/4 0/4 0/4 0")
    yield Hostile("less than nothing", state(progress__whole__figures__main__num_predicted=-5), "0/4 0/4 0/4 0")
    yield Hostile("no figures", state(progress__whole__figures=[]), "4 0 4 0")
    for value in ([], [1], "text", 3, {"torch": {"a": {"b": []}}}, {"torch": [[]]}, {ESCAPE: 1}, {"torch": ESCAPE}):
        yield Hostile(f"fingerprint {str(value)[:20]!r}", state(fingerprint=value), says="fingerprint")
    yield Hostile("fingerprint of many", state(fingerprint={f"k{n}": n for n in range(20_000)}), says="fingerprint")
    for value in ([], 3, "0", ESCAPE, {"a": 1}, "0" * 63):
        yield Hostile(f"corpus {str(value)[:20]!r}", state(corpus_sha256=value), says="corpus_sha256")
    for value in ([], 3, "0", {"train": 3}, {"train": {"chars": "3", "sha256": 3}}, {"more": {}}, {"train": []}):
        yield Hostile(f"split {str(value)[:30]!r}", state(split=value), says="split")
    yield Hostile("split of another text", state(split={}), CHECKPOINT, "split")
    yield Hostile("another text", state(corpus_sha256="0" * 64), "0 0 4 0")
    yield Hostile("an old format that was none", manifest(format=1), "0 0 0 0")
    for value in ([], 3, {"whole": []}, {"whole": {}}, "text"):

        def old(run: Path, value: Any = value) -> None:
            state(progress=value)(run)
            manifest(format=1)(run)

        yield Hostile(f"an old format's progress {value!r}", old)


def _strange_records() -> Iterator[Hostile]:
    for name in ("metrics.jsonl", "samples.jsonl"):
        told = "0 0 0/4 0/4"
        yield Hostile(f"{name} of 100 GB", instead(name, sparse), told)
        yield Hostile(f"{name} of one line of 50 MB", records(name, b'{"a": "' + b"x" * 50_000_000 + b'"}\n'), told)
        yield Hostile(f"{name} of brackets", records(name, nested(100_000) + b"\n"), told)
        yield Hostile(
            f"{name} of small lists", records(name, b'{"a":[' + b"[]," * 1_000_000 + b"[]]}\n"), told, is_large=True
        )
        yield Hostile(f"{name} of lists", records(name, b"[]\n[1]\n"), told)
        yield Hostile(f"{name} of empty records", records(name, b"{}\n" * 5), told)
        yield Hostile(f"{name} of noise", records(name, bytes(range(256)) * 40), told)
        yield Hostile(f"{name} is a link", instead(name, link_to("../../precious")), told)
        yield Hostile(f"{name} is a pipe", instead(name, pipe), "0 0 4/6 0/4")
        yield Hostile(f"{name} is a device", instead(name, device), "0 0 4/6 0/4")
        yield Hostile(f"{name} is a folder", instead(name, Path.mkdir), "0 0 4/6 0/4")
        for value in ("[]", '"x"', "null", "true", "1e999", "NaN", "1" * 5_000, f'"{"x" * 5_000}"', '{"a": [1]}'):
            record = (
                f'{{"kind": "evaluation", "step": {value}, "val_bpc": {value}, "chars_per_second": {value}, '
                f'"samples": {value}}}\n{{"kind": "end", "stopped_by": {value}, "steps": {value}, "val_bpc": {value}, '
                f'"test_bpc": {value}, "train_perplexity": {value}}}\n'
            )
            yield Hostile(f"{name} with values {value[:9]}", records(name, record.encode()), told)
    told = "0 0 0/4 4"
    yield Hostile("environment of 100 GB", instead("environment.json", sparse), told)
    yield Hostile("environment of brackets", records("environment.json", nested(100_000)), told)
    yield Hostile("environment is a list", records("environment.json", b"[]"), told)
    yield Hostile("environment is a link", instead("environment.json", link_to("/etc/passwd")), told)
    yield Hostile("environment is a pipe", instead("environment.json", pipe), told)
    for value in ([], [1], 3, None, {"a": 1}, True, [[]]):
        yield Hostile(f"environment, corpus {value!r}", environment(corpus=value), "0 0 0/4 0/4")
        yield Hostile(f"environment, hash {value!r}", environment(corpus_sha256=value), "0 0 0/4 0/4")
        yield Hostile(f"environment, parameters {value!r}", environment(num_parameters=value), "0 0 0/4 0/4")
    yield Hostile("environment that commands", environment(corpus=ESCAPE, num_parameters=10**25), "0 0 0/4 0/4")


def _drawn(seed: int) -> Iterator[Hostile]:
    """Yield a checkpoint with some value of its JSON, drawn from a seed, replaced by one that has no business there."""
    random = Random(seed)
    values = [None, True, -1, 0, 1.5, 10**25, "", ESCAPE, [], {}, [[[[]]]], {"step": 1}, "9" * 4_000, -1e300]

    def spoilt(content: bytes) -> bytes:
        value = json.loads(content)
        inner = value
        while True:
            key = random.choice(list(inner))
            if isinstance(inner[key], dict) and inner[key] and random.random() < 0.8:
                inner = inner[key]
                continue
            inner[key] = random.choice(values)
            return json.dumps(value).encode()

    stem = random.choice(["state", "state", "state", "vocabulary", "model", "training"])
    if stem in ("model", "training"):
        change = header(stem, lambda value: spoilt(json.dumps(value).encode()).decode())
        yield Hostile(f"seed {seed}: {stem}", change)
    else:
        yield Hostile(f"seed {seed}: {stem}", files(**{stem: spoilt}), "0/4 0/4 0/4 0")


def open_with_each_command(good: Path, folder: Path, every: int, *, has_large: bool) -> Iterator[dict[str, Any]]:
    """Yield what each command makes of each hostile run: exit code, output, seconds, and memory at its peak.

    Args:
        good: a run with one checkpoint, which has not ended.
        folder: to work in, empty.
        every: 1 for all of them, 4 for each fourth.
        has_large: whether those are among them that take seconds.
    """
    import torch
    from memos import remember
    from typer.testing import CliRunner

    from charlm.cli.main import app

    remember()
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _too_long)
    commands = {
        "verify": ["verify", "run"],
        "generate": ["generate", "--run", "run", "--prefix", "the ", "--length", "5"],
        "train": ["train", "--resume", "--run", "run"],
        "info": ["info", "run"],
    }
    shutil.copytree(good, folder / "warm" / "run")
    for command in commands.values():
        # Whatever is loaded with a command's first use is no hostile run's doing.
        CliRunner().invoke(app, [*command, "--runs-dir", str(folder / "warm")])
    precious = folder / "precious"
    chosen = (each for each in hostile_runs() if has_large or not each.is_large)
    for number, hostile in enumerate(islice(chosen, 0, None, every)):
        for command, arguments in commands.items():
            place = folder / f"{number} {command}"
            shutil.copytree(good, place / "run", symlinks=True)
            precious.write_text("mine\n")
            os.chdir(place)
            hostile.change(place / "run")
            names = sorted(path.name for path in place.iterdir())
            before = _memory("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")
            began = time.monotonic()
            signal.alarm(SECONDS)
            result = CliRunner().invoke(app, [*arguments, "--runs-dir", str(place)])
            signal.alarm(0)
            error = result.exception
            yield {
                "name": hostile.name,
                "command": command,
                "code": result.exit_code,
                "right": [int(code) for code in hostile.codes.split()[list(commands).index(command)].split("/")],
                "says": hostile.says,
                "stdout": result.stdout[-20_000:],
                "stderr": result.stderr[-20_000:],
                "error": None if error is None or isinstance(error, SystemExit) else _described(error),
                "seconds": time.monotonic() - began,
                "bytes": _memory("VmHWM") - before,
                "is_clean": sorted(path.name for path in place.iterdir()) == names and precious.read_text() == "mine\n",
            }
            os.chdir(folder)
            shutil.rmtree(place)


def _described(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-3_000:]


def _memory(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _too_long(*_: Any) -> None:
    raise TimeoutError


if __name__ == "__main__":
    _, good, work, each_of, sizes, tests = sys.argv
    sys.path.insert(0, tests)
    for told in open_with_each_command(Path(good), Path(work), int(each_of), has_large=sizes == "all"):
        print(json.dumps(told), flush=True)
