"""Futures: their results and states, waiting for them, and finding them inside values."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import dataclasses
import enum
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from kept import allow_failure, flow, task, unmapped
from kept.cache_policies import INPUTS
from kept.context import TaskRun
from kept.engine.inputs import unfinished
from kept.exceptions import FailedRun, ParameterTypeError
from kept.futures import (
    KeptConcurrentFuture,
    KeptFuture,
    KeptFutureList,
    as_completed,
    resolve_futures_to_results,
    resolve_futures_to_states,
    wait,
)
from kept.states import Completed, Failed, State
from kept.task_runners import ThreadPoolTaskRunner
from kept.utilities.annotations import quote
from kept.utilities.handles import can_hold_handles, find_handles, replace_handles


class Handle:
    """A future, and the means to end it."""

    def __init__(self, name: str = "run") -> None:
        self.wrapped: concurrent.futures.Future[State[Any]] = concurrent.futures.Future()
        self.future: KeptConcurrentFuture[Any] = KeptConcurrentFuture(TaskRun("id-" + name, name), self.wrapped)

    def end(self, state: State[Any]) -> KeptConcurrentFuture[Any]:
        self.wrapped.set_result(state)
        return self.future


def done(value: Any = None) -> KeptConcurrentFuture[Any]:
    return Handle().end(Completed(data=value))


def failed(error: Exception | None = None) -> KeptConcurrentFuture[Any]:
    return Handle().end(Failed(data=error or ValueError("bad")))


def later(handle: Handle, state: State[Any]) -> None:
    threading.Timer(0.01, handle.end, [state]).start()


# -- one future


def test_a_future_knows_its_run_and_its_state() -> None:
    handle = Handle("mine")
    assert handle.future.task_run_id == "id-mine"
    assert handle.future.state.is_pending()
    assert not handle.future.done()
    handle.end(Completed(data=1))
    assert handle.future.state.is_completed()
    assert handle.future.done()
    assert repr(handle.future) == "KeptConcurrentFuture('mine', Completed())"


def test_the_result_waits_for_the_run() -> None:
    handle = Handle()
    later(handle, Completed(data=1))
    assert handle.future.result() == 1
    assert handle.future.result(timeout=0) == 1


def test_the_result_of_a_failed_run_is_raised_or_returned() -> None:
    with pytest.raises(ValueError, match="bad"):
        failed().result()
    assert isinstance(failed().result(raise_on_failure=False), ValueError)
    with pytest.raises(FailedRun):
        Handle().end(Failed()).result()


def test_a_result_that_is_not_there_in_time_is_an_error_that_names_the_run() -> None:
    with pytest.raises(TimeoutError, match=r"'slow' did not finish within 0.01 seconds"):
        Handle("slow").future.result(timeout=0.01)


def test_a_timeout_error_of_the_run_itself_is_not_taken_for_ours() -> None:
    with pytest.raises(TimeoutError, match="of the task"):
        failed(TimeoutError("of the task")).result(timeout=5)


def test_wait_returns_when_the_run_has_ended_or_time_is_up() -> None:
    handle = Handle()
    handle.future.wait(timeout=0.01)
    assert not handle.future.done()
    later(handle, Completed())
    handle.future.wait()
    assert handle.future.done()


def test_a_callback_gets_the_future_when_it_ends_or_at_once() -> None:
    handle, seen = Handle(), []
    handle.future.add_done_callback(seen.append)
    assert seen == []
    handle.end(Completed())
    handle.future.add_done_callback(seen.append)
    assert seen == [handle.future, handle.future]


def test_the_result_can_be_awaited() -> None:
    async def main() -> Any:
        handle = Handle()
        later(handle, Completed(data=1))
        with pytest.raises(ValueError, match="bad"):
            await failed().aresult()
        with pytest.raises(TimeoutError, match="did not finish"):
            await Handle().future.aresult(timeout=0.01)
        return await handle.future.aresult(), await done(2).aresult()

    assert asyncio.run(main()) == (1, 2)


def test_a_future_that_ends_after_nobody_waits_any_more_is_harmless() -> None:
    handle = Handle()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await handle.future.aresult(timeout=0.01)

    asyncio.run(main())
    handle.end(Completed())
    assert handle.future.done()


# -- several


def test_wait_tells_who_has_ended_and_who_has_not() -> None:
    ended, open_one = done(), Handle()
    found = wait([ended, open_one.future], timeout=0.01)
    assert found.done == {ended}
    assert found.not_done == {open_one.future}
    later(open_one, Completed())
    everyone, nobody = wait([ended, open_one.future])
    assert (everyone, nobody) == ({ended, open_one.future}, set())


def test_wait_for_nobody_returns_at_once() -> None:
    assert wait([]) == (set(), set())


def test_as_completed_gives_each_as_it_ends() -> None:
    first, second, third = Handle(), Handle(), Handle()
    second.end(Completed())
    found = as_completed([first.future, second.future, third.future])
    assert next(found) is second.future
    third.end(Failed())
    assert next(found) is third.future
    later(first, Completed())
    assert next(found) is first.future
    assert list(found) == []


def test_as_completed_gives_a_future_once_however_often_it_is_listed() -> None:
    one = done()
    assert list(as_completed([one, one])) == [one]


def test_as_completed_in_a_task_runs_itself_what_no_thread_is_left_for() -> None:
    @task
    def one(x: int) -> int:
        return x

    @task
    def several() -> list[int]:
        return sorted(future.result() for future in as_completed([one.submit(i) for i in range(3)]))

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def f() -> Any:
        return several.submit().result(timeout=30)

    assert f() == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong", [done(), [1], [done(), Completed()], 3], ids=["one alone", "value", "state", "number"]
)
def test_what_is_no_list_of_futures_is_told_so(wrong: Any) -> None:
    with pytest.raises(ParameterTypeError, match=r"wait\(\) takes a list of futures"):
        wait(wrong)
    with pytest.raises(ParameterTypeError, match=r"as_completed\(\) takes a list of futures"):
        next(as_completed(wrong))


def test_as_completed_gives_up_in_time_and_says_how_many_are_left() -> None:
    found = as_completed([done(), Handle().future], timeout=0.01)
    next(found)
    with pytest.raises(TimeoutError, match="1 of 2 futures"):
        next(found)


def test_a_list_of_futures_gives_results_in_order() -> None:
    futures = KeptFutureList([done(2), done(1)])
    futures.wait()
    assert futures.result() == [2, 1]
    assert KeptFutureList().result() == []
    with pytest.raises(ValueError, match="bad"):
        KeptFutureList([done(1), failed()]).result()
    assert str(KeptFutureList([done(1), failed()]).result(raise_on_failure=False)) == "[1, ValueError('bad')]"


def test_a_list_of_futures_raises_a_failure_while_others_still_run() -> None:
    never: list[KeptFuture[Any]] = [Handle().future]
    with pytest.raises(ValueError, match="bad"):
        KeptFutureList([*never, failed()]).result()


def test_a_list_of_futures_has_one_timeout_for_all() -> None:
    with pytest.raises(TimeoutError, match="1 of 2 futures have not ended within 0.01 seconds"):
        KeptFutureList([done(1), Handle().future]).result(timeout=0.01)


# -- found inside values


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Box:
    content: Any
    unset: Any = dataclasses.field(init=False, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Sealed:
    content: Any
    built: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.built.append("once")


class Named(dict[str, Any]):
    """A dict of the user's own."""


