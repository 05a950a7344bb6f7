"""Tasks, flows and futures as pickles: by reference, by value, or a sentence."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from kept import flow, task
from kept.cache_policies import INPUTS


@task(retries=2)
def at_the_top(x: int) -> int:
    return x + 1


@flow
def a_flow(x: int) -> Any:
    return at_the_top(x)


class Holder:
    factor = 3

    @task
    def method(self, x: int) -> int:
        return self.factor * x


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
@pytest.mark.parametrize("whole", [at_the_top, a_flow, Holder.method], ids=["task", "flow", "method"])
def test_what_stands_at_the_top_of_a_module_is_pickled_by_reference(dumps: Any, whole: Any) -> None:
    content = dumps(whole)
    assert pickle.loads(content) is whole
    assert len(content) < 200


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_with_other_options_it_is_still_the_same_function(dumps: Any) -> None:
    twin = pickle.loads(dumps(at_the_top.with_options(name="other", retries=5, cache_policy=INPUTS)))
    assert (twin.name, twin.retries, twin.fn) == ("other", 5, at_the_top.fn)
    assert twin(1) == 2


def test_pickle_says_why_it_can_not_write_a_local_task() -> None:
    @task
    def local() -> None: ...

    with pytest.raises(pickle.PicklingError, match=r"Task 'local' can't be pickled by reference.*cloudpickle"):
        pickle.dumps(local)


def test_cloudpickle_writes_a_local_task_with_what_it_closes_over() -> None:
    offset = 10

    @task(name="far", tags=["x"])
    def local(x: int) -> Any:
        return [x + offset, local.name]

    twin = pickle.loads(cloudpickle.dumps(local))
    assert twin is not local
    assert (twin(1), twin.tags) == ([11, "far"], {"x"})


def test_a_future_can_not_be_pickled_and_says_what_can() -> None:
    @flow
    def f() -> Any:
        future = at_the_top.submit(1)
        with pytest.raises(pickle.PicklingError, match=r"a future belongs to the process.*result\(\)"):
            pickle.dumps([future])
        return future.result()

    assert f() == 2


def test_what_a_script_defines_is_written_by_cloudpickle_and_referred_to_by_pickle(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pickle, sys\n"
        "from kept import flow, task\n"
        "@task(name='inner')\n"
        "def step(x): return [x, helper()]\n"
        "def helper(): return step.name\n"
        "@flow\n"
        "def whole(x): return step(x)\n"
        "assert pickle.loads(pickle.dumps(step)).spec is step.spec\n"
        "import cloudpickle\n"
        "sys.stdout.buffer.write(cloudpickle.dumps([step, whole]))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, check=True)
    step, whole = pickle.loads(done.stdout)
    assert step(1) == whole(1) == [1, "inner"]


def test_what_can_not_travel_in_a_local_task_is_an_error_of_cloudpickle() -> None:
    lock = threading.Lock()

    @task
    def local() -> Any:
        return lock

    with pytest.raises(TypeError, match="lock"):
        cloudpickle.dumps(local)
