"""A dialogue in a terminal or through a pipe, and the memory it goes on with."""

import io
from dataclasses import replace

import pytest

from wmlstm_jax.analysis import converse
from wmlstm_jax.analysis.interactive import HELP
from wmlstm_jax.inference import Greedy, Sample
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
    assert words(chat)[:3] == ["say", "1", "(answer)"]
    assert words(chat)[-1] == "(end)"
    said = [word for word in words(chat)[3:-1] if word != "(answer)"]
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


def test_an_encoder_has_no_memory_that_lives_on(answering):
    with pytest.raises(ValueError, match="has an encoder, and no memory that lives on"):
        Chat(load(answering), Greedy())


def test_nothing_is_no_turn(chat):
    with pytest.raises(ValueError, match="nothing to say something to; write a word"):
        hear(chat, " ")
