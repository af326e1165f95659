"""Conversations without a terminal: the texts are those of `generate`, and whatever is typed has an answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

import charlm
from charlm.errors import ConfigError
from charlm.generation.filters import CALM, Filters
from charlm.library.chat_commands import ALIASES, COMMANDS
from charlm.library.chat_events import Choices, Event, Help, Note, Repeated, Surprise, Written
from charlm.library.conversation import PIECE_CHARS, Conversation, completions
from charlm.library.models import Model
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Open = Callable[..., Conversation]
TRAINED: dict[str, tuple[str, ...]] = {
    "bidirectional": ("model.direction=bidirectional",),
    "backward": ("model.direction=backward",),
    "leaky": ("model.direction=leaky",),
    "torch": ("model.implementation=torch",),
    "rare": ("vocabulary.max_size=15",),
}


@pytest.fixture(scope="module")
def runs(
    tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory, corpus_text: str
) -> Callable[[str], Run]:
    """Return a function that returns a run of a kind, trained once; no test may change it."""
    folder, made = tmp_path_factory.mktemp("kinds"), dict[str, Run]()
    accented = folder / "accented.txt"
    accented.write_text(corpus_text.replace("e", "é"), encoding="utf-8")
    kinds = TRAINED | {"accented": (f"corpus.path='{accented}'", "sample.prefixes=null")}

    def run(kind: str) -> Run:
        if kind not in made:
            settings = tiny_settings("eval.baselines=false", "sample.prefixes=null", *kinds[kind])
            made[kind] = charlm.train(settings, name=kind, runs_dir=folder)
        return made[kind]

    return run


@pytest.fixture
def begin(trained: Run) -> Open:
    """Return a function that begins a conversation, with the trained run unless another is given."""
    return lambda run=trained, **options: Conversation(charlm.open_run(run), **options)


def text_of(*answers: list[Event]) -> str:
    """Return the text in some answers, the prompt included."""
    return "".join(event.plain for events in answers for event in events if isinstance(event, Repeated | Written))


def say(conversation: Conversation, *lines: str) -> list[list[Event]]:
    return [list(conversation.say(line)) for line in lines]


def refusal(conversation: Conversation, line: str) -> str:
    """Return the sentence that refuses a line, which must be all that answers it."""
    (event,) = conversation.say(line)
    assert isinstance(event, Note)
    assert event.is_refusal
    return event.text


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


# Texts.


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("filters", [CALM, Filters(0.0), Filters(1.2, top_k=4), Filters(1.0, top_p=0.8, min_p=0.1)])
@pytest.mark.parametrize("prompt", ["the ", "a cat", " "])
def test_a_prompt_begins_the_text_of_generate(
    begin: Open, trained: Run, prompt: str, filters: Filters, seed: int
) -> None:
    conversation = begin(filters=filters, seed=seed, length=150)
    say(conversation, "another prompt before", "")
    expected = charlm.generate(trained, prompt, filters=filters, seed=seed, length=150)
    assert [text_of(*say(conversation, prompt))] == expected


@pytest.mark.parametrize("kind", ["bidirectional", "leaky", "torch", "accented", "rare"])
def test_every_kind_of_model_writes_the_text_of_generate(begin: Open, runs: Callable[[str], Run], kind: str) -> None:
    run = runs(kind)
    conversation = begin(run)
    first, second, again = say(conversation, "a cat ", "", ":again")
    assert [text_of(first, second)] == charlm.generate(run, "a cat ", length=400)
    assert text_of(again) == charlm.generate(run, "a cat ", num_samples=2)[1]


def test_without_kernels_texts_are_those_of_generate_too(begin: Open, trained: Run, without_kernels: str) -> None:
    del without_kernels
    conversation = begin(length=50)
    first, second, again, more = say(conversation, "the ", "", ":again", "")
    assert [text_of(first, second)] == charlm.generate(trained, "the ", length=100)
    assert text_of(again, more) == charlm.generate(trained, "the ", length=100, num_samples=2)[1]


def test_two_pieces_of_200_are_the_text_of_400(begin: Open, trained: Run) -> None:
    first, second = say(begin(seed=5), "the ", "")
    assert (len(text_of(first)), len(text_of(second))) == (204, 200)
    assert [text_of(first, second)] == charlm.generate(trained, "the ", seed=5, length=400)


def test_an_empty_line_at_the_beginning_begins_as_generate_does(begin: Open, trained: Run) -> None:
    conversation = begin()
    first, second, again = say(conversation, "", "", ":again")
    assert [text_of(first, second)] == charlm.generate(trained, length=400)
    assert text_of(again) == charlm.generate(trained, num_samples=2)[1]


@pytest.mark.parametrize("kind", ["trained", "torch"])
@pytest.mark.parametrize("num_pieces", [0, 1, 3])
def test_a_text_that_is_stopped_goes_on_seamlessly(
    begin: Open, trained: Run, runs: Callable[[str], Run], kind: str, num_pieces: int
) -> None:
    run = trained if kind == "trained" else runs(kind)
    conversation, shown = begin(run, length=10**9), ""
    answer = conversation.say("the ")
    for number, event in enumerate(answer):
        shown += event.plain
        if number == num_pieces:
            break
    answer.close()
    conversation.length = 70
    shown += text_of(*say(conversation, "", ""))
    assert [shown] == charlm.generate(run, "the ", length=len(shown) - 4)
    assert kind == "torch" or len(shown) == 4 + num_pieces * PIECE_CHARS + 140


def test_again_writes_the_next_sample_each_time(begin: Open, trained: Run) -> None:
    conversation = begin()
    texts = [text_of(events) for events in say(conversation, "the ", ":again", ":again")]
    assert texts == charlm.generate(trained, "the ", num_samples=3)
    assert text_of(*say(conversation, "the ")) == texts[0]


def test_settings_count_from_then_on(begin: Open, trained: Run) -> None:
    conversation = begin()
    assert notes(say(conversation, ":t 0")[0]) == ["temperature 0"]
    assert notes(say(conversation, ":length 1,000")[0]) == ["length 1,000"]
    assert [text_of(*say(conversation, "the "))] == charlm.generate(trained, "the ", temperature=0, length=1000)
    say(conversation, ":length 30", ":t 1.5", ":seed 9")
    first = text_of(*say(conversation, "the "))
    # A text keeps the seed that it was begun with, and :again takes the new one from its first sample on.
    assert notes(say(conversation, ":seed 4")[0]) == ["seed 4, from the next text on"]
    second = text_of(*say(conversation, ""))
    assert [first + second] == charlm.generate(trained, "the ", temperature=1.5, length=60, seed=9)
    texts = [text_of(events) for events in say(conversation, ":again", ":again")]
    assert texts == charlm.generate(trained, "the ", temperature=1.5, length=30, seed=4, num_samples=2)


def test_a_prompt_may_begin_with_a_colon(begin: Open) -> None:
    conversation = begin()
    assert "left out" in notes(say(conversation, ":: the ")[0])[0]
    assert text_of(*say(conversation, ":: the ")).startswith(": the ")


# Items.


def test_items_are_whole_and_an_empty_line_writes_another(begin: Open, listed: Run) -> None:
    conversation = begin(listed)
    prompted, *others = [text_of(events) for events in say(conversation, "ba", "", "", "", ":again")]
    assert [prompted] == charlm.generate(listed, "ba")
    assert others == charlm.generate(listed, num_samples=4)
    assert "\n" not in prompted + "".join(others)


def test_an_item_that_was_cut_is_gone_on_with(begin: Open, listed: Run) -> None:
    conversation, expected = begin(listed, length=1), charlm.generate(listed, "ba")[0]
    parts = say(conversation, "ba", *[""] * (len(expected) - 3))
    assert text_of(*parts) == expected
    # The end of the item is all that is left of it.
    last, another = say(conversation, "", "")
    assert text_of(last) == ""
    assert [text_of(another)] == charlm.generate(listed, length=1)


def test_the_end_of_an_item_can_be_chosen(begin: Open, listed: Run) -> None:
    conversation = begin(listed, length=3)
    say(conversation, "bako")
    for _ in range(20):
        (events,) = say(conversation, ":top")
        (choices,) = events
        assert isinstance(choices, Choices)
        place = next((n for n, each in enumerate(choices.expected, 1) if each.character == "\n"), 1)
        (answer,) = say(conversation, str(place))[0]
        if isinstance(answer, Note):
            assert answer.text.endswith("the item ends here; an empty line writes another")
            assert text_of(*say(conversation, "")) in charlm.generate(listed, length=3, num_samples=20)
            return
    pytest.fail("the end of an item is never among the likeliest five")


# Next characters.


def test_digits_take_characters_that_are_read(begin: Open, trained: Run) -> None:
    conversation, text = begin(length=30), "the "
    say(conversation, ":length 0", text, ":length 30")
    (events,) = say(conversation, ":top")
    for digit in (2, 1, 5):
        (choices,) = events
        assert isinstance(choices, Choices)
        assert choices.text == text
        expected = charlm.next_characters(trained, text, top=5)
        assert [each.character for each in choices.expected] == [each.character for each in expected]
        assert [each.probability for each in choices.expected] == pytest.approx([each.probability for each in expected])
        text += choices.expected[digit - 1].character
        (events,) = say(conversation, str(digit))
    # No random number was used for them.
    assert text + text_of(*say(conversation, "")) == charlm.generate(trained, text, length=30)[0]


def test_top_after_a_text_goes_on_from_its_end(begin: Open, trained: Run) -> None:
    conversation = begin()
    text = text_of(*say(conversation, "the "))
    (choices,) = say(conversation, ":top")[0]
    assert isinstance(choices, Choices)
    assert text.endswith(choices.text.removeprefix("…"))
    assert [each.character for each in choices.expected] == [
        each.character for each in charlm.next_characters(trained, text, top=5)
    ]
    # An empty line does as though nobody had asked.
    assert [text + text_of(*say(conversation, ""))] == charlm.generate(trained, "the ", length=400)


def test_top_at_the_very_beginning_begins_a_text(begin: Open, trained: Run) -> None:
    conversation = begin()
    (choices,) = say(conversation, ":top")[0]
    assert isinstance(choices, Choices)
    assert choices.text == ""
    assert [each.character for each in choices.expected] == [
        each.character for each in charlm.next_characters(trained, "\n", top=5)
    ]
    assert [text_of(*say(conversation, ""))] == charlm.generate(trained)


def test_digits_are_prompts_unless_characters_are_to_be_chosen(begin: Open) -> None:
    conversation = begin()
    assert "no character that this model knows" in notes(say(conversation, "2")[0])[-1]
    say(conversation, ":top")
    assert refusal(conversation, "6") == "a digit from 1 to 5 takes a character; an empty line goes on"
    assert refusal(conversation, "0").startswith("a digit from 1 to 5")
    assert isinstance(say(conversation, "1")[0][0], Choices)
    say(conversation, "a cat")
    assert "no character that this model knows" in notes(say(conversation, "1")[0])[-1]


def test_the_unknown_symbol_is_never_among_the_choices(begin: Open, runs: Callable[[str], Run]) -> None:
    conversation = begin(runs("rare"))
    for line in (":top", "1", "1", "1"):
        (choices,) = say(conversation, line)[0]
        assert isinstance(choices, Choices)
        assert len(choices.expected) == 5
        assert not any(each.is_unknown for each in choices.expected)


# Surprise.


@pytest.mark.parametrize("kind", ["trained", "bidirectional"])
def test_surprise_is_the_score_of_the_last_prompt_or_of_a_text(
    begin: Open, trained: Run, runs: Callable[[str], Run], kind: str
) -> None:
    run = trained if kind == "trained" else runs(kind)
    conversation = begin(run)
    assert refusal(conversation, ":surprise") == "there is no prompt yet: type one, or :surprise TEXT"
    say(conversation, "the cat", "")
    for line, text in ((":surprise", "the cat"), (":surprise  a dog", " a dog"), (":surprise", "the cat")):
        (event,) = say(conversation, line)[0]
        assert isinstance(event, Surprise)
        assert list(event.characters) == list(charlm.score(run, text))
        assert event.has_cloze == (kind == "bidirectional")


def test_surprise_names_unknown_characters_once(begin: Open) -> None:
    conversation = begin()
    note, event = say(conversation, ":surprise the €")[0]
    assert isinstance(note, Note)
    assert "'€' (U+20AC): left out" in note.text
    assert isinstance(event, Surprise)
    assert (event.num_unknown, len(event.characters)) == (1, 5)
    assert len(say(conversation, ":surprise the €")[0]) == 1


# Characters.


def test_unknown_characters_are_named_once_and_skipped(begin: Open, trained: Run) -> None:
    conversation = begin()
    first, second, third = say(conversation, "thé €cat€", "thé", "th ß€")
    assert notes(first) == [
        "the model does not know 'é' (U+00E9), '€' (U+20AC): left out; the nearest it knows: 'e' for 'é'"
    ]
    skipping = charlm.open_run(trained).with_unknown("skip")
    assert [text_of(first)] == skipping.generate("thé €cat€")
    assert notes(second) == []
    assert notes(third) == ["the model does not know 'ß' (U+00DF): left out; the nearest it knows: 'ss' for 'ß'"]


def test_a_model_with_an_unknown_symbol_reads_it(begin: Open, runs: Callable[[str], Run]) -> None:
    (events,) = say(begin(runs("rare")), "the €")
    assert "'€' (U+20AC): read as its unknown symbol" in notes(events)[0]
    assert [text_of(events)] == charlm.generate(runs("rare"), "the €")


@pytest.mark.filterwarnings("ignore:the prefix was typed in NFD")
def test_accents_are_matched_and_that_is_said_once(begin: Open, runs: Callable[[str], Run]) -> None:
    typed = unicodedata.normalize("NFD", "thé cat")
    first, second = say(begin(runs("accented")), typed, typed)
    assert notes(first) == ["the text was typed in NFD and is read in NFC, like the model's corpus"]
    assert notes(second) == []
    assert [text_of(first)] == charlm.generate(runs("accented"), typed)


# Runs, transcripts, help.


def test_another_run_keeps_the_settings_and_the_prompt(begin: Open, trained: Run, listed: Run) -> None:
    opened: list[str] = []

    def open_other(name: str) -> Model:
        opened.append(name)
        return charlm.open_run(listed if name == "list" else trained)

    conversation = begin(seed=2, filters=Filters(1.1), length=25, open_other=open_other)
    say(conversation, "ta", ":again")
    assert notes(say(conversation, ":run list")[0]) == [
        "run list, step 60, temperature 1.1, length 25, seed 2",
    ]
    assert opened == ["list"]
    options = {"seed": 2, "temperature": 1.1, "length": 25}
    assert [text_of(*say(conversation, ":again"))] == charlm.generate(listed, "ta", **options)
    say(conversation, ":run trained")
    assert [text_of(*say(conversation, ""))] == charlm.generate(trained, **options)


def test_a_run_that_cannot_be_had_leaves_everything_as_it_is(
    begin: Open, trained: Run, runs: Callable[[str], Run]
) -> None:
    conversation = begin()
    first = text_of(*say(conversation, "the "))
    assert "no run" in refusal(conversation, f":run {trained.path.parent / 'trianed'}")
    assert "reads backwards and cannot continue a prompt" in refusal(conversation, f":run {runs('backward').path}")
    assert [first + text_of(*say(conversation, ""))] == charlm.generate(trained, "the ", length=400)


def test_backward_models_are_refused_by_name(begin: Open, runs: Callable[[str], Run]) -> None:
    with pytest.raises(ConfigError, match="the model of run backward reads backwards"):
        begin(runs("backward"))


def test_a_leaky_model_cannot_tell_what_comes_next(begin: Open, runs: Callable[[str], Run]) -> None:
    assert "is leaky" in refusal(begin(runs("leaky")), ":top")


def test_the_transcript_has_what_was_typed_and_written(begin: Open, tmp_path: Path, trained: Run) -> None:
    conversation = begin(length=20)
    say(conversation, "the ", "", ":t x", ":length 5", ":surprise", ":help")
    path = tmp_path / "saved here.txt"
    assert notes(say(conversation, f":save {path}")[0]) == [f"saved in {path}"]
    text = charlm.generate(trained, "the ", length=40)[0]
    saved = path.read_text(encoding="utf-8")
    head, *_ = saved.splitlines()
    assert head == "run trained, step 60, temperature 0.8, length 20, seed 0"
    ends = ["" if part.endswith("\n") else "\n" for part in (text[:24], text[24:])]
    assert saved.startswith(
        f"{head}\n> the \n{text[:24]}{ends[0]}> \n{text[24:]}{ends[1]}> :t x\nthe temperature must be a number, got "
        "'x'\n> :length 5\nlength 5\n> :surprise\n"
    )
    assert ":quit: end the conversation" in saved
    assert ":save" not in saved.partition("> :help")[2].partition("\nrun trained")[2]
    assert "exists already" in refusal(conversation, f":save {path}")
    assert path.read_text(encoding="utf-8") == saved
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_help_lists_every_command_and_the_settings(begin: Open) -> None:
    conversation = begin(filters=Filters(0.5, top_k=3, top_p=0.9))
    (event,) = say(conversation, ":help")[0]
    assert isinstance(event, Help)
    assert event.commands == COMMANDS
    assert event.settings.endswith("temperature 0.5, top-k 3, top-p 0.9, length 200, seed 0")
    for command in COMMANDS:
        assert callable(getattr(conversation, f"_do_{command.name}"))


@pytest.mark.parametrize("line", [":q", ":quit", ":Q", ":exit"])
def test_quit_ends_the_conversation(begin: Open, line: str) -> None:
    conversation = begin()
    say(conversation, "the ")
    assert not conversation.is_over
    assert say(conversation, line) == [[]]
    assert conversation.is_over


def test_completions_are_commands() -> None:
    assert completions(":s") == [":save ", ":seed ", ":surprise "]
    assert completions(":q") == [":quit"]
    assert len(completions(":")) == len(COMMANDS)
    for line in ("", "s", "the ", ":save x", "::", ":zzz"):
        assert completions(line) == []


def test_other_names_of_commands_lead_to_commands() -> None:
    assert set(ALIASES.values()) <= {command.name for command in COMMANDS}


# Wrong input.

WRONG = [
    (":", "the name of a command is missing after the colon"),
    (": t 0.5", "the name of a command is missing after the colon"),
    (":lngth 3", "there is no command :lngth; did you mean :length?"),
    (":zzzz", "there is no command :zzzz; :help shows them"),
    (":t", ":t needs a value, as in :t T"),
    (":t warm", "the temperature must be a number, got 'warm'"),
    (":t -0.5", "temperature must be 0 or more, got -0.5"),
    (":t nan", "temperature must be 0 or more, got nan"),
    (":length -1", "the length must be a whole number from 0 to 1,000,000,000, got '-1'"),
    (":length 1e3", "the length must be a whole number"),
    (f":length {10**12}", "the length must be a whole number"),
    (":length " + "9" * 5000, "the length must be a whole number"),
    (":seed x", "the seed must be a whole number from 0 to 9,223,372,036,854,775,807, got 'x'"),
    (f":seed {2**63}", "the seed must be a whole number"),
    (":again 2", ":again stands alone, got '2' after it"),
    (":again", "nothing was written yet: type a prompt, or an empty line"),
    (":surprise", "there is no prompt yet"),
    (":run", ":run needs a value, as in :run NAME"),
    (":run no-such-run", "no-such-run"),
    (":run \0", ""),
    (":save", ":save needs a value, as in :save FILE"),
    (":save /no/such/folder/file", "cannot write /no/such/folder/file: no such file or directory"),
    (":save /", "/ exists already: name a new file"),
    (":save a\0b", "the name of a file cannot contain the character zero"),
    (":save " + "n" * 300, "file name too long"),
    (":save ~nobody-of-this-name/x", "there is no such user"),
    (":quit now", ":quit stands alone"),
    ("123", "no character that this model knows"),
    ("\ud800", "no character that this model knows"),
]


@pytest.mark.parametrize(("line", "sentence"), WRONG, ids=lambda value: ascii(value)[:30])
def test_what_is_wrong_is_one_sentence_and_the_conversation_goes_on(
    begin: Open, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    conversation = begin()
    events = list(conversation.say(line))
    assert isinstance(events[-1], Note)
    assert events[-1].is_refusal
    assert sentence in events[-1].text
    assert "\n" not in events[-1].text
    assert not conversation.is_over
    assert [text_of(*say(conversation, "the "))] == charlm.generate(trained, "the ")
    assert list(tmp_path.iterdir()) == []
