"""Cache policies: what is in a key, how policies add up, and what is remembered of each key."""

from __future__ import annotations

import dataclasses
import functools
import json
import linecache
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kept.cache_policies
from kept import State, Task, flow, task
from kept.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    Call,
    CompoundCachePolicy,
    FlowParameters,
    Inputs,
    RunId,
    TaskSource,
)
from kept.context import TaskRunContext
from kept.exceptions import ConfigurationError, HashError, ParameterTypeError
from kept.locking.filesystem import FileSystemLockManager
from kept.locking.memory import MemoryLockManager
from kept.results import ResultStore
from kept.store import Entry
from kept.tasks import task_input_hash
from kept.transactions import IsolationLevel


class ARun:
    """The two ids of a task run that policies look at."""

    def __init__(self, id: str = "task-run", flow_run_id: str | None = None) -> None:
        self.id = id
        self.flow_run_id = flow_run_id


def context(fn: Any = None, run: ARun | None = None) -> TaskRunContext:
    """The context of a run of a task over `fn`."""
    return TaskRunContext(task=task(fn or add), task_run=run or ARun())


def add(x: int, y: int = 1) -> int:
    return x + y


def key(policy: CachePolicy, /, ctx: Any = None, flow_parameters: Any = None, **inputs: Any) -> str | None:
    """The key that a policy gives."""
    return policy.compute_key(task_ctx=ctx, inputs=inputs, flow_parameters=flow_parameters)


def called(step: Task[..., Any], *args: Any, **kwargs: Any) -> State[Any]:
    """The final state of a call that completed."""
    state = step(*args, return_state=True, **kwargs)
    assert isinstance(state, State)
    assert state.is_completed()
    return state


def states(step: Task[..., Any], *calls: Any) -> list[str]:
    """The names of the final states of a task called with each of these."""
    return [called(step, call).name for call in calls]


def parts_of(state: State[Any]) -> dict[str, str]:
    """The named parts recorded with the entry of a run."""
    assert state.cache_key is not None
    entry = ResultStore().lookup(state.cache_key)
    assert isinstance(entry, Entry)
    found: dict[str, str] = json.loads(entry.parts)
    return found


# --- INPUTS


def test_compute_key_can_be_called_as_documented() -> None:
    first = INPUTS.compute_key(task_ctx=None, inputs={"x": 1}, flow_parameters=None)
    assert isinstance(first, str)
    assert first == INPUTS.compute_key(task_ctx=None, inputs={"x": 1}, flow_parameters=None)
    assert first != INPUTS.compute_key(task_ctx=None, inputs={"x": 2}, flow_parameters=None)
    assert first == INPUTS.compute_key(None, {"x": 1}, None, hash_algo="ignored")


def test_equal_inputs_give_one_key_in_whatever_order_they_are_named() -> None:
    assert key(INPUTS, x=1, y=[2, 3]) == key(INPUTS, y=[2, 3], x=1)


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, 1.0), (1, "1"), ((1, 2), [1, 2]), ("1", b"1"), (None, "None"), ({}, [])]
)
def test_inputs_of_different_types_have_different_keys(one: Any, other: Any) -> None:
    assert key(INPUTS, x=one) != key(INPUTS, x=other)


def test_the_name_of_an_argument_is_part_of_the_key() -> None:
    assert key(INPUTS, x=1) != key(INPUTS, y=1)
    assert key(INPUTS, x=1, y=2) != key(INPUTS, x=2, y=1)


def test_inputs_alone_give_no_key_for_a_call_without_arguments() -> None:
    assert key(INPUTS) is None


def test_a_subtracted_argument_does_not_count() -> None:
    for policy in (INPUTS - "debug", Inputs(exclude=["debug"]), INPUTS + TASK_SOURCE - "debug"):
        ctx = context()
        assert key(policy, ctx, x=1, debug=True) == key(policy, ctx, x=1, debug=False)
        assert key(policy, ctx, x=1, debug=True) != key(policy, ctx, x=2, debug=True)


