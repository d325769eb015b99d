"""A dialogue in a terminal or through a pipe, and the memory it goes on with."""

import io
from dataclasses import replace

import jax
import pytest

from wmlstm_jax.analysis import converse
from wmlstm_jax.analysis.interactive import HELP, printable
from wmlstm_jax.inference import Greedy, Sample, conversation
from wmlstm_jax.training import train
from wmlstm_jax.training.chat import Chat
from wmlstm_jax.training.trained import load


@pytest.fixture(scope="module")
def model(pairs, tmp_path_factory):
    """Answers at random, with four tokens at most."""
    folder = tmp_path_factory.mktemp("dialogue")
    lines = [f"say {n} __eou__ said {n} __eou__ again" for n in range(40)]
    (folder / "text").write_text("\n".join(lines))
    config = replace(
        pairs,
        task="dialogue",
        num_steps=2,
        encoder=replace(pairs.encoder, num_layers=0),
        model=replace(pairs.model, num_slots=12),
        data=replace(
            pairs.data,
            source="dailydialog",
            path=str(folder / "text"),
            target_path="",
            vocab_size=12,
        ),
        search=replace(pairs.search, max_length=4),
    )
    train(config, folder / "run")
    return load(folder / "run")


@pytest.fixture
def chat(model):
    return Chat(model, Greedy())


def hear(chat, *texts):
    return ["".join(chat.tell(text)) for text in texts]


def words(chat):
    return [each.text for each in chat.remembered()]


def test_what_was_said_is_remembered(chat):
    (response,) = hear(chat, "say 1")
    assert words(chat)[:3] == ["say", "1", "(start)"]
    assert words(chat)[-1] == "(end)"
    said = [word for word in words(chat)[3:-1] if word != "(start)"]
    assert said == response.split()
    places = [each.position for each in chat.remembered()]
    assert places == list(range(len(places)))


def test_a_response_depends_on_the_turns_before_it(model, chat):
    """And on the seed, where it is drawn."""
    assert hear(chat, "say 1", "again") == hear(Chat(model, Greedy()), "say 1", "again")
    texts = [
        hear(Chat(model, Sample(), seed), *before, "say 5 again")[-1]
        for seed, before in ((0, []), (0, []), (1, []))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_what_is_not_heard_is_not_remembered(model):
    chat = Chat(model, Greedy())
    chat._model.unheard = chat._vocabulary.start
    (response,) = hear(chat, "say 1")
    assert response and words(chat)[:2] == ["say", "1"]
    assert set(words(chat)[2:]) == {"(start)"}


def test_a_word_that_nobody_knows_is_remembered_as_it_is(chat):
    hear(chat, "say zyx", "more qwv")
    assert {"zyx", "qwv"} <= set(words(chat))


def test_what_is_pinned_stays_and_what_is_forgotten_goes(chat):
    hear(chat, "say 1")
    assert chat.pin("@1") == 1 and chat.pin("nothing") == 0
    assert chat.pin("1") == words(chat).count("1") > 0
    chat.reset()
    hear(chat, "say 1")
    chat.pin("@1")
    hear(chat, "again again again", "again again again")
    assert [each[:2] for each in chat.remembered() if each.pinned] == [(1, "1")]
    assert 0 not in [each.position for each in chat.remembered()]
    assert chat.forget("@1") == 1
    assert 1 not in [each.position for each in chat.remembered()]


def test_a_conversation_goes_on_from_its_file(model, chat, tmp_path):
    hear(chat, "say zyx")
    chat.save(tmp_path / "file")
    wanted = hear(chat, "again", "say 3")
    other = Chat(model, Greedy())
    other.load(tmp_path / "file")
    assert "zyx" in words(other)
    assert hear(other, "again", "say 3") == wanted


def test_a_branch_is_left_and_found_again(chat):
    hear(chat, "say 1")
    assert not chat.branch("here")
    wanted, held = hear(chat, "again"), words(chat)
    hear(chat, "say 9", "say 9", "say 9")
    assert chat.branch("here")
    assert hear(chat, "again") == wanted and words(chat) == held
    chat.reset()
    assert words(chat) == []


def told(model, text, given=io.StringIO):
    out = io.StringIO()
    converse(model, given(text), out, sampler=Greedy())
    return out.getvalue().splitlines()


def test_every_line_is_a_turn_or_a_command(model, tmp_path):
    file = tmp_path / "file"
    said = told(
        model,
        f"say 1\n:pin @1\n:pin 77\n:save {file}\n:reset\n:memory\n:load {file}\n"
        ":forget @1\n:branch a\n:branch a\n:help\n",
    )
    assert said[1:7] == [
        "Pinned @1, in 1 place.",
        "77 is not remembered.",
        f"Saved to {file}.",
        "Everything is forgotten.",
        "Nothing is remembered.",
        f"Gone on from {file}.",
    ]
    assert said[7:10] == [
        "Forgotten @1, in 1 place.",
        "Here begins branch a.",
        "Back at branch a.",
    ]
    assert "\n".join(said[10:]) == HELP


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (":foo", "Error: :foo is no command; :help has them all."),
        (":", "Error: : is no command; :help has them all."),
        (":pin", "Error: :pin needs a word behind it; :help says which."),
        (":reset now", "Error: :reset takes nothing behind it; leave it out."),
        (":load nowhere", "Error: nowhere cannot be read"),
    ],
)
def test_a_mistake_is_told_and_the_conversation_goes_on(model, line, message):
    first, *others = told(model, f"{line}\nsay 1\n")
    assert first.startswith(message)
    assert others == told(model, "say 1")


