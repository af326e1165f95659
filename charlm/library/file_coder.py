"""A model as a coder of files: bytes in, a coded file out, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charlm.coding.coded_file import BUILD_BYTES, TORCH, Coded, CodedFile, checksum, model_hash
from charlm.coding.coder import decode_ids, encode_ids, probe
from charlm.coding.packing import DamagedError, packed_bytes, unpacked_bytes
from charlm.coding.rewriting import Rewritten, restore, rewrite
from charlm.errors import ConfigError, RunError, printable
from charlm.kernels.library import kernel_build
from charlm.library.measured_texts import of_total
from charlm.library.models import Model
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.predictor import Predictor
from charlm.runs.model_file import ModelFile
from charlm.text.notices import shown_path
from charlm.text.reading_order import turned
from charlm.text.vocabulary import Ids

if TYPE_CHECKING:
    from charlm.library.learning_coder import LearningCoder

# Packed edits take a few bytes for each character that is edited.
EDIT_BYTES_PER_BYTE, EDIT_BYTES = 32, 64
Report = Callable[[int, int], None]


class FileCoder:
    """A model on the CPU, as a coder of files.

    Args:
        model: the model.
    Raises:
        ConfigError: for a leaky model.
    """

    def __init__(self, model: Model) -> None:
        if model.direction == "leaky":
            raise ConfigError(
                f"the model of run {model.run.name} is leaky: it reads the characters that it predicts, so "
                "nothing that it codes could be decoded"
            )
        self.checkpoint = model.checkpoint
        self.vocab_size = len(self.checkpoint.vocabulary)
        # A GPU's bits may differ from one call to the next.
        self.model = replace(model, networks=model.networks.on_device("cpu"))
        self.predictor: Predictor = self.model.networks.main

    @property
    def run(self) -> str:
        """The name of the run that the model is from."""
        return self.model.run.run_name if isinstance(self.model.run, ModelFile) else self.model.run.name

    def encode(self, content: bytes, report: Report | None, learning: LearningCoder | None = None) -> CodedFile:
        """Return a file's bytes, coded, or packed without the model where it would make them longer.

        Args:
            content: the bytes.
            report: called with the number of characters done and the total.
            learning: the model as it learns from what it codes; None if it does not learn.
        """
        body = self._body(content, report, learning) if content else b""
        place, build = self._computed_by(body.rates if isinstance(body, Coded) else "")
        return CodedFile(
            run=self.run,
            step=self.checkpoint.step,
            model=self._hash(),
            place=place,
            build=build,
            probe=self._probe(learning if isinstance(body, Coded) else None),
            length=len(content),
            checksum=checksum(content),
            body=body,
        )

    def decode(self, coded: CodedFile, source: Path, report: Report | None) -> bytes:
        """Return the bytes of a file, which its checksum has confirmed.

        Args:
            coded: what the file says.
            source: its path, for messages.
            report: called with the number of characters done and the total.
        Raises:
            RunError: for another model, and where other bits are computed.
            DamagedError: for a file that decodes to something else.
        """
        if coded.model != self._hash():
            raise RunError(
                f"{shown_path(source)} was compressed with another model than that of {self.model.run.name} at step "
                f"{self.checkpoint.step:,}: it needs that of the run {printable(coded.run)} at step {coded.step:,}"
            )
        body = coded.body
        if isinstance(body, bytes):
            return _confirmed(coded, unpacked_bytes(body, at_most=coded.length))
        learning = None
        if body.rates:
            from charlm.library.learning_coder import learning_coder, unpacked_rates

            learning = learning_coder(self.model, **asdict(unpacked_rates(body.rates)))
        if coded.probe != self._probe(learning):
            raise RunError(self._elsewhere(coded, source, body.rates))
        edits = unpacked_bytes(body.edits, at_most=EDIT_BYTES_PER_BYTE * coded.length + EDIT_BYTES)
        try:
            text = self._text(body, report, learning.predictor() if learning else self.predictor)
            return _confirmed(coded, restore(Rewritten(text, body.layout, edits), self.checkpoint.settings.corpus))
        except DamagedError as error:
            if (coded.place, coded.build) == self._computed_by(body.rates):
                raise
            # The probe can miss a difference that the text has met.
            raise RunError(self._elsewhere(coded, source, body.rates)) from error

    def _probe(self, learning: LearningCoder | None) -> bytes:
        static = probe(self.predictor, self.vocab_size)
        return learning.probe(static) if learning else static

    def _body(self, content: bytes, report: Report | None, learning: LearningCoder | None) -> Coded | bytes:
        vocabulary, direction = self.checkpoint.vocabulary, self.model.direction
        written = rewrite(content, self.checkpoint.settings.corpus, vocabulary)
        ids = vocabulary.encode(written.text, unknown="replace")
        if self.model.boundary is not None:
            ids = np.concatenate([np.array([self.model.boundary], ids.dtype), ids])
        predictor, rates = self.predictor, ""
        if learning:
            from charlm.library.learning_coder import packed_rates

            predictor, rates = learning.predictor(), packed_rates(learning.adaptation)
        code = b""
        if written.text:
            told = of_total(report, len(ids))
            given = turned(ids, direction)
            code = encode_ids(predictor, given, self.vocab_size, boundary=self.model.boundary, report=told)
        edits = packed_bytes(written.edits)
        if len(edits) + len(code) >= len(content):
            return packed_bytes(content)
        return Coded(layout=written.layout, num_chars=len(written.text), edits=edits, code=code, rates=rates)

    def _text(self, body: Coded, report: Report | None, predictor: Predictor) -> str:
        if body.num_chars == 0:
            return ""
        boundary = self.model.boundary
        number = body.num_chars + (boundary is not None)
        told = of_total(report, number)
        found = decode_ids(predictor, body.code, number, self.vocab_size, boundary=boundary, report=told)
        ids: Ids = found.astype(np.uint32)
        return self.checkpoint.vocabulary.decode(turned(ids, self.model.direction)[boundary is not None :])

    def _hash(self) -> bytes:
        settings = self.checkpoint.settings
        return model_hash(settings.model, settings.corpus, self.checkpoint.vocabulary, self.checkpoint.model)

    def _computed_by(self, rates: str) -> tuple[str, bytes]:
        """Return what computes the probabilities here, and what identifies its build; only torch can learn."""
        if isinstance(self.predictor, NativePredictor) and not rates:
            kernels = self.predictor.kernels
            return kernels.instruction_set, bytes.fromhex(kernels.build)[:BUILD_BYTES]
        return TORCH, hashlib.sha256(_torch_versions().encode()).digest()[:BUILD_BYTES]

    def _elsewhere(self, coded: CodedFile, source: Path, rates: str) -> str:
        """Return a sentence that says what a file's probabilities were computed by, and what computes them here."""
        place, build = self._computed_by(rates)
        remedy = ""
        if (coded.place, place) == ("x86-64-v3", "x86-64-v4"):
            remedy = "; with ATEN_CPU_CAPABILITY=avx2 in the environment, this machine computes as that one did"
        then, here = _computing(coded.place, coded.build), _computing(place, build)
        return (
            f"{shown_path(source)} cannot be decoded here: its probabilities were computed by {then}, and those of "
            f"{here} differ in the last bits{remedy}"
        )


def _confirmed(coded: CodedFile, content: bytes) -> bytes:
    if len(content) != coded.length or checksum(content) != coded.checksum:
        raise DamagedError("what it decodes to has another checksum")
    return content


def _computing(place: str, build: bytes) -> str:
    if place == TORCH:
        return f"torch (versions {build.hex()})"
    return f"the native kernels for {place} (build {build.hex()})"


def _torch_versions() -> str:
    import torch

    versions = f"torch {torch.__version__}, NumPy {np.__version__}"
    return f"{versions}, {torch.backends.cpu.get_cpu_capability()}, kernels {kernel_build()}"