class Color(enum.Enum):
    RED = 1


def test_states_and_results_are_put_in_the_place_of_futures() -> None:
    one = done(1)
    expr = {"a": [one, (one, "x")], one: {3}, "pair": Pair(one, 2), "box": Box([one])}
    states = resolve_futures_to_states(expr)
    assert states["a"][0].is_completed()
    assert states["pair"] == Pair(one.state, 2)
    results = resolve_futures_to_results(expr)
    assert results["a"] == [1, (1, "x")]
    assert results[1] == {3}
    assert results["pair"] == Pair(1, 2)
    assert results["box"].content == [1]
    assert expr["a"][0] is one


def test_a_lone_future_is_resolved_and_anything_else_returned_itself() -> None:
    assert resolve_futures_to_results(done(1)) == 1
    assert resolve_futures_to_results(Completed(data=2)) == 2
    assert resolve_futures_to_states(done(1)).is_completed()
    thing = object()
    assert resolve_futures_to_states(thing) is thing
    assert resolve_futures_to_results(thing) is thing


def test_resolving_waits() -> None:
    handle = Handle()
    later(handle, Completed(data=1))
    assert resolve_futures_to_states([handle.future])[0].is_completed()


def test_resolving_a_failed_future_to_its_result_raises() -> None:
    with pytest.raises(ValueError, match="bad"):
        resolve_futures_to_results([failed()])


