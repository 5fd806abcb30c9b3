"""Parts that share no example, keep the shares of the classes, and leak no statistics."""

import jax
import numpy as np
import pytest

from jaxzoo.data import Dataset, digits, split, split_by_position, standardise


def dataset(y):
    """Examples that carry their own number."""
    y = np.asarray(y)
    return Dataset(x=np.arange(len(y), dtype=np.float32)[:, None], y=y, name="toy", licence="", source="", sha256="")


def numbers(part):
    return part.x[:, 0].astype(int).tolist()


def test_parts_are_disjoint_and_exact():
    train, validation, test = split(digits(), 0, (1000, 297, 500))
    assert [len(part.x) for part in (train, validation, test)] == [1000, 297, 500]
    assert [len(part.y) for part in (train, validation, test)] == [1000, 297, 500]
    whole = dataset(np.arange(60) % 3)
    drawn = [number for part in split(whole, 0, (20, 13, 27)) for number in numbers(part)]
    assert sorted(drawn) == list(range(60))


def test_pairs_stay_together():
    whole = dataset(np.arange(50) % 7)
    for part in split(whole, 3, (20, 30)):
        np.testing.assert_array_equal(part.y, np.array(numbers(part)) % 7)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(100, 50, 30), (90, 91), (10, 10, 10)])
def test_classes_keep_their_shares(seed, sizes):
    counts = np.array([100, 50, 28, 3])
    whole = dataset(np.repeat(np.arange(4), counts))
    for part in split(whole, seed, sizes):
        expected = len(part.y) * counts / counts.sum()
        assert np.abs(np.bincount(part.y, minlength=4) - expected).max() < 2


def test_rare_classes_are_spread_over_the_parts():
    whole = dataset(np.concatenate([np.zeros(20, int), np.arange(1, 21)]))
    for part in split(whole, 0, (20, 20)):
        assert (part.y == 0).sum() == 10


def test_real_targets_are_split_without_classes():
    first, second = split(dataset(np.linspace(0, 1, 30, dtype=np.float32)), 0, (10, 20))
    assert sorted(numbers(first) + numbers(second)) == list(range(30))


def test_parts_come_in_random_order():
    (part,) = split(dataset(np.repeat([0, 1], 50)), 0, (100,))
    assert 30 < (np.diff(part.y) != 0).sum() < 70
    assert numbers(part) != sorted(numbers(part))


def test_every_example_is_equally_likely():
    whole = dataset(np.repeat([0, 1, 2], [30, 7, 3]))
    counts = np.zeros(40)
    for seed in range(2000):
        counts[numbers(split(whole, seed, (10,))[0])] += 1
    # Within a class all places are drawn alike; 4 standard deviations of a binomial of 2000 draws at 1/4.
    for members in (slice(0, 30), slice(30, 37), slice(37, 40)):
        assert np.ptp(counts[members]) < 8 * np.sqrt(2000 * 0.25 * 0.75)


def test_same_seed_same_parts_other_seed_other_parts():
    whole = dataset(np.arange(100) % 5)
    assert numbers(split(whole, 7, (50,))[0]) == numbers(split(whole, 7, (50,))[0])
    assert numbers(split(whole, 7, (50,))[0]) != numbers(split(whole, 8, (50,))[0])


def test_a_seed_gives_these_parts_on_every_machine():
    assert numbers(split(dataset(np.arange(12) % 2), 0, (6, 3))[0]) == [8, 1, 3, 6, 11, 2]


def test_a_jax_key_is_a_seed():
    whole = dataset(np.arange(100) % 5)
    first, again, other = (numbers(split(whole, jax.random.key(seed), (50,))[0]) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("sizes", [(0,), (-1, 3), (2.0,), (True, "3")])
def test_sizes_that_are_no_sizes(sizes):
    with pytest.raises(ValueError, match="sizes: expected positive ints"):
        split(dataset(np.arange(5)), 0, sizes)


def test_more_than_there_is():
    with pytest.raises(ValueError, match=r"sizes: \(4, 2\) ask for 6 examples, but toy has 5"):
        split(dataset(np.arange(5)), 0, (4, 2))


@pytest.mark.parametrize("seed", [-1, 0.5, True, "0", np.zeros(2)])
def test_seeds_that_are_no_seeds(seed):
    with pytest.raises(ValueError, match="seed: expected an int >= 0"):
        split(dataset(np.arange(5)), seed, (2,))


def test_split_by_position_cuts_without_overlap():
    train, validation = split_by_position(np.arange(101), (0.9, 0.1))
    np.testing.assert_array_equal(np.concatenate([train, validation]), np.arange(101))
    assert len(validation) == 10


@pytest.mark.parametrize("fractions", [(0.9, 0.2), (0.5, 0.0), (-0.1, 0.5)])
def test_fractions_that_are_none(fractions):
    with pytest.raises(ValueError, match="fractions: expected positive numbers of sum <= 1"):
        split_by_position(np.arange(10), fractions)


def test_an_empty_piece_is_refused():
    with pytest.raises(ValueError, match="leave a piece empty"):
        split_by_position(np.arange(3), (0.9, 0.1))


def test_standardise_uses_the_training_part_alone():
    random = np.random.default_rng(0)
    train, test = random.normal(5, 3, (200, 4)), random.normal(-1, 2, (50, 4))
    scaled_train, scaled_test = standardise(train, test)
    np.testing.assert_allclose(scaled_train.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled_train.std(0), 1, atol=1e-6)
    np.testing.assert_allclose(scaled_test, (test - train.mean(0)) / train.std(0), rtol=1e-5, atol=1e-6)
    assert scaled_test.dtype == np.float32


def test_standardise_leaves_constant_columns_finite():
    train = np.column_stack([np.full(10, 0.1), np.zeros(10), np.arange(10.0)])
    (scaled, other) = standardise(train, train + 1)
    np.testing.assert_allclose(scaled[:, :2], 0, atol=1e-6)
    np.testing.assert_allclose(other[:, :2], 1, rtol=1e-6)


def test_standardise_keeps_what_a_dataset_is():
    train, test = split(digits(), 0, (100, 100))
    scaled, scaled_test = standardise(train, test)
    assert scaled._replace(x=None, y=None) == train._replace(x=None, y=None)
    assert scaled_test.y is test.y
    np.testing.assert_array_equal(scaled.x, standardise(train).x)


def test_standardise_over_several_axes():
    images = np.random.default_rng(0).normal(2, 3, (10, 4, 4, 3))
    scaled = standardise(images, axis=(0, 1, 2))
    np.testing.assert_allclose(scaled.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std((0, 1, 2)), 1, atol=1e-6)
