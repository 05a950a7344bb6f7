"""Tasks and flows that are submitted and mapped: what comes out is known, what goes in may be a future of it."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from kept import State, allow_failure, flow, tags, task, transaction, unmapped
from kept.engine.explain import Explanation
from kept.futures import (
    KeptFuture,
    KeptFutureList,
    as_completed,
    resolve_futures_to_results,
    resolve_futures_to_states,
    wait,
)
from kept.transactions import Transaction
from kept.utilities.annotations import quote


@task
def size(name: str, unit: int = 1) -> int:
    return len(name) // unit


@task
async def read(name: str) -> str:
    return name


@task
def anything(x: Any) -> Any:
    return x


@flow
def report(names: list[str]) -> list[int]:
    text = read.submit("a")
    assert_type(text, KeptFuture[str])
    assert_type(text.result(), str)
    assert_type(text.result(timeout=3), str)
    assert_type(text.result(raise_on_failure=False), str | BaseException)
    assert_type(text.state, State[str])
    assert_type(text.state.result(), str)
    assert_type(text.state.result(raise_on_failure=False), str | BaseException)

    number = size.submit(text, unit=2)
    assert_type(number, KeptFuture[int])
    assert_type(size.submit("a", wait_for=[text]).result(), int)
    assert_type(size.submit(allow_failure(text)).result(), int)
    assert_type(size.submit(quote("a"), return_state=True), State[int])
    assert_type(read.submit(text, return_state=True), State[str])
    assert_type(anything.submit(1), KeptFuture[Any])

    sizes = size.map(names, unit=unmapped(2))
    assert_type(sizes, KeptFutureList[int])
    assert_type(sizes[0], KeptFuture[int])
    assert_type(size.map(read.map(names), return_state=True), list[State[int]])
    assert_type(read.map(names).result(), list[str])
    assert_type(read.map(names, return_state=True), list[State[str]])
    assert_type(sizes.result(raise_on_failure=False), list[int | BaseException])
    for ended in as_completed(sizes, timeout=10):
        assert_type(ended.result(), int)
    done, not_done = wait(sizes)
    assert_type(done, set[KeptFuture[int]])
    assert_type(not_done, set[KeptFuture[int]])
    assert_type(wait([number], timeout=1).done, set[KeptFuture[int]])
    wait([text, number])
    number.add_done_callback(lambda future: print(future.state.name))

    assert_type(resolve_futures_to_results(sizes), list[int])
    assert_type(resolve_futures_to_results(number), int)
    assert_type(resolve_futures_to_states([number]), list[State[int]])
    assert_type(resolve_futures_to_results({"a": number}), Any)
    return sizes.result()


@flow
async def customer(name: str) -> float:
    assert_type(await size.submit(name).aresult(), int)
    return 1.0


@flow
def everyone(names: list[str]) -> float:
    assert_type(report.submit(names), KeptFuture[list[int]])
    assert_type(customer.submit("a").result(), float)
    assert_type(customer.submit("a", return_state=True), State[float])
    return sum(customer.map(names).result())


async def explained() -> None:
    assert_type(size.explain("a", unit=2), Explanation)
    assert_type(await customer.aexplain("a"), Explanation)
    size.explain(1)  # type: ignore


def in_the_background() -> None:
    assert_type(size.delay("a", unit=2), KeptFuture[int])
    assert_type(read.delay("a").result(), str)
    assert_type(size.apply_async(["a"], {"unit": 2}), KeptFuture[int])
    assert_type(read.apply_async(args=["a"], wait_for=[size.delay("a")]).result(), str)
    assert_type(customer.delay("a").result(), float)
    assert_type(size.map(["a"], deferred=True).result(), list[int])
    size.delay(1)  # type: ignore
    size.apply_async("a", 3)  # type: ignore


def around() -> None:
    with tags("nightly") as now:
        assert_type(now, set[str])
    with transaction(key="report") as txn:
        assert_type(txn, Transaction)
    assert_type(unmapped([1]).value, list[int])
    assert_type(quote([1]).unquote(), list[int])


def wrong(future: KeptFuture[int]) -> None:
    text: str = future.result()  # type: ignore
    future.result(timeout="soon")  # type: ignore
    size.submit("a", wait_for=3)  # type: ignore
    size.map(["a"]).results()  # type: ignore
    print(text, size.submit(1, unit=2).result() + "")  # type: ignore