@pytest.mark.parametrize(
    "make",
    [
        lambda f: [f],
        lambda f: (f,),
        lambda f: {f},
        lambda f: frozenset([f]),
        lambda f: {"k": f},
        lambda f: {f: "v"},
        lambda f: Pair(1, f),
        lambda f: Box(f),
        lambda f: Sealed(f),
        lambda f: Named(k=f),
        lambda f: collections.deque([f], maxlen=3),
        lambda f: collections.OrderedDict(k=f),
        lambda f: collections.defaultdict(list, k=f),
        lambda f: [[[[f]]]],
        lambda f: {"a": (Box([f]),)},
    ],
)
def test_futures_are_found_and_replaced_in_each_kind_of_container(make: Any) -> None:
    future = done(1)
    container = make(future)
    assert find_handles(container) == [future]
    replaced = replace_handles(container, lambda handle: handle.result())
    assert find_handles(replaced) == []
    assert type(replaced) is type(container)
    assert replaced == make(1)
    assert find_handles(container) == [future]


def test_a_default_dict_keeps_its_default() -> None:
    replaced = replace_handles(collections.defaultdict(list, k=done(1)), lambda handle: handle.result())
    assert replaced["missing"] == []


def test_the_checks_of_a_dataclass_do_not_run_again() -> None:
    replaced = replace_handles(Sealed(done(1)), lambda handle: handle.result())
    assert (replaced.content, replaced.built) == (1, ["once"])


def test_classes_of_attrs_are_looked_into() -> None:
    attrs = pytest.importorskip("attrs")

    def refuse(self: Any, attribute: Any, value: Any) -> None:
        assert not isinstance(value, int), "what stands in a future is not checked again"

    for define in (attrs.define, attrs.frozen):
        drawn = define(type("Drawn", (), {"content": attrs.field(validator=refuse)}))
        replaced = replace_handles([drawn(done(1))], lambda handle: handle.result())
        assert (type(replaced[0]), replaced[0].content) == (drawn, 1)


def test_models_of_pydantic_are_looked_into() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        n: Any
        deep: Any = None

    future = done(1)
    replaced = replace_handles(Model(n=future, deep=[future]), lambda handle: handle.result())
    assert replaced == Model(n=1, deep=[1])


@pytest.mark.parametrize(
    "value",
    [1, "text", b"x", None, 1.5, [1, 2], {"a": [Box(1)]}, Box, Color.RED, object(), {1, 2}, (), range(3), len],
)
def test_what_holds_no_future_is_returned_itself(value: Any) -> None:
    assert find_handles(value) == []
    assert replace_handles(value, lambda handle: "swapped") is value


def test_only_what_holds_a_future_is_copied() -> None:
    untouched = [1, [2]]
    replaced = replace_handles({"a": untouched, "b": [done(1)]}, lambda handle: handle.result())
    assert replaced["a"] is untouched


def test_a_structure_that_holds_itself_ends() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert find_handles(loop) == []
    assert replace_handles(loop, lambda handle: "swapped") is loop
    future = done(1)
    loop.append(future)
    assert find_handles(loop) == [future]
    assert replace_handles(loop, lambda handle: handle.result())[2] == 1


def test_a_task_can_be_given_a_structure_that_holds_itself() -> None:
    @task
    def second(value: list[Any]) -> Any:
        return value[1]

    @flow
    def f() -> Any:
        loop: list[Any] = []
        loop += [loop, second.submit([0, 1])]
        return second(loop)

    assert f() == 1


def test_iterators_are_not_consumed() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    gen = numbers()
    assert find_handles([gen]) == []
    assert next(gen) == 1


def test_a_future_is_listed_as_often_as_it_stands() -> None:
    future = done(1)
    assert find_handles([future, {"a": future}]) == [future, future]


def test_what_stands_in_an_annotation_is_not_listed() -> None:
    note = unmapped([done(1)])
    assert find_handles([note]) == [note]