def test_several_arguments_can_be_subtracted_one_after_another() -> None:
    policy = INPUTS - "x" - "y"
    assert key(policy, x=1, y=1, z=1) == key(policy, x=2, y=2, z=1)
    assert key(policy, x=1, y=1, z=1) != key(policy, x=1, y=1, z=2)


def test_with_all_arguments_subtracted_calls_share_one_key_which_is_not_that_of_no_caching() -> None:
    policy = INPUTS - "x"
    assert key(policy, x=1) == key(policy, x=2)
    assert key(policy, x=1) is not None


def test_subtracting_never_changes_the_policy_it_is_done_to() -> None:
    before = key(INPUTS, x=1, debug=True)
    assert key(INPUTS - "debug", x=1, debug=True) != before
    assert key(INPUTS, x=1, debug=True) == before


def test_a_subtracted_argument_may_be_one_that_can_not_be_fingerprinted() -> None:
    policy = INPUTS - "stream"
    assert key(policy, x=1, stream=(n for n in range(3))) == key(policy, x=1, stream=None)


@pytest.mark.parametrize("policy", [TASK_SOURCE, RUN_ID, NONE, CachePolicy.from_cache_key_fn(lambda c, p: "k")])
def test_subtracting_from_a_policy_without_inputs_changes_nothing(policy: CachePolicy) -> None:
    assert policy - "x" == policy


def test_only_the_name_of_an_argument_can_be_subtracted() -> None:
    for policy in (INPUTS, TASK_SOURCE, DEFAULT):
        with pytest.raises(ParameterTypeError, match=r"name of an argument.*INPUTS - 'debug'"):
            policy - TASK_SOURCE  # type: ignore[operator]


def test_an_argument_without_stable_content_is_an_error_that_names_it() -> None:
    with pytest.raises(HashError, match="argument 'stream'"):
        key(INPUTS, x=1, stream=(n for n in range(3)))


# --- TASK_SOURCE


def in_module(folder: Path, source: str, name: str = "written") -> Callable[..., Any]:
    """The function `step` of a module file that was there before kept was imported, as far as its date tells."""
    file = folder / f"{name}.py"
    file.write_text(source)
    old = time.time() - 3600
    os.utime(file, (old, old))
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(source, str(file), "exec"), namespace)
    found: Callable[..., Any] = namespace["step"]
    return found


def test_task_source_tells_functions_apart_by_their_text() -> None:
    def same() -> int:
        return 1

    def other() -> int:
        return 2

    assert key(TASK_SOURCE, context(same)) == key(TASK_SOURCE, context(same))
    assert key(TASK_SOURCE, context(same)) != key(TASK_SOURCE, context(other))


def test_task_source_without_a_task_gives_no_key() -> None:
    assert key(TASK_SOURCE, None, x=1) is None


def test_a_changed_comment_is_another_source(tmp_path: Path) -> None:
    plain = in_module(tmp_path, "def step(x):\n    return x\n", "plain")
    same = in_module(tmp_path, "\n\ndef step(x):\n    return x\n", "moved")
    commented = in_module(tmp_path, "def step(x):\n    return x  # as it is\n", "commented")
    assert key(TASK_SOURCE, context(plain)) == key(TASK_SOURCE, context(same))
    assert key(TASK_SOURCE, context(plain)) != key(TASK_SOURCE, context(commented))


