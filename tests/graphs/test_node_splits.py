"""Random splits of nodes: the sizes of their parts, and what balanced ones hold of each class."""

import numpy as np
import pytest

from jaxzoo.graphs.node_splits import balanced_masks, random_masks

Y = np.repeat([0, 1, 2], [50, 30, 3])


def rng(seed=0):
    return np.random.default_rng(seed)


SPLITS = {
    "random": lambda rng: random_masks(rng, len(Y), 0.6, 0.2),
    "balanced": lambda rng: balanced_masks(rng, Y, 0.6, 0.2),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_each_node_is_in_one_part_and_splits_differ(kind):
    masks, again, other = (SPLITS[kind](rng(seed)) for seed in (0, 0, 1))
    assert list(masks) == ["train", "validation", "test"]
    np.testing.assert_array_equal(sum(mask.astype(int) for mask in masks.values()), 1)
    np.testing.assert_array_equal(masks["test"], again["test"])
    assert (masks["test"] != other["test"]).any()


def test_sizes_of_random_parts():
    assert [mask.sum() for mask in SPLITS["random"](rng()).values()] == [50, 16, 17]


def test_balanced_parts_learn_from_equally_many_of_a_class_as_far_as_there_are():
    masks = SPLITS["balanced"](rng())
    # round(0.6 * 83 / 3) = 17, but there are 3 of the last class; round(0.2 * 83) = 17 validate.
    assert np.bincount(Y[masks["train"]]).tolist() == [17, 17, 3]
    assert [mask.sum() for mask in masks.values()] == [37, 17, 29]
    # The others go to validation and test at random.
    validated = np.mean([Y[SPLITS["balanced"](rng(seed))["validation"]] == 1 for seed in range(200)])
    assert validated == pytest.approx(13 / 46, abs=0.03)
