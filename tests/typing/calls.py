"""Tasks and flows that are called: they take and give what their functions do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from typing_extensions import assert_type

from kept import Flow, State, Task, flow, task

T = TypeVar("T")


@task
def add(x: int, y: int = 1) -> str:
    return str(x + y)


@task(retries=3, tags=["network"])
async def fetch(url: str) -> bytes:
    return url.encode()


@task()
def anything(x: Any) -> Any:
    return x


@task
def pages(count: int) -> Generator[str, None, int]:
    yield "page"
    return count


@task
async def lines(count: int) -> AsyncGenerator[str, None]:
    yield "line"


@task
def first(values: list[T]) -> T:
    return values[0]


@task
def star(a: int, *rest: int, b: str = "", **more: float) -> None: ...


@flow
def total(xs: list[int], *, scale: float = 1.0) -> float:
    assert_type(add(1), str)
    assert_type(add(1, y=2), str)
    assert_type(add(1, return_state=True), State[str])
    assert_type(add(1, return_state=True).result(), str)
    assert_type(add(1, wait_for=[add.submit(2)]), str)
    assert_type(anything(1), Any)
    assert_type(first(["a"]), str)
    assert_type(first.submit([b"a"]).result(), bytes)
    assert_type(star(1, 2, 3, b="b", c=1.0), None)
    assert_type(pages(1), Generator[str, None, int])
    assert_type(list(pages(1)), list[str])
    assert_type(pages(1, return_state=True).result(), list[str])
    return sum(xs) * scale


@flow(log_prints=True)
async def crawl(urls: list[str]) -> dict[str, bytes]:
    assert_type(await fetch("a"), bytes)
    assert_type(await fetch("a", return_state=True), State[bytes])
    assert_type(await fetch("a", wait_for=[]), bytes)
    assert_type(add(1), str)
    assert_type([line async for line in lines(3)], list[str])
    assert_type(await lines(3, return_state=True), State[list[str]])
    return {url: await fetch(url) for url in urls}


async def main() -> None:
    assert_type(total([1], scale=2.0), float)
    assert_type(total([1], return_state=True), State[float])
    assert_type(await crawl(["a"]), dict[str, bytes])
    assert_type((await crawl(["a"], return_state=True)).result(), dict[str, bytes])


def wrong() -> None:
    add("x")  # type: ignore
    add()  # type: ignore
    add(1, z=3)  # type: ignore
    add(1, return_state="yes")  # type: ignore
    add(1, wait_for=3)  # type: ignore
    fetch(1)  # type: ignore
    total([1], 2.0)  # type: ignore
    star("a")  # type: ignore
    star(1, b=2)  # type: ignore
    number: int = add(1)  # type: ignore
    add.sumbit(1)  # type: ignore
    print(number)


# They stand where functions and tasks are asked for.

as_function: Callable[[int, int], str] = add
as_coroutine: Callable[[str], Awaitable[bytes]] = fetch
as_any_task: Task[..., object] = add
as_async_task: Task[[str], Coroutine[Any, Any, bytes]] = fetch
as_flow: Flow[..., Coroutine[Any, Any, dict[str, bytes]]] = crawl
as_wrong_task: Task[[str], str] = add  # type: ignore

# What is made without an @ is the same.

assert_type(task(add.fn)(1), str)
assert_type(task(add.fn, name="plus", retries=1)(1), str)
assert_type(flow(total.fn, name="sum")([1]), float)
assert_type(add.with_options(name="plus")(1), str)
assert_type(total.with_options(retries=2)([1]), float)
add.with_options(name="plus")("x")  # type: ignore
