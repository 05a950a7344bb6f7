"""Options: those there are, with what they take; hooks, which stay the functions that they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from kept import Flow, State, Task, flow, task
from kept.cache_policies import INPUTS, TASK_SOURCE
from kept.context import FlowRun, TaskRun, TaskRunContext
from kept.filesystems import LocalFileSystem
from kept.serializers import JSONSerializer
from kept.task_runners import ThreadPoolTaskRunner
from kept.tasks import exponential_backoff
from kept.transactions import Transaction


def told(task: Task[..., Any], run: TaskRun, state: State[Any]) -> None: ...


async def told_later(task: Task[..., Any], run: TaskRun, state: State[Any]) -> None: ...


def flow_told(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None: ...


def undo(txn: Transaction) -> None: ...


def key(context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    return None


def worth_it(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    return True


class Bucket:
    """A file system of the user's own."""

    async def read_path(self, path: str) -> bytes:
        return b""

    async def write_path(self, path: str, content: bytes) -> str:
        return path


hooks = [told]
delays = [1, 2, 3]


@task(
    name="all of them",
    description="",
    tags={"a", "b"},
    version="1",
    cache_policy=INPUTS + TASK_SOURCE - "x",
    cache_expiration=timedelta(hours=1),
    task_run_name="run-{x}",
    retries=3,
    retry_delay_seconds=delays,
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_it,
    persist_result=True,
    result_storage=LocalFileSystem(basepath="results"),
    result_serializer=JSONSerializer(),
    result_storage_key="{parameters[x]}.json",
    cache_result_in_memory=False,
    timeout_seconds=3,
    log_prints=True,
    refresh_cache=True,
    on_completion=[told, told_later],
    on_failure=hooks,
    on_running=(told,),
    on_rollback=[undo],
    on_commit=[lambda txn: print(txn.key)],
)
def every(x: int) -> int:
    return x


@flow(
    name="all of them",
    version="1",
    flow_run_name=lambda: "run",
    retries=1,
    retry_delay_seconds=0.5,
    task_runner=ThreadPoolTaskRunner(max_workers=3),
    description="",
    timeout_seconds=0.5,
    validate_parameters=False,
    cache_policy=INPUTS,
    persist_result=False,
    result_storage=Path("results"),
    result_serializer="compressed/json",
    cache_result_in_memory=True,
    log_prints=None,
    on_completion=[flow_told],
    on_cancellation=[flow_told],
    on_crashed=[flow_told],
)
def every_flow(x: int) -> int:
    return x


task(retry_delay_seconds=exponential_backoff(10), cache_key_fn=key, result_storage=Bucket())
task(retry_delay_seconds=lambda retries: [1] * retries)
task(cache_expiration=timedelta(hours=1), refresh="background")
flow(task_runner=ThreadPoolTaskRunner, result_storage="~/results")

assert_type(every.name, str)
assert_type(every.fn(1), int)
assert_type(every.retries, int | None)
assert_type(every.tags, frozenset[str])
assert_type(every.isasync, bool)
assert_type(every.task_key, str)
assert_type(every_flow.timeout_seconds, float | None)
assert_type(every_flow.validate_parameters, bool)


@every.on_failure
def tell(task: Task[..., Any], run: TaskRun, state: State[Any]) -> int:
    return 1


@every.on_rollback
def restore(txn: Transaction) -> bytes:
    return b""


@every_flow.on_crashed
def tell_all(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> str:
    return ""


assert_type(restore(Transaction()), bytes)
returns_int: Callable[[Task[..., Any], TaskRun, State[Any]], int] = tell
returns_text: Callable[[Flow[..., Any], FlowRun, State[Any]], str] = tell_all


def wrong() -> None:
    task("name")  # type: ignore
    flow("name")  # type: ignore
    task(cache_polcy=INPUTS)  # type: ignore
    task(every.fn, nonsense=1)  # type: ignore
    task(retries="3")  # type: ignore
    task(retry_delay_seconds="5")  # type: ignore
    task(timeout_seconds="5")  # type: ignore
    task(cache_expiration=3600)  # type: ignore
    task(cache_policy="INPUTS")  # type: ignore
    task(cache_key_fn="x")  # type: ignore
    task(persist_result="yes")  # type: ignore
    task(refresh="later")  # type: ignore
    task(refresh_cache="background")  # type: ignore
    task(result_storage=3)  # type: ignore
    task(result_serializer=3)  # type: ignore
    task(tags=3)  # type: ignore
    task(on_completion=told)  # type: ignore
    task(on_rollback=[told])  # type: ignore
    task(task_run_name=3)  # type: ignore
    task()()  # type: ignore
    flow(task_runner="threads")  # type: ignore
    flow(validate_parameters="no")  # type: ignore
    flow(tags=["a"])  # type: ignore
    every.with_options(nonsense=1)  # type: ignore
    every.with_options(retries="3")  # type: ignore
    every.on_failure()  # type: ignore
    every.on_failure(3)  # type: ignore
    every_flow.on_rollback(undo)  # type: ignore
    print(every.nonsense)  # type: ignore
