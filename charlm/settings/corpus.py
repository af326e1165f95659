"""The settings of the text: which one, how it is read, cleaned, split, counted and cut into windows."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ModelWrapValidatorHandler, model_validator
from pydantic_core import PydanticCustomError

from charlm.errors import printable
from charlm.settings.values import (
    MAX_WINDOW,
    AtLeastTwo,
    Conflict,
    PositiveInt,
    Section,
    SplitSetting,
    TextList,
    also,
    with_sole_default,
)

UnknownPolicy = Literal["error", "skip", "replace"]

DEFAULT_CORPUS = "stories"


class Clean(Section):
    """How a text is cleaned; `letters` alone may be written `clean: letters`, all kept as it is `clean: none`."""

    model_config = also({"enum": ["letters", "none"]})

    newline: Literal["keep", "lf"] = Field(
        default="lf", description="lf reads CRLF and CR line ends as LF, keep leaves them as they are"
    )
    unicode: Literal["none", "nfc"] = Field(default="none", description="Unicode normalisation")
    lowercase: bool = Field(default=False, description="lower-case every character")
    letters: bool = Field(
        default=False, description="a to z and space only: each line stripped, lines joined with nothing"
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_name(cls, value: JsonValue | Clean) -> JsonValue | Clean:
        if value == "letters":
            return {"letters": True}
        if value == "none":
            return {"newline": "keep"}
        if isinstance(value, Clean | dict):
            return value
        raise PydanticCustomError("clean", "must be letters, none, or keys out of newline, unicode, lowercase, letters")


class CorpusSettings(Section):
    """Which text, how it is read and cleaned, and how it is split."""

    name: str | None = Field(
        default=DEFAULT_CORPUS,
        description="a shipped or known corpus, see `charlm corpus list`; null is stories if there is no path",
    )
    path: TextList | None = Field(
        default=None,
        description="text files in this order; a folder means its .txt files, sorted; - is standard input",
    )
    between_files: Literal["newline", "nothing"] = Field(
        default="newline",
        description="newline ends the last line of a file that lacks its line end before the next file begins",
    )
    encoding: str = Field(default="utf-8", description="strict; a byte order mark is removed")
    clean: Clean = Field(
        default=Clean(),
        description="cleaning, stored with the model and applied to prefixes and evaluated texts too",
    )
    max_chars: PositiveInt | None = Field(default=None, description="only the first characters, counted after cleaning")
    split: SplitSetting = Field(
        default="default",
        description="train, validation and test in this order: default is 90/5/5, nanogpt 90/10, torch-rnn "
        "80/10/10, none trains on all, standard is a known corpus's own protocol",
    )
    unknown: UnknownPolicy = Field(
        default="error",
        description="what becomes of unknown characters in prefixes and evaluated texts; error reads them as the "
        "unknown symbol where vocabulary.min_count or max_size made one",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _default_corpus(cls, value: JsonValue, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, dict) and is_older(value):
            value = {"between_files": "nothing", **value}
        return with_sole_default(value, handler, "name", ("path",))


class VocabularySettings(Section):
    """Which characters become symbols."""

    min_count: PositiveInt = Field(default=1, description="characters seen less often become the unknown symbol")
    max_size: AtLeastTwo | None = Field(
        default=None,
        description="at most so many symbols, the unknown symbol included; the most frequent stay",
    )


class SamplingSettings(Section):
    """How the text is cut into windows."""

    method: Literal["consecutive", "random"] = Field(
        default="consecutive", description="consecutive carries the recurrent state, random starts it at zero"
    )
    batch_size: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(default=32, description="windows side by side")
    seq_len: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=64, description="characters in a window, the length of truncated BPTT"
    )


def is_older(corpus: dict[str, JsonValue]) -> bool:
    """Say whether a section stands as an older charlm wrote it into a run: all of cleaning, nothing of `between_files`.

    Such a run joined its files with nothing between them, and goes on so.
    """
    clean = corpus.get("clean")
    return isinstance(clean, dict) and clean.keys() >= Clean.model_fields.keys() and "between_files" not in corpus


def corpus_conflicts(corpus: CorpusSettings) -> Iterator[Conflict]:
    """Yield what of the corpus' settings does not go together."""
    if corpus.name is not None and corpus.path is not None:
        yield "corpus.path", "and corpus.name exclude each other: keep one"
    if corpus.path == ():
        yield "corpus.path", "is an empty list: name a text file, or leave it out"
    if "" in (corpus.path or ()):
        yield "corpus.path", "has an empty name: is a shell variable unset?"
    if corpus.split == "standard" and corpus.path is not None:
        yield "corpus.split", "standard needs corpus.name: only known corpora have a standard split"
    if isinstance(corpus.split, tuple):
        yield from _split_conflicts(corpus.split)


def _split_conflicts(parts: tuple[float | int, ...]) -> Iterator[Conflict]:
    sizes = all(isinstance(part, int) for part in parts)
    fractions = all(isinstance(part, float) for part in parts)
    if len(parts) not in (2, 3) or min(parts) < 0 or not (sizes or fractions) or parts[0] == 0:
        yield "corpus.split", f"needs two or three fractions, or two or three sizes, not {printable(str(list(parts)))}"
    elif fractions and (total := sum(Fraction(str(part)) for part in parts)) != 1:
        yield "corpus.split", f"fractions must sum to 1, these sum to {float(total)}"
