"""What those who wrote the flow read of an error."""

from __future__ import annotations

import traceback

import pytest

from kept import flow, task
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError


def test_a_place_that_can_not_be_right_is_told_at_the_line_of_the_flow_that_needs_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @task(cache_policy=INPUTS, result_storage="s3-bucket/never-saved")
    def step(x: int) -> int:
        return x

    @flow
    def outer() -> int:
        return step(1)

    with pytest.raises(ConfigurationError, match="s3-bucket/never-saved"):
        outer()
    (told,) = [one.exc_info for one in caplog.records if one.exc_info]
    assert traceback.extract_tb(told[2])[-1].name == "outer"


def test_a_default_place_that_can_not_be_right_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_RESULTS_DEFAULT_STORAGE_BLOCK", "s3-bucket/never-saved")
    with pytest.raises(ConfigurationError, match="KEPT_RESULTS_DEFAULT_STORAGE_BLOCK") as raised:
        task(lambda x: x, cache_policy=INPUTS, name="step")(1)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
