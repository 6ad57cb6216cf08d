"""Means and their intervals."""

import numpy as np
import pytest

from ncodec.evaluation.summary import mean_of


def test_one_clip_has_no_interval() -> None:
    mean = mean_of([3.0])
    assert (mean.value, mean.low, mean.high, mean.n_clips) == (3.0, None, None, 1)


def test_equal_clips_have_an_interval_of_no_width() -> None:
    mean = mean_of([2.0] * 5)
    assert (mean.value, mean.low, mean.high) == (2.0, 2.0, 2.0)


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(3).normal(10, 2, 400)
    mean = mean_of(list(values))
    assert mean.low is not None
    assert mean.high is not None
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert mean.low == pytest.approx(values.mean() - half, abs=0.02)
    assert mean.high == pytest.approx(values.mean() + half, abs=0.02)


def test_it_is_the_same_every_time() -> None:
    assert mean_of([1.0, 2.0, 4.0]) == mean_of([1.0, 2.0, 4.0])
