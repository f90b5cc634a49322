from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.telemetry.histogram import Histogram


def test_a_value_on_a_bound_belongs_to_the_bucket_below():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.count, histogram.sum) == ([2, 2, 1], 5, 14.0)


def test_an_empty_one_has_no_quantile():
    assert Histogram().quantile(0.5) is None


@given(st.lists(st.floats(0, 20), min_size=1), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values, q):
    histogram = Histogram((1.0, 2.0, 5.0, 10.0, 20.0))
    for value in values:
        histogram.observe(value)
    rank = max(1, -(-int(q * len(values) * 1000) // 1000))
    true = sorted(values)[min(rank, len(values)) - 1]
    upper = next(bound for bound in histogram.bounds if true <= bound)
    lower = max([0.0, *(bound for bound in histogram.bounds if bound < true)])
    assert lower <= histogram.quantile(q) <= upper


def test_what_lies_above_every_bound_is_estimated_at_the_last():
    histogram = Histogram((1.0,))
    histogram.observe(50.0)
    assert histogram.quantile(0.99) == pytest.approx(1.0)
