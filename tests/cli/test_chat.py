"""Conversations on a real terminal: keys, colours, signals, the history, and what is refused without a terminal."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import CLOSED, finish, start
from terminals import Terminal, terminal
from typer.testing import Result

import charlm
from charlm.runs.run import Run
from charlm.settings.schema import Settings

Command = Callable[..., Result]
UP, CTRL_C, CTRL_D = "\x1b[A", "\x03", "\x04"
PASTED_ON, PASTED_OFF = b"\x1b[?2004h", b"\x1b[?2004l"
STYLE = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep each test's history in a folder of its own, and give it a terminal with colours."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm-256color")
    return tmp_path / "state"


def ready(screen: Terminal, after: int = 0) -> None:
    """Wait until a line can be typed: from then on, what is pasted is marked, and until it has been typed.

    Args:
        after: how much had been shown before the prompt.
    """
    screen.wait_for(lambda _: screen.shown.rfind(PASTED_ON) > max(after - 1, screen.shown.rfind(PASTED_OFF)))


def answer(screen: Terminal, line: str) -> None:
    """Type a line, and wait for the prompt after its answer."""
    ready(screen)
    press(screen, f"{line}\r")


def press(screen: Terminal, keys: str) -> None:
    """Press keys that bring another prompt, and wait for it."""
    shown = len(screen.shown)
    screen.type(keys)
    ready(screen, shown)


def test_a_conversation_shows_texts_after_dim_prompts_and_ends_with_ctrl_d(trained: Run) -> None:
    expected = charlm.generate(trained, "the ", length=60)[0]
    with terminal("chat", f"--run={trained.path}", "--length=30") as screen:
        ready(screen)
        assert screen.lines[0] == "run trained, step 60, temperature 0.8, length 30, seed 0"
        answer(screen, "the ")
        answer(screen, "")
        screen.type(CTRL_D)
        assert screen.wait() == 0
        assert screen.is_as_before
        shown = screen.shown.decode().replace("\r\n", "\n")
        first, second = expected[4:34], expected[34:]
        assert f"\x1b[2mthe \x1b[0m{first}" in shown
        assert second in shown


def test_ctrl_c_stops_the_writing_and_an_empty_line_goes_on_seamlessly(trained: Run, tmp_path: Path) -> None:
    with terminal("chat", f"--run={trained.path}", "--length=1000000000") as screen:
        ready(screen)
        screen.type("the \r")
        screen.wait_for(lambda _: len(screen.shown) > 5_000)
        press(screen, CTRL_C)
        answer(screen, ":length 300")
        answer(screen, "")
        answer(screen, f":save {tmp_path / 'saved'}")
        screen.type(":q\r")
        assert screen.wait() == 0
        assert screen.is_as_before
    saved = (tmp_path / "saved").read_text(encoding="utf-8")
    written, _, after = saved.partition("> the \n")[2].partition("> :length 300\nlength 300\n> \n")
    # The line that is typed ends the line of the text, wherever it was stopped.
    whole = charlm.generate(trained, "the ", length=len(written) + len(after))[0]
    parts = {written + after, written.removesuffix("\n") + after}
    parts |= {part.removesuffix("\n") for part in parts}
    assert any(whole.startswith(part) and len(part) > 4_000 for part in parts)


def test_ctrl_c_clears_the_line_and_an_empty_one_is_told_how_to_end(trained: Run) -> None:
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        ready(screen)
        screen.type("wrong")
        screen.wait_for("> wrong")
        screen.type(CTRL_C)
        screen.wait_for(lambda lines: "wrong" not in "".join(lines))
        press(screen, CTRL_C)
        assert "Ctrl-D or :quit ends the conversation" in screen.lines
        shown = len(screen.shown)
        screen.process.send_signal(signal.SIGINT)
        ready(screen, shown)
        assert screen.lines.count("Ctrl-D or :quit ends the conversation") == 2
        answer(screen, "a cat")
        screen.type(":quit\r")
        assert screen.wait() == 0


def test_lines_are_remembered_from_one_conversation_to_the_next(trained: Run, state_folder: Path) -> None:
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        answer(screen, "the first")
        answer(screen, ":t 0.5")
        screen.type(CTRL_D)
        assert screen.wait() == 0
    (kept,) = (state_folder / "charlm").iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        ready(screen)
        screen.type(UP)
        screen.wait_for("> :t 0.5")
        screen.type(UP)
        screen.wait_for("> the first")
        press(screen, " cat\x08\x08\x08hat\r")
        assert "> the first hat" in screen.lines
        screen.type(CTRL_D)
        assert screen.wait() == 0


def test_a_history_that_cannot_be_kept_is_told_once(trained: Run, state_folder: Path) -> None:
    state_folder.write_text("a file where the folder would be", encoding="utf-8")
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        answer(screen, "the cat")
        screen.type(UP)
        screen.wait_for(lambda lines: lines.count("> the cat") == 2)
        press(screen, "\r")
        screen.type(CTRL_D)
        assert screen.wait() == 0
    told = b"what you type is remembered only until the end of the conversation: cannot write"
    assert screen.shown.count(told) == 1


@pytest.mark.parametrize("is_writing", [False, True], ids=["at the prompt", "while writing"])
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "hung up")]
)
def test_other_signals_end_it_with_their_codes_and_leave_the_terminal_usable(
    trained: Run, number: signal.Signals, code: int, word: str, is_writing: bool
) -> None:
    with terminal("chat", f"--run={trained.path}", "--length=1000000000") as screen:
        ready(screen)
        assert not screen.is_as_before
        if is_writing:
            screen.type("the \r")
            screen.wait_for(lambda _: len(screen.shown) > 5_000)
        screen.process.send_signal(number)
        assert screen.wait() == code
        assert screen.is_as_before
        assert screen.shown.decode().rstrip().endswith(f"charlm: {word}")
        assert b"\x1b[?2004l" in screen.shown[screen.shown.rfind(b"\x1b[?2004h") :]


def test_a_window_that_is_closed_ends_it(trained: Run) -> None:
    with terminal("chat", f"--run={trained.path}") as screen:
        ready(screen)
        screen.hang_up()
        assert screen.process.wait(timeout=60) == 129


def test_tab_completes_commands(trained: Run) -> None:
    with terminal("chat", f"--run={trained.path}") as screen:
        ready(screen)
        press(screen, ":le\t12\r")
        assert "length 12" in screen.lines
        screen.type(":s\t\t")
        screen.wait_for(lambda lines: all(any(name in line for line in lines) for name in (":save", ":surprise")))
        screen.wait_for(lambda lines: [line for line in lines if line][-1:] == ["> :s"])
        # The list is followed by another prompt, so that a prompt does not show that this line was answered.
        screen.type("\x15a\tcat\r")
        screen.wait_for(lambda lines: any(line.startswith("acat") for line in lines))


def test_what_is_typed_ahead_is_not_mixed_into_the_text(trained: Run) -> None:
    with terminal("chat", f"--run={trained.path}", "--length=200000") as screen:
        ready(screen)
        screen.type("the \r")
        screen.wait_for(lambda _: len(screen.shown) > 5_000)
        screen.type(":length 7\r")
        screen.wait_for("length 7")
        assert b":length 7" in screen.shown[200_000:]
        assert b":length 7" not in screen.shown[:200_000]


def test_choices_and_surprise_are_drawn(trained: Run) -> None:
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        answer(screen, "the cat")
        answer(screen, ":top")
        assert any(re.fullmatch(r"  1  '.'( \w+)? +0\.\d{4}", line) for line in screen.lines)
        answer(screen, "1")
        answer(screen, ":surprise")
        assert "the cat" in screen.lines
        assert b"\x1b[2;3mt\x1b[0m" in screen.shown
        answer(screen, ":help")
        assert any(line.startswith("  :surprise [TEXT]  ") for line in screen.lines)


def test_no_style_is_shown_where_none_is_wanted(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        answer(screen, "the cat")
        answer(screen, ":surprise")
        screen.type(CTRL_D)
        assert screen.wait() == 0
    assert set(STYLE.findall(screen.shown)) <= {b"\x1b[0m"}


def test_a_terminal_that_cannot_move_its_cursor_will_do(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal("chat", f"--run={trained.path}", "--length=10") as screen:
        for typed in ("the cat", ":q"):
            screen.wait_for(lambda lines: [line for line in lines if line][-1:] == [">"])
            screen.type(f"{typed}\r")
        assert screen.wait() == 0
    assert not STYLE.search(screen.shown)
    assert charlm.generate(trained, "the cat", length=10)[0].splitlines()[0].encode() in screen.shown


def test_control_characters_are_escaped(
    tiny_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hostile.txt").write_text("\x1b[31m\x07red\n" * 100, encoding="utf-8")
    settings = tiny_settings(f"corpus.path='{tmp_path / 'hostile.txt'}'", "sample.prefixes=null")
    run = charlm.train(settings, name="hostile", runs_dir=tmp_path / "runs")
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal("chat", f"--run={run.path}", "-t", "3") as screen:
        answer(screen, "red")
        answer(screen, ":top")
        answer(screen, "")
        screen.type(CTRL_D)
        assert screen.wait() == 0
    assert b"\\x1b" in screen.shown
    assert b"\x1b[31m" not in screen.shown
    assert b"\x07" not in screen.shown


def test_items_and_wrong_input_on_a_terminal(listed: Run) -> None:
    with terminal("chat", f"--run={listed.path}") as screen:
        answer(screen, "ba")
        answer(screen, "")
        answer(screen, ":lngth 3")
        assert "charlm: there is no command :lngth; did you mean :length?" in screen.lines
        answer(screen, ":run no-such-run")
        assert any(line.startswith("charlm: ") and "no-such-run" in line for line in screen.lines)
        assert charlm.generate(listed, "ba")[0] in screen.lines
        assert charlm.generate(listed)[0] in screen.lines


@pytest.mark.kernels
def test_torch_is_not_imported_where_the_kernels_serve(trained: Run) -> None:
    refusing = """