@pytest.mark.parametrize("columns", [24, 200])
def test_the_memory_fits_the_terminal(model, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = told(model, "say 1 again again\n:pin @1\n:memory")[2:]
    assert all(len(line) <= columns for line in lines)
    assert (len(lines) == 1) == (columns == 200)
    assert "1:1*" in " ".join(lines)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_only_a_terminal_is_prompted(model):
    out = Terminal()
    converse(model, Terminal("say 1\n"), out, sampler=Greedy())
    first, second, end = out.getvalue().split("\n")[:3]
    assert first == "A conversation; :help tells what else there is."
    assert second == "> " + told(model, "say 1")[0] and end == "> "


def noted(model, given):
    """What is told, and what beside it."""
    out, notes = io.StringIO(), io.StringIO()
    converse(model, given, out, notes=notes, sampler=Greedy())
    return out.getvalue().splitlines(), notes.getvalue().splitlines()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\xff", "character 4 of the line is no UTF-8; write it anew."),
        (b"\x1b[2J", "character 4 of the line is \\x1b; write it without."),
        (b"\x00", "character 4 of the line is \\x00; write it without."),
        ("\u202e".encode(), "character 4 of the line is \\u202e; write it without."),
    ],
)
def test_a_line_that_is_no_text_is_refused_and_the_next_is_taken(model, bad, reason):
    content = b"say " + bad + b"\nsay 1\n"
    given = io.TextIOWrapper(io.BytesIO(content), "utf-8", errors="surrogateescape")
    out, notes = noted(model, given)
    assert notes == [f"Error: {reason}"]
    assert out == told(model, "say 1")


def test_what_a_terminal_would_obey_is_only_shown(model, chat, tmp_path):
    """A word that a file brought along, for instance."""
    assert printable("a\x1b]0;x\x07\u202e\nb é 語") == "a\\x1b]0;x\\x07\\u202e\nb é 語"
    hear(chat, "say zyx")
    state = chat._state
    chat._state = state._replace(words=tuple("\x1bbad" for _ in state.words))
    chat.save(tmp_path / "file")
    said = told(model, f":load {tmp_path / 'file'}\n:memory")
    assert "\\x1bbad" in said[1] and "\x1b" not in "".join(said)


def test_a_stopped_response_was_never_said(model, monkeypatch):
    plain = Chat.tell

    def tell(chat, text):
        pieces = plain(chat, text)
        if text == "stop":
            yield next(pieces)
            raise KeyboardInterrupt
        yield from pieces

    monkeypatch.setattr(Chat, "tell", tell)
    said = told(model, "say 1\nstop\nsay 2\n")
    assert said[2] == "(stopped; that was not said)"
    assert [said[0], said[3]] == told(model, "say 1\nsay 2\n")


def test_turns_are_told_as_they_were_learned(model, chat):
    """After the first, the other's words are said too: between a start and an end."""
    hear(chat, "say 1", "again")
    found = words(chat)
    first = found.index("(end)")
    assert found[first + 1 : first + 4] == ["(start)", "again", "(end)"]
    assert found[first + 4] == "(start)"


def test_half_a_character_is_held_back(model, monkeypatch):
    """What comes out is whole, whatever the tokens are pieces of."""
    chat = Chat(model, Greedy())
    shown = iter(["c", "caf\ufffd", "café", "café a", "café a"])
    monkeypatch.setattr(type(chat._vocabulary), "decode", lambda *_: next(shown))
    assert list(chat.tell("say 1")) == ["c", "af", "é", " a", ""]


CHANGES = {
    "words that are none": ({"words": [1], "turns": 1}, "not those of a chat"),
    "no words": ({"turns": 1}, "not those of a chat"),
    "no turns": ({"words": []}, "not those of a chat"),
    "a list": ([], "not those of a chat"),
    "a word too few": ({"words": [], "turns": 1}, "a tag of it is out of range"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_notes_of_a_file_are_not_trusted(model, chat, tmp_path, name):
    """Whoever writes a file can write its sha256 too."""
    hear(chat, "say zyx")
    notes, message = CHANGES[name]
    carries = chat._state.carries
    conversation.save(tmp_path / "file", carries, chat._about, notes)
    with pytest.raises(ValueError, match=f"file is damaged: .*{message}"):
        chat.load(tmp_path / "file")
    assert "zyx" in words(chat)


def test_a_conversation_of_other_weights_is_refused(model, chat, tmp_path):
    hear(chat, "say 1")
    chat.save(tmp_path / "file")
    params = jax.tree.map(lambda leaf: leaf + 1e-7, model.params)
    other = Chat(model._replace(params=params), Greedy())
    with pytest.raises(ValueError, match="belongs to another model .weights: '"):
        other.load(tmp_path / "file")
    config = model.run.config
    config = replace(config, data=replace(config.data, vocab_size=13))
    other = Chat(model._replace(run=model.run._replace(config=config)), Greedy())
    with pytest.raises(ValueError, match="config.data.vocab_size: 12, now 13"):
        other.load(tmp_path / "file")


def test_an_encoder_has_no_memory_that_lives_on(answering):
    with pytest.raises(ValueError, match="has an encoder, and no memory that lives on"):
        Chat(load(answering), Greedy())


def test_nothing_is_no_turn(chat):
    with pytest.raises(ValueError, match="nothing to say something to; write a word"):
        hear(chat, " ")
