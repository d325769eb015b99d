import functools
from dataclasses import replace

import pytest

from wmlstm_jax.inference import Greedy, Sample
from wmlstm_jax.training import train
from wmlstm_jax.training.trained import continue_text, load

SAMPLER = Sample()


def test_a_text_is_a_function_of_the_seed(trained):
    model = load(trained)

    def text(prompt="1 beside", sampler=SAMPLER, num_tokens=8, seed=0):
        pieces = continue_text(
            model, prompt, sampler=sampler, num_tokens=num_tokens, seed=seed
        )
        return "".join(pieces)

    assert text() == text() != ""
    assert text(num_tokens=24).startswith(text()[:3])
    assert text(seed=1) != text()
    greedy = functools.partial(text, sampler=Greedy())
    assert greedy(seed=1) == greedy() != text()
    with pytest.raises(ValueError, match="the prompt is empty"):
        text("")


def test_no_run_and_no_checkpoint_are_named(tmp_path, trained):
    with pytest.raises(ValueError, match="holds no run"):
        load(tmp_path)
    (tmp_path / "config.json").write_text((trained / "config.json").read_text())
    with pytest.raises(ValueError, match="holds no checkpoint yet"):
        load(tmp_path)


def test_what_a_tokenizer_does_not_know_is_no_prompt(config, tmp_path):
    data = replace(config.data, tokenizer="characters")
    train(replace(config, data=data, num_steps=2), tmp_path)
    model = load(tmp_path)
    with pytest.raises(ValueError, match="the prompt has 'é', 'ß', which the text"):
        next(continue_text(model, "1 éß", sampler=SAMPLER, num_tokens=2, seed=0))


def test_words_go_on_behind_the_prompt(config, tmp_path):
    data = replace(config.data, tokenizer="words", vocab_size=30)
    train(replace(config, data=data, num_steps=2), tmp_path)
    model = load(tmp_path)
    text = "".join(
        continue_text(model, "1 beside", sampler=SAMPLER, num_tokens=5, seed=0)
    )
    assert text[0] in " \n"
    known = model.run.tokenizer.encode("1 beside" + text)
    assert len(known) == 7
    assert model.run.tokenizer.decode(known) == "1 beside" + text
