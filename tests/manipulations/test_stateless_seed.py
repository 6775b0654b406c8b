import keras
import numpy as np
import pytest
import tensorflow as tf

from faketagger_tf.manipulations import StatelessSeed


def draw(seed, count=2):
    return [keras.random.normal([5], seed=seed).numpy() for _ in range(count)]


@tf.function
def traced(step):
    seed = StatelessSeed(step)
    return keras.random.normal([5], seed=seed), keras.random.uniform([5], seed=seed)


def test_same_seed_same_numbers_and_every_draw_differs():
    first, second = draw(StatelessSeed(7)), draw(StatelessSeed(7))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first[0], first[1])
    assert not np.allclose(first[0], draw(StatelessSeed(8))[0])


def test_graph_and_eager_agree_for_a_tensor_seed_of_any_width():
    graph = traced(tf.constant(41, tf.int64))[0]
    np.testing.assert_array_equal(graph, draw(StatelessSeed(41))[0])
    np.testing.assert_array_equal(graph, draw(StatelessSeed(np.int32(41)))[0])


def test_each_step_draws_anew_from_one_trace():
    steps = [traced(tf.constant(step, tf.int64))[0].numpy() for step in range(4)]
    assert len({step.tobytes() for step in steps}) == 4
    assert traced.experimental_get_tracing_count() == 1


def test_pair_seed_tells_runs_apart_and_needs_no_variable():
    one, other = (StatelessSeed(np.array([run, 3])) for run in (1, 2))
    assert not np.allclose(draw(one)[0], draw(other)[0])
    assert not any(isinstance(x, keras.Variable) for x in vars(one).values())


@pytest.mark.parametrize("seed", [1.5, np.zeros(3, int), np.float32(2), "7"])
def test_bad_seed_is_one_sentence(seed):
    with pytest.raises(ValueError, match="integer tensor of shape"):
        StatelessSeed(seed)