def test_values_that_can_not_hold_a_future_are_told_by_their_types() -> None:
    assert not can_hold_handles({"a": 1, "b": "x", "c": None, "d": 1.5})
    assert can_hold_handles({"a": 1, "b": [1]})
    assert can_hold_handles({"a": done(1)})


def test_the_unfinished_are_found_in_annotations_too_but_not_in_quotes() -> None:
    open_one = Handle().future
    assert unfinished([done(), open_one, allow_failure([open_one]), quote(open_one), Completed()]) == [
        open_one,
        open_one,
    ]


# -- futures as inputs: keys


class Counted:
    """A value that counts how often it is fingerprinted."""

    count = 0

    def __init__(self, content: int) -> None:
        self.content = content

    def __kept_fingerprint__(self) -> Any:
        Counted.count += 1
        return self.content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counted) and other.content == self.content

    __hash__ = None  # type: ignore[assignment]


@task(cache_policy=INPUTS)
def make(n: int) -> Any:
    return Counted(n)


@task(cache_policy=INPUTS)
def take(value: Any, other: Any = None) -> Any:
    return "taken"


def test_a_future_makes_the_same_key_as_its_value() -> None:
    @flow
    def f() -> Any:
        future = make.submit(1)
        state = make(1, return_state=True)
        return [
            one.cache_key
            for one in (
                take(future.result(), return_state=True),
                take(future, return_state=True),
                take(state, return_state=True),
                take.submit(future, return_state=True),
                take.map([future], return_state=True)[0],
                take(Counted(1), return_state=True),
            )
        ]

    keys = f()
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    "value",
    [1, True, 1.0, "1", None, (1, 2), [1, 2], {"a": 1}, {1, 2}, b"1", ["long"] * 20_000, {"n": list(range(500))}],
)
def test_a_value_of_any_kind_makes_the_same_key_by_its_future(value: Any) -> None:
    @task(persist_result=True)
    def give() -> Any:
        return value

    @flow
    def f() -> Any:
        future = give.submit()
        alone = {take(one, return_state=True).cache_key for one in (value, future, future.result())}
        inside = {take([one], other={"k": one}, return_state=True).cache_key for one in (value, future)}
        return len(alone), len(inside), alone.isdisjoint(inside)

    assert f() == (1, 1, True)


def test_a_future_whose_value_is_kept_is_not_hashed_again() -> None:
    @flow
    def f(how: str) -> Any:
        future = make.submit(7)
        future.wait()
        Counted.count = 0
        assert take(future, return_state=True).cache_key
        alone = Counted.count
        assert take(other=future, value=make(7, return_state=True), return_state=True).cache_key
        return alone, Counted.count

    assert f("computed") == (0, 0)
    assert f("hit") == (0, 0)


loaded: list[str] = []


class Heavy:
    """A value that tells when it is loaded."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getstate__(self) -> Any:
        return {"name": self.name}

    def __setstate__(self, state: Any) -> None:
        self.__dict__ = state
        loaded.append(self.name)


def test_a_hit_does_not_load_what_it_is_passed() -> None:
    @task(cache_policy=INPUTS)
    def first(n: int) -> Any:
        return Heavy("first")

    @task(cache_policy=INPUTS)
    def second(x: Any) -> Any:
        return Heavy("second")

    @flow
    def f() -> Any:
        return second(first(1, return_state=True), return_state=True).name

    assert f() == "Completed"
    loaded.clear()
    assert f() == "Cached"
    assert loaded.count("first") <= 1


def test_each_who_takes_a_kept_value_has_a_copy_of_its_own() -> None:
    @task(cache_policy=INPUTS)
    def numbers(n: int) -> list[int]:
        return list(range(n))

    @task
    def spoil(values: list[int]) -> list[int]:
        values.append(99)
        return values

    @flow
    def f() -> Any:
        future = numbers.submit(2)
        return spoil.submit(future).result(), spoil.submit(future).result(), future.result()

    assert f() == ([0, 1, 99], [0, 1, 99], [0, 1])


def test_a_base_future_says_what_a_subclass_has_to_do() -> None:
    bare: KeptFuture[Any] = KeptFuture()
    for ask in (lambda: bare.state, lambda: bare.task_run_id, bare.wait, bare.result):
        with pytest.raises(NotImplementedError):
            ask()
