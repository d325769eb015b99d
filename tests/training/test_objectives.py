"""Sources with targets: what is trained on, in which batches, and how it is scored."""

import math
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from wmlstm_jax.analysis import predict
from wmlstm_jax.models import Seq2Seq, SingleStream
from wmlstm_jax.training import train
from wmlstm_jax.training.checkpoints import Checkpoints
from wmlstm_jax.training.datasets import ExampleData
from wmlstm_jax.training.run import Evaluator, build
from wmlstm_jax.training.sharding import put_batch
from wmlstm_jax.training.trained import load


def with_data(config, **changes):
    return replace(config, data=replace(config.data, **changes))


def last_state(config, workdir):
    with Checkpoints(workdir) as checkpoints:
        state = checkpoints.restore(build(config).template).state
    return jax.device_get(state._replace(rng=jax.random.key_data(state.rng)))


def test_it_resumes_bit_for_bit(pairs, answering, tmp_path, capsys):
    copy = shutil.copytree(answering, tmp_path / "run")
    shutil.rmtree(copy / "checkpoints" / "4")
    train(pairs, copy)
    assert "resumes from step 2" in capsys.readouterr().out
    states = [last_state(pairs, each) for each in (answering, copy)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_the_score_is_of_every_example_by_itself(pairs, answering):
    trained = load(answering, "latest")
    found = Evaluator(trained.run, "validation")(trained.params)
    model, nats, tokens = nnx.merge(trained.run.graph, trained.params), 0.0, 0

    @jax.jit
    def say(model, source, tokens, target):
        encoded = model.encode(source, jnp.ones_like(source, bool))
        return model.predict(encoded, tokens, target).log_probs

    data = trained.run.data
    for each in data.asked("validation"):
        led = np.array([data.vocabulary.start, *each.target[:-1]])
        said = say(model, each.source[None], led[None], each.target[None])[0]
        # A word outside the vocabulary is not scored: without a copy head it would be
        # any unknown word, and with one this word.
        known = each.target < data.vocab_size
        nats -= float(said[known].sum())
        tokens += known.sum()
    assert found.tokens == tokens < sum(len(e.target) for e in data.asked("validation"))
    assert found.loss == pytest.approx(nats / tokens, rel=1e-5)


@pytest.fixture(scope="module")
def babi(pairs, tmp_path_factory):
    """Stories with two questions each, of a model without an encoder."""
    path = tmp_path_factory.mktemp("babi") / "qa1_x.txt"
    path.write_text(
        "".join(
            f"1 Mary has {n}.\n2 What has she?\t{n}\t1\n3 John has {n + 1}.\n"
            f"4 What has he?\t{n + 1}\t3\n"
            for n in range(20)
        )
    )
    alone = replace(pairs.encoder, num_layers=0)
    changes = dict(source="babi", path=str(path), target_path="", vocab_size=20)
    return replace(with_data(pairs, **changes), encoder=alone)


@pytest.mark.parametrize("hear", [True, False])
def test_a_stream_scores_what_its_turns_score_by_themselves(babi, hear):
    """In training all targets of a stream at once, in asking one after another."""
    run = build(replace(babi, task="question_answering", hear_targets=hear))
    params = run.first_state().params
    found = Evaluator(run, "validation")(params)
    model, nats, tokens = nnx.merge(run.graph, params), 0.0, 0
    say = jax.jit(SingleStream.predict)
    asked = run.data.asked("validation")
    assert len(asked) == 4 and max(len(each.words) for each in asked) > 0
    for each in asked:
        led = np.array([run.data.vocabulary.start, *each.target[:-1]])
        source = each.source[None]
        encoded = model.encode(source, jnp.ones_like(source, bool))
        said = say(model, encoded, led[None], each.target[None])
        known = each.target < run.data.vocab_size
        nats -= float(said.log_probs[0][known].sum())
        tokens += known.sum()
    assert found.tokens == tokens
    assert found.loss == pytest.approx(nats / tokens, rel=1e-5)


def test_an_answer_of_one_word_is_read_out(babi, tmp_path):
    encoder = replace(babi.encoder, readout=True)
    model = replace(babi.model, copy=False)
    config = replace(babi, encoder=encoder, model=model, num_steps=2)
    train(config, tmp_path)
    found = predict(load(tmp_path), "validation")
    assert len(found.examples) == 4
    for said in found.said:
        assert len(said.tokens) == 2 and said.text == "" or len(said.text.split()) == 1


def test_a_longer_answer_is_not_read_out(pairs):
    encoder = replace(pairs.encoder, num_layers=0, readout=True)
    model = replace(pairs.model, copy=False)
    config = replace(pairs, encoder=encoder, model=model)
    with pytest.raises(ValueError, match="line 1 has the target 'said 0' of 2 tokens"):
        build(config).data.batches("train")
    with pytest.raises(ValueError, match="of the model itself; set encoder.num_layers"):
        replace(encoder, num_layers=1)


@pytest.mark.long
def test_coverage_is_trained_on(pairs):
    """And only then the pointer knows what it was told."""
    found = {}
    for weight in (0.0, 1e3):
        config = replace(pairs, encoder=replace(pairs.encoder, coverage=weight))
        run = build(config)
        step = run.train_step()
        rows = config.data.batch_size
        batch = put_batch(run.data.batches("train")[0], run.mesh, rows)
        _, found[weight] = step(run.first_state(), batch)
    # What is reported is the likelihood alone.
    np.testing.assert_allclose(found[1e3].loss, found[0.0].loss, rtol=1e-6)
    assert found[1e3].grad_norm > 10 * found[0.0].grad_norm > 0
    with pytest.raises(
        ValueError, match="encoder.coverage is 1.0; it must be 0 without"
    ):
        replace(pairs.encoder, coverage=1.0, num_layers=0)
    alone = replace(pairs, model=replace(pairs.model, copy=False))
    covered = replace(alone, encoder=replace(pairs.encoder, coverage=1.0))
    with pytest.raises(ValueError, match="coverage is True; it must be False unless"):
        build(covered)


def test_no_encoder_is_one_stream(pairs):
    models = []
    for layers in (0, 1):
        config = replace(pairs, encoder=replace(pairs.encoder, num_layers=layers))
        run = build(config)
        models.append(nnx.merge(run.graph, run.template.params))
    assert isinstance(models[0], SingleStream) and isinstance(models[1], Seq2Seq)


@pytest.mark.parametrize(("too_long", "left"), [("drop", 23), ("truncate", 34)])
def test_what_is_too_long_is_left_out_or_cut_and_told(pairs, too_long, left):
    config = with_data(pairs, max_source=4, max_target=4, too_long=too_long)
    data = build(config).data
    batches = data.batches("train")
    found = [batches[k] for k in range(len(batches))]
    assert sum((batch["examples"] >= 0).sum() for batch in found) == left
    for batch in found:
        assert batch["source_valid"].sum(1).max() <= 4
        assert batch["valid"].sum(1).max() <= 4
    said = {
        "drop": "left out, for what is longer than the limits",
        "truncate": "longer than data.max_source or data.max_target and cut",
    }
    assert data.notes()[0] == f"of 34 train examples 11 are {said[too_long]}"
    # What is scored is never left out.
    held_out = data.batches("validation")
    rows = [(held_out[k]["examples"] >= 0).sum() for k in range(len(held_out))]
    assert sum(rows) == 4


def test_bad_examples_are_counted_and_listed(pairs, tmp_path, capsys):
    with open(pairs.data.path) as file:
        lines = file.read()
    (tmp_path / "a").write_text(lines.replace("say 7\n", " \n"))
    config = with_data(pairs, path=str(tmp_path / "a"), skip_bad=True)
    train(replace(config, num_steps=2), tmp_path / "run")
    assert "1 examples are bad and left out" in capsys.readouterr().out
    listed = (tmp_path / "run" / "bad_examples.txt").read_text()
    assert listed == f"{tmp_path / 'a'}, line 8 has an empty source\n"


def test_nothing_that_fits_is_refused(pairs):
    config = with_data(pairs, max_source=1, too_long="drop")
    with pytest.raises(ValueError, match="all train examples are longer than data.max"):
        build(config).data.batches("train")


def test_a_batch_has_as_many_tokens_as_it_has(pairs):
    data = ExampleData(pairs.data, 0)
    encoded = data.asked("train")
    total = sum(len(each.source) + len(each.target) for each in encoded)
    assert math.isclose(data.tokens_per_batch(), total / len(encoded) * 8)


def test_a_text_is_no_source_of_examples(pairs):
    with pytest.raises(ValueError, match="data.source is 'embedded'; it must be babi"):
        train(with_data(pairs, source="embedded", path="", target_path=""), "nowhere")