def exec_step(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    found: Callable[..., Any] = namespace["step"]
    return found


def test_functions_without_source_text_are_told_apart_by_what_they_do() -> None:
    one = exec_step("def step(x): return x + 1")
    same = exec_step("def step(x): return x + 1")
    other_constant = exec_step("def step(x): return x + 2")
    other_name = exec_step("def step(x): return x.real")
    other_default = exec_step("def step(x=3): return x + 1")
    another_default = exec_step("def step(x=4): return x + 1")
    only_by_name = exec_step("def step(*, x=4): return x + 1")
    inner = exec_step("def step(x): return (lambda: x + 1)()")
    other_inner = exec_step("def step(x): return (lambda: x + 2)()")
    assert key(TASK_SOURCE, context(one)) == key(TASK_SOURCE, context(same))
    others = [other_constant, other_name, other_default, another_default, only_by_name, inner, other_inner]
    assert len({key(TASK_SOURCE, context(fn)) for fn in [one, *others]}) == 8


def test_a_default_without_stable_content_does_not_keep_a_function_without_source_from_having_a_key() -> None:
    step = exec_step("import threading\ndef step(x=threading.Lock()): return 1")
    assert key(TASK_SOURCE, context(step)) is not None


def test_typed_constants_tell_functions_without_source_apart() -> None:
    one, other = exec_step("def step(): return 1"), exec_step("def step(): return True")
    assert key(TASK_SOURCE, context(one)) != key(TASK_SOURCE, context(other))


def test_a_function_typed_into_an_interpreter_has_a_key_too(tmp_path: Path) -> None:
    program = (
        "from kept import task\nfrom kept.cache_policies import TASK_SOURCE\n"
        "@task(cache_policy=TASK_SOURCE)\ndef step(): return {}\n\n"
        "print(step(return_state=True).name)\n"
    )
    outcomes = [
        subprocess.run(
            [sys.executable, "-W", "error", "-i", "-q"],
            input=program.format(number),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for number in (1, 1, 2)
    ]
    assert outcomes == [["Completed"], ["Cached"], ["Completed"]]


def test_a_file_that_was_edited_after_it_was_imported_does_not_lend_its_new_text_to_the_old_code(
    tmp_path: Path,
) -> None:
    old = in_module(tmp_path, "def step(x):\n    return x + 1\n")
    (tmp_path / "written.py").write_text("def step(x):\n    return x + 2\n")
    linecache.checkcache()
    new = in_module(tmp_path, "def step(x):\n    return x + 2\n", "new")
    assert key(TASK_SOURCE, context(old)) != key(TASK_SOURCE, context(new))


def test_a_callable_object_has_the_source_of_its_call() -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    class Doubler:
        def __call__(self, x: int) -> int:
            return x * 2

    assert key(TASK_SOURCE, context(Adder())) == key(TASK_SOURCE, context(Adder()))
    assert key(TASK_SOURCE, context(Adder())) != key(TASK_SOURCE, context(Doubler()))


def test_two_lambdas_on_one_line_are_told_apart() -> None:
    one, other = (lambda: 1), (lambda: 22)
    assert key(TASK_SOURCE, context(one)) != key(TASK_SOURCE, context(other))


def test_a_decorated_function_has_the_source_of_the_one_underneath() -> None:
    def loud(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any) -> Any:
            return fn(*args)

        return wrapper

    @loud
    def one() -> int:
        return 1

    @loud
    def other() -> int:
        return 2

    assert key(TASK_SOURCE, context(one)) != key(TASK_SOURCE, context(other))


# --- RUN_ID and FLOW_PARAMETERS


def test_run_id_is_the_flow_run_if_there_is_one_and_the_task_run_if_not() -> None:
    inside = [context(run=ARun(id, "flow-run")) for id in ("a", "b")]
    outside = [context(run=ARun(id)) for id in ("a", "b")]
    assert key(RUN_ID, inside[0]) == key(RUN_ID, inside[1])
    assert key(RUN_ID, outside[0]) != key(RUN_ID, outside[1])
    assert key(RUN_ID, None) is None


def test_run_id_reuses_results_within_one_flow_run_only() -> None:
    @task(cache_policy=RUN_ID)
    def step(x: int) -> int:
        return x

    @flow
    def twice() -> list[str]:
        return states(step, 1, 2)

    assert twice() == ["Completed", "Cached"]
    assert twice() == ["Completed", "Cached"]
    assert states(step, 1, 1) == ["Completed", "Completed"]


def test_the_default_policy_does_not_reach_from_a_flow_into_its_subflow() -> None:
    @task(persist_result=True)
    def step(x: int) -> int:
        return x

    @flow
    def inner() -> list[str]:
        return states(step, 1, 1)

    @flow
    def outer() -> list[str]:
        return [*states(step, 1), *inner(), *states(step, 1)]

    assert outer() == ["Completed", "Completed", "Cached", "Cached"]


def test_outside_a_flow_the_default_policy_never_hits() -> None:
    @task(persist_result=True)
    def step(x: int) -> int:
        return x

    assert states(step, 1, 1) == ["Completed", "Completed"]


def test_a_task_inside_a_task_outside_a_flow_has_a_run_id_of_its_own() -> None:
    @task(persist_result=True)
    def inner(x: int) -> int:
        return x

    @task
    def outer() -> list[str]:
        return states(inner, 1, 1)

    assert outer() == ["Completed", "Completed"]


def test_flow_parameters_are_part_of_the_key_and_task_inputs_are_not() -> None:
    @task(cache_policy=FLOW_PARAMETERS)
    def step(x: int) -> int:
        return x

    @flow
    def parametrised(day: str, limit: int = 3) -> list[str]:
        return states(step, 1, 2)

    assert parametrised("mon") == ["Completed", "Cached"]
    assert parametrised("tue") == ["Completed", "Cached"]
    assert parametrised("tue", 3) == ["Cached", "Cached"]
    assert parametrised("tue", 4) == ["Completed", "Cached"]


def test_flow_parameters_outside_a_flow_or_without_parameters_give_no_key() -> None:
    assert key(FLOW_PARAMETERS, None, None, x=1) is None
    assert key(FLOW_PARAMETERS, None, {}, x=1) is None
    assert key(FLOW_PARAMETERS, None, {"day": 1}) == key(FLOW_PARAMETERS, None, {"day": 1}, x=2)


def test_flow_parameters_are_those_of_the_innermost_flow() -> None:
    @task(cache_policy=FLOW_PARAMETERS)
    def step(x: int) -> int:
        return x

    @flow
    def inner(a: int) -> list[str]:
        return states(step, 1)

    @flow
    def outer(b: int) -> list[str]:
        return inner(1)

    assert outer(1) == ["Completed"]
    assert outer(2) == ["Cached"]


# --- adding


def test_a_sum_changes_when_any_member_changes() -> None:
    policy = INPUTS + TASK_SOURCE + RUN_ID
    assert policy == DEFAULT

    def other(x: int) -> int:
        return x

    ctx = context(run=ARun("a", "flow"))
    base = key(policy, ctx, x=1)
    assert key(policy, ctx, x=2) != base
    assert key(policy, context(other, ARun("a", "flow")), x=1) != base
    assert key(policy, context(run=ARun("a", "other flow")), x=1) != base
    assert key(policy, context(run=ARun("b", "flow")), x=1) == base


def test_the_order_of_a_sum_and_repeated_members_do_not_matter() -> None:
    ctx = context()
    assert key(INPUTS + TASK_SOURCE, ctx, x=1) == key(TASK_SOURCE + INPUTS, ctx, x=1)
    assert key(INPUTS + (TASK_SOURCE + RUN_ID), ctx, x=1) == key(DEFAULT, ctx, x=1)
    assert key(INPUTS + TASK_SOURCE + INPUTS, ctx, x=1) == key(INPUTS + TASK_SOURCE, ctx, x=1)


def test_adding_never_changes_the_policies_that_are_added() -> None:
    first = INPUTS + TASK_SOURCE
    members = list(first.policies)  # type: ignore[attr-defined]
    first + RUN_ID
    assert first.policies == members  # type: ignore[attr-defined]


def test_no_cache_plus_another_policy_is_that_policy() -> None:
    for none in (NO_CACHE, NONE):
        assert none + INPUTS == INPUTS
        assert INPUTS + none == INPUTS
        assert none + DEFAULT == DEFAULT
        assert DEFAULT + none == DEFAULT
        assert key(none, context(), x=1) is None
    assert key(NO_CACHE + NONE, context(), x=1) is None


def test_a_sum_of_which_every_member_gives_none_gives_none() -> None:
    nothing = CachePolicy.from_cache_key_fn(lambda context, parameters: None)
    assert key(nothing + FLOW_PARAMETERS, None, None, x=1) is None
    assert key(CompoundCachePolicy(policies=[NO_CACHE, NONE]), None, None, x=1) is None
    assert key(CompoundCachePolicy(), None, None, x=1) is None


def test_a_sum_with_one_member_that_gives_none_goes_by_the_others() -> None:
    nothing = CachePolicy.from_cache_key_fn(lambda context, parameters: None)
    assert key(nothing + INPUTS, x=1) == key(INPUTS + nothing, x=1) is not None
    assert key(INPUTS + FLOW_PARAMETERS, None, None, x=1) != key(INPUTS + FLOW_PARAMETERS, None, {"x": 1}, x=1)


def test_members_of_a_sum_can_not_stand_in_for_each_other() -> None:
    one = CachePolicy.from_cache_key_fn(lambda context, parameters: "a")
    other = CachePolicy.from_cache_key_fn(lambda context, parameters: "b")
    both = {key(one + one), key(one + other), key(other + other)}
    assert len(both) == 3
    assert key(INPUTS + FLOW_PARAMETERS, None, {"y": 2}, x=1) != key(INPUTS + FLOW_PARAMETERS, None, {"x": 1}, y=2)


def test_a_policy_can_be_added_to_a_policy_only() -> None:
    for policy in (INPUTS, NO_CACHE, DEFAULT):
        for other in ("x", task_input_hash, None):
            with pytest.raises(ParameterTypeError, match=r"from_cache_key_fn"):
                policy + other  # type: ignore[operator]


# --- configuration


def test_configure_gives_a_copy_and_leaves_out_what_is_not_named(tmp_path: Path) -> None:
    locks = MemoryLockManager()
    policy = INPUTS.configure(key_storage=tmp_path)
    again = policy.configure(lock_manager=locks, isolation_level=IsolationLevel.SERIALIZABLE)
    assert (policy.key_storage, policy.lock_manager, policy.isolation_level) == (tmp_path, None, None)
    assert (again.key_storage, again.lock_manager) == (tmp_path, locks)
    assert again.isolation_level is IsolationLevel.SERIALIZABLE
    assert INPUTS.key_storage is None
    assert key(again, x=1) == key(INPUTS, x=1)


def test_a_sum_takes_the_configuration_of_its_members(tmp_path: Path) -> None:
    stored = INPUTS.configure(key_storage=tmp_path)
    for policy in (stored + TASK_SOURCE, TASK_SOURCE + stored, stored + TASK_SOURCE - "x", stored + stored):
        assert policy.key_storage == tmp_path


def test_policies_with_different_storage_isolation_or_locks_can_not_be_added() -> None:
    pairs = [
        ({"key_storage": "./here"}, {"key_storage": "./there"}, "key_storage"),
        (
            {"isolation_level": IsolationLevel.SERIALIZABLE},
            {"isolation_level": IsolationLevel.READ_COMMITTED},
            "isolation_level",
        ),
        ({"lock_manager": MemoryLockManager()}, {"lock_manager": FileSystemLockManager("/tmp")}, "lock_manager"),
    ]
    for one, other, name in pairs:
        with pytest.raises(ConfigurationError, match=name) as caught:
            INPUTS.configure(**one) + TASK_SOURCE.configure(**other)  # type: ignore[arg-type]
        assert isinstance(caught.value, ValueError)
        assert f"A.configure({name}=x) + B.configure({name}=x)" in str(caught.value)


def test_lock_managers_that_exclude_each_other_are_the_same(tmp_path: Path) -> None:
    for one, other in (
        (MemoryLockManager(), MemoryLockManager()),
        (FileSystemLockManager(tmp_path), FileSystemLockManager(tmp_path)),
    ):
        both = INPUTS.configure(lock_manager=one) + TASK_SOURCE.configure(lock_manager=other)
        assert both.lock_manager == one


def test_policies_made_by_their_classes_equal_the_ready_ones() -> None:
    assert (Inputs(), TaskSource(), RunId(), FlowParameters()) == (INPUTS, TASK_SOURCE, RUN_ID, FLOW_PARAMETERS)


# --- key functions and policies of one's own


def test_a_key_function_gets_the_context_and_the_arguments_in_signature_order_with_defaults() -> None:
    seen = []

    def remember(context: TaskRunContext, parameters: dict[str, Any]) -> str:
        seen.append((context.task.name, str(context.task_run.id), list(parameters.items())))
        return "k"

    @task(cache_key_fn=remember)
    def step(b: int, a: int, c: int = 3) -> int:
        return a

    state = called(step, a=1, b=2)
    assert [(name, arguments) for name, _, arguments in seen] == [("step", [("b", 2), ("a", 1), ("c", 3)])]
    assert state.cache_key == "k"


def test_a_key_function_gets_values_in_the_place_of_futures() -> None:
    seen = []

    def remember(context: TaskRunContext, parameters: dict[str, Any]) -> str:
        seen.append(parameters["x"])
        return f"k-{parameters['x']}"

    @task
    def one() -> int:
        return 1

    @task(cache_key_fn=remember)
    def step(x: Any) -> int:
        return 0

    @flow
    def chain() -> str | None:
        future = one.submit()
        step.submit([future]).result()
        state: State[Any] = step.submit(future, return_state=True)
        return state.cache_key

    assert chain() == "k-1"
    assert seen == [[1], 1]


def test_the_string_of_a_key_function_is_the_key_itself_shared_by_all_who_return_it() -> None:
    @task(cache_key_fn=lambda context, parameters: "shared")
    def one() -> int:
        return 1

    @task(cache_policy=CachePolicy.from_cache_key_fn(lambda context, parameters: "shared"))
    def other() -> int:
        return 2

    assert one() == 1
    assert other() == 1
    assert parts_of(called(one)) == {"cache_key_fn": "shared"}


def test_a_key_function_that_gives_none_turns_caching_off_for_the_call(log: Any) -> None:
    @task(cache_key_fn=lambda context, parameters: "k" if parameters["x"] > 0 else None)
    def step(x: int) -> int:
        return x

    assert states(step, -1, -1) == ["Completed", "Completed"]
    assert states(step, 1, 1) == ["Completed", "Cached"]
    assert "ERROR" not in log


def test_a_key_function_can_be_added_to_other_policies() -> None:
    policy = CachePolicy.from_cache_key_fn(lambda context, parameters: "static") + INPUTS
    assert isinstance(policy, CompoundCachePolicy)
    assert key(policy, x=1) != key(policy, x=2)
    assert key(policy, x=1) not in ("static", key(INPUTS, x=1))
    assert isinstance(CachePolicy.from_cache_key_fn(task_input_hash), CacheKeyFnPolicy)


def test_task_input_hash_keys_by_task_source_and_inputs() -> None:
    @task(cache_key_fn=task_input_hash)
    def step(x: int) -> int:
        return x

    @task(cache_key_fn=task_input_hash)
    def other(x: int) -> int:
        return -x

    assert states(step, 1, 1, 2) == ["Completed", "Cached", "Completed"]
    assert other(1) == -1


@dataclasses.dataclass(kw_only=True)
class _ByLength(CachePolicy):
    """Keys by the length of the first argument, as a dataclass."""

    prefix: str = "len"

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: Any, **kwargs: Any) -> str | None:
        return f"{self.prefix}-{len(next(iter(inputs.values())))}"


class _Plain(CachePolicy):
    """Keys by the first letter, as documented: a subclass with nothing but compute_key."""

    def compute_key(self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: Any, **kwargs: Any) -> str | None:
        return str(inputs["text"][0]) if inputs["text"] else None


def test_a_policy_of_the_users_own_gives_the_key_itself() -> None:
    @task(cache_policy=_ByLength(prefix="size"))
    def step(text: str) -> str:
        return text

    state = called(step, "abc")
    assert state.cache_key == "size-3"
    assert step("xyz") == "abc"
    assert parts_of(state) == {"_ByLength": "size-3"}


def test_a_policy_of_the_users_own_can_say_not_cached_and_be_added() -> None:
    @task(cache_policy=_Plain())
    def step(text: str) -> str:
        return text

    assert states(step, "", "", "ab", "ac") == ["Completed", "Completed", "Completed", "Cached"]
    both = _Plain() + INPUTS
    assert key(both, text="ab") != key(both, text="ac")
    assert key(_Plain() + _ByLength(), text="ab") == key(_Plain() + _ByLength(), text="ac")


def test_a_policy_of_the_users_own_sees_task_run_and_flow_parameters() -> None:
    seen = []

    class Looking(CachePolicy):
        def compute_key(self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: Any, **kwargs: Any) -> str:
            seen.append((task_ctx.task.name, dict(inputs), flow_parameters))
            return "k"

    @task(cache_policy=Looking())
    def step(x: int) -> int:
        return x

    @flow
    def day(name: str) -> int:
        return step(1)

    day("mon")
    step(2)
    assert seen == [("step", {"x": 1}, {"name": "mon"}), ("step", {"x": 2}, None)]


def test_a_policy_without_compute_key_says_so(log: Any) -> None:
    class Empty(CachePolicy):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has to implement compute_key"):
        key(Empty(), x=1)


# --- what is remembered of a key


def test_each_entry_holds_the_named_parts_of_its_key() -> None:
    @task(cache_policy=INPUTS + TASK_SOURCE + FLOW_PARAMETERS)
    def step(x: int, y: str = "a") -> int:
        return x

    @flow
    def day(name: str) -> dict[str, str]:
        return parts_of(called(step, 1))

    parts = day("mon")
    assert sorted(parts) == ["flow_parameters.name", "inputs.x", "inputs.y", "task_source"]
    changed = day("tue")
    assert {name for name in parts if parts[name] != changed[name]} == {"flow_parameters.name"}


def test_the_key_is_the_digest_of_its_parts_whatever_the_policy_that_gave_them() -> None:
    parts = DEFAULT.compute_parts(Call(context(), {"x": 1}, None))
    assert parts is not None
    assert DEFAULT.key_of(parts) == key(DEFAULT, context(), x=1)
    assert sorted(parts) == ["inputs.x", "run_id", "task_source"]


def test_the_digest_of_parts_is_pinned() -> None:
    # A changed key empties every user's cache. If this fails, the scheme has changed: was that meant?
    parts = {"task_source": "b3:01", "inputs.x": "b3:02", "inputs.\u00fc": "b3:03"}
    assert INPUTS.key_of(parts) == "ab694e49a26df1928a0e10dea8c0f78f7f705309571cc6eeb58a32e260217f8f"
    assert INPUTS.key_of(dict(reversed(parts.items()))) == INPUTS.key_of(parts)


def test_the_module_exports_the_documented_names() -> None:
    documented = (
        "CachePolicy CacheKeyFnPolicy CompoundCachePolicy Inputs TaskSource RunId FlowParameters "
        "INPUTS TASK_SOURCE RUN_ID FLOW_PARAMETERS NO_CACHE NONE DEFAULT"
    ).split()
    assert [name for name in documented if not hasattr(kept.cache_policies, name)] == []


def test_a_policy_of_the_users_own_may_be_a_dataclass_and_can_be_configured(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Prefixed(CachePolicy):
        prefix: str = "a"

        def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any) -> str:
            return f"{self.prefix}-{inputs['x']}"

    policy = Prefixed(prefix="b").configure(key_storage=tmp_path)
    assert policy.compute_key(None, {"x": 1}, None) == "b-1"
    assert policy.key_storage == tmp_path


def test_the_isolation_level_can_be_given_by_its_name() -> None:
    assert INPUTS.configure(isolation_level="SERIALIZABLE").isolation_level is IsolationLevel.SERIALIZABLE


def test_a_key_function_finds_the_ids_of_its_runs() -> None:
    seen: list[Any] = []

    def key(context: Any, parameters: Any) -> str:
        seen.append((context.task_run_id == context.task_run.id, context.flow_run_id == context.task_run.flow_run_id))
        return "k"

    task(cache_key_fn=key)(lambda: 1)()
    assert seen == [(True, True)]