import sys
class Refusal:
    def find_spec(self, name, *_):
        assert name != "torch"
sys.meta_path.insert(0, Refusal())
"""
    with terminal("chat", f"--run={trained.path}", "--length=40", before=refusing) as screen:
        for line in ("the cat", "", ":again", ":top", "1", "", ":surprise", f":run {trained.path}", ""):
            answer(screen, line)
        screen.type(CTRL_D)
        assert screen.wait() == 0
    assert b"charlm: " not in screen.shown


# Without a terminal.


@pytest.mark.parametrize("command", ["chat", "play"])
def test_without_a_terminal_it_is_refused_in_one_sentence(trained: Run, charlm_command: Command, command: str) -> None:
    result = charlm_command(command, f"--run={trained.path}", text="the \n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "charlm: charlm chat needs a terminal for its input and output: in pipes and scripts, use charlm generate\n"
    )


def test_a_wrong_seed_is_refused_before_a_run_is_opened() -> None:
    with terminal("chat", "--seed=x") as screen:
        assert screen.wait() == 2
        assert screen.lines[0].startswith("charlm: --seed must be random or a whole number")


@pytest.mark.parametrize("options", [["--temperature=-1"], ["--top-k=0"], ["--checkpoint=x"], ["--length=-1"]])
def test_wrong_options_are_one_sentence_and_2(trained: Run, options: list[str]) -> None:
    with terminal("chat", f"--run={trained.path}", *options) as screen:
        assert screen.wait() == 2
        assert screen.shown.count(b"charlm: ") == 1
        assert screen.is_as_before


def test_closed_streams_are_no_terminal(trained: Run) -> None:
    ended = finish(start("chat", f"--run={trained.path}", stdin=CLOSED))
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "needs a terminal" in ended.stderr
