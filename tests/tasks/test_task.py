import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wmlstm_jax.tasks import Batch, Copy, Form, accuracy, correct, nats

SCORED = np.array([[True, False, True]])


def batch(targets):
    return Batch(
        jnp.zeros((1, 3), jnp.int32), jnp.asarray(targets), jnp.asarray(SCORED)
    )


def test_classes():
    form, asked = Form(5, 0, 4, "classes"), batch([[1, 0, 3]])
    outputs = jnp.log(jnp.array([[[1, 5, 1, 1], [1, 1, 1, 1], [4, 2, 1, 1]]]) / 8.0)
    assert correct(form, outputs, asked).tolist() == [[True, False, False]]
    wanted = -(np.log(5 / 8) + np.log(1 / 8)) / 2
    assert float(nats(form, outputs, asked)) == pytest.approx(wanted, rel=1e-6)


def test_bits_count_all_together():
    form = Form(0, 4, 2, "bits")
    asked = batch(np.array([[[1, 0], [1, 1], [1, 1]]], np.float32))
    outputs = jnp.array([[[2.0, -1.0], [-9.0, -9.0], [3.0, -0.5]]])
    assert correct(form, outputs, asked).tolist() == [[True, False, False]]
    lost = [[-2.0, -1.0], [-3.0, 0.5]]  # the logit of the wrong bit
    wanted = np.logaddexp(0, lost).sum() / 2
    assert float(nats(form, outputs, asked)) == pytest.approx(wanted, rel=1e-6)


def test_reals():
    form, asked = Form(0, 2, 1, "reals"), batch([[1.0, 0.0, 0.5]])
    outputs = jnp.array([[[1.03], [7.0], [0.45]]])
    assert correct(form, outputs, asked).tolist() == [[True, False, False]]
    wanted = (0.03**2 + 0.05**2) / 2
    assert float(nats(form, outputs, asked)) == pytest.approx(wanted, rel=1e-4)


def test_sequences_count_alike():
    scored = jnp.array(
        [[True, True, True, True], [True, False, False, False], [False] * 4]
    )
    right = jnp.array([[True, True, True, False], [False] * 4, [False] * 4])
    assert float(accuracy(right, scored)) == (0.75 + 0) / 2


def test_nothing_asked_is_nothing_lost():
    form = Form(5, 0, 4, "classes")
    asked = batch([[1, 0, 3]])._replace(scored=jnp.zeros((1, 3), bool))
    assert float(nats(form, jnp.zeros((1, 3, 4)), asked)) == 0


def test_equal_keys_give_equal_samples():
    task = Copy(5)
    first, same, other = (task.sample(jax.random.key(seed), 4) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs, same.inputs)
    assert (first.inputs != other.inputs).any()
    assert task == Copy(5) and hash(task) == hash(Copy(5)) and task != Copy(6)
