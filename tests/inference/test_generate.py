import jax
import jax.numpy as jnp
import numpy as np

from wmlstm_jax.inference import Greedy, Sample, generate

VOCAB = 5


def count_up(carry, tokens):
    """A model for which the next token is this one plus the step it carries."""
    return carry, jnp.log(jax.nn.one_hot((tokens + carry) % VOCAB, VOCAB) + 1e-30)


def start(tokens):
    return jnp.log(jax.nn.one_hot(jnp.array(tokens), VOCAB) + 1e-30)


def run(sampler=None, rng=None, num_tokens=4, log_probs=None):
    tokens = generate(
        count_up,
        jnp.array([1, 2]),
        start([0, 3]) if log_probs is None else log_probs,
        sampler=sampler or Greedy(),
        rng=jax.random.key(0) if rng is None else rng,
        num_tokens=num_tokens,
    )
    return np.stack(list(tokens), 1)


def test_each_token_follows_from_the_one_before():
    assert run().tolist() == [[0, 1, 2, 3], [3, 0, 2, 4]]


def test_equal_keys_give_equal_texts_and_others_do_not():
    flat = jnp.zeros((2, VOCAB))
    texts = [
        run(Sample(), jax.random.key(seed), log_probs=flat).tolist()
        for seed in (0, 0, 1, 2, 3)
    ]
    assert texts[0] == texts[1]
    assert any(text != texts[0] for text in texts[2:])


def test_tokens_come_as_they_are_made():
    made = []

    def step_fn(carry, tokens):
        jax.debug.callback(lambda: made.append(None))
        return carry, start([0, 0])

    stream = generate(
        step_fn,
        None,
        start([0, 0]),
        sampler=Greedy(),
        rng=jax.random.key(0),
        num_tokens=100,
    )
    next(stream)
    jax.effects_barrier()
    assert len(made) == 1


def test_new_parameters_do_not_compile_again():
    traces = []

    def step_fn(weights, carry, tokens):
        traces.append(None)
        return carry, start([0, 0]) + weights

    for weights in (jnp.zeros(VOCAB), jnp.ones(VOCAB)):
        partial = jax.tree_util.Partial(step_fn, weights)
        rng = jax.random.key(0)
        for _ in generate(
            partial, None, start([0, 0]), sampler=Greedy(), rng=rng, num_tokens=2
        ):
            pass
    assert len(traces) == 1
