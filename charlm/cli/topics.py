"""The pages of the guide: what they are called, what each is about, and which one a word means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from charlm.settings.nearest import plain
from charlm.settings.shipped import shipped_folder

# The pages in reading order, each with other words for it.
_TOPICS = {
    "start": "first_steps begin beginning intro introduction install installation quickstart quick_start tutorial",
    "your-text": "text texts own_text data corpora poems names faq problems troubleshooting errors",
    "recipe": "auto automatic automatic_recipe recipes time budget dry_run fit refit",
    "items": "item lines list lists list_of_names documents makemore new_items",
    "results": "result perplexity ppl bpc bits metrics benchmark benchmarks comparison interval nanogpt d2l "
    "plot plots curves learning_curves graph chart",
    "forms": "form shapes tensors dimensions embedding one_hot windows batches",
    "equations": "equation math maths mathematics formulas lstm gru rnn elman gates",
    "backpropagation": "bptt backprop back_propagation backpropagation_through_time truncation truncated memory",
    "gradients": "vanishing exploding vanishing_gradients exploding_gradients clip clipping clip_grad",
    "inside": "inspect look interpret interpretability visualise visualize neurons neuron units saturation jacobian "
    "memory_used",
    "cells": "which_cell cell_comparison lstm_or_gru rnn_or_lstm",
    "sizes": "size capacity overfit overfitting underfitting generalisation generalization parameters how_big",
    "samples": "junk gibberish nonsense sampling_tips top_k top_p quality why",
    "regularisation": "regularization regularise regularize dropout ema averaging",
    "bidirectional": "bilstm birnn bigru cloze infill gaps leak leaky",
    "page": "html web website webpage browser demo phone javascript",
    "ensembles": "ensemble mixture mixtures committee joined combine averaging_models product_of_experts ngrams",
    "coding": "coder compress compression decompress arithmetic_coding range_coder zip proof prove entropy_coding",
    "runs": "run resume resuming continue checkpoints folder exit_codes exit_code crash rm remove delete prune",
    "sweeps": "search tuning hyperparameters grid tpe optuna cluster dask slurm kubernetes",
    "scripting": "script scripts json shell bash automation",
    "python": "api library notebook import",
    "speed": "fast performance gpu kernels native slow",
    "reliability": "faults durability kills guarantees",
    "design": "architecture internals code source rooms",
    "settings": "setting options config configuration configs yaml",
    "commands": "command cli usage flags",
}
ALIASES = {word: topic for topic, words in _TOPICS.items() for word in words.split()}
_LINK = r"(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])+)\]\((?P<target>[^()\s]+)\)"
# Links: `[text](sizes.md#how-many)`, with an exclamation mark pictures; and code, in which there are none.
_LINKS_AND_CODE = re.compile(
    rf"^(?P<fence>`{{3,}}|~{{3,}}).*?^(?P=fence)$|{_LINK}|(?P<ticks>`+).+?(?P=ticks)", re.MULTILINE | re.DOTALL
)
_SENTENCE = re.compile(r"(.+?[.!?])(?=\s+[A-Z0-9`*]|\s*$)", re.DOTALL)


@dataclass(frozen=True)
class Page:
    """A page of the guide.

    Args:
        topic: its file's name without the ending.
        text: Markdown.
    """

    topic: str
    text: str

    @property
    def title(self) -> str:
        """Its first heading."""
        return _plain_text(self.text.partition("\n")[0].lstrip("# "))

    @property
    def summary(self) -> str:
        """Its first sentence, as plain text on one line."""
        paragraphs = self.text.partition("\n")[2].strip().split("\n\n")
        sentence = _SENTENCE.match(paragraphs[0])
        return _plain_text(" ".join((sentence[1] if sentence else paragraphs[0]).split()))

    def section(self, name: str) -> str:
        """Return the part below the second-level heading of that name; empty where there is none."""
        found = re.search(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return found[0].rstrip() + "\n" if found else ""

    def with_section(self, section: str, *, before: str) -> str:
        """Return the page with one more section, before the second-level heading of that name, or else at its end."""
        head, heading, rest = self.text.partition(f"\n## {before}\n")
        return f"{head.rstrip()}\n\n{section.rstrip()}\n{heading}{rest}"


@cache
def pages() -> dict[str, Page]:
    """Return the pages of the guide by their topics, in reading order."""
    folder = shipped_folder("guide")
    return {topic: Page(topic, (folder / f"{topic}.md").read_text(encoding="utf-8")) for topic in _TOPICS}


def page_of(word: str) -> Page | None:
    """Return the page that a word names, by its topic or by another word for it."""
    asked = plain(word.removesuffix(".md"))
    topics = {plain(topic): topic for topic in pages()}
    return pages().get(topics.get(asked) or ALIASES.get(asked, ""))


def mentioning(key: str) -> Iterator[str]:
    """Yield the topics whose pages speak of a setting by its dotted key."""
    for topic, page in pages().items():
        if topic not in ("settings", "commands") and re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.]*\w)", page.text):
            yield topic


def for_terminal(text: str) -> str:
    """Return Markdown whose links to other pages say which command shows them, for where nobody can click.

    Example:
        >>> for_terminal("See [sizes](sizes.md#how-many).")
        'See sizes (`charlm guide sizes`).'
    """
    return _LINKS_AND_CODE.sub(_spelt_out, text)


def _spelt_out(link: re.Match[str]) -> str:
    text, target = link["text"], link["target"]
    if not target:
        return link[0]
    if link["picture"]:
        return f"*{text}*"
    if target.startswith(("http:", "https:")):
        return text if text == target else f"{text} ({target})"
    file, _, _ = target.partition("#")
    if file.endswith(".md") and "/" not in file:
        return f"{text} (`charlm guide {file[:-3]}`)"
    return text


def _plain_text(markdown: str) -> str:
    """Return a line of Markdown without its marks."""
    return re.sub(r"[`*]", "", re.sub(_LINK, lambda link: link["text"], markdown))
