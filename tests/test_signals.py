"""Signals that end a process while a flow runs in it: real processes, real signals."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kept import flow, task

BEGINNING = """
import asyncio, os, signal, sys, threading, time
from kept import flow, task, transaction
from kept.cache_policies import INPUTS

def ready():
    print("ready", flush=True)

def nap():
    # One long sleep would not be ended by a signal that comes in the moment before it begins.
    for _ in range(6000):
        time.sleep(0.1)

def crashed(flow, run, state):
    print("hook:", state.type.value, "|", state.message)  # not flushed: that is for the end of the process to do
"""


class Program:
    """A program that runs until it is sent a signal, and what it left behind."""

    def __init__(self, home: Path, body: str) -> None:
        self.home = home
        script = home.parent / "program.py"
        script.write_text(BEGINNING + textwrap.dedent(body))
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "KEPT_HOME": str(home), "KEPT_LOGGING_LEVEL": "INFO"},
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.communicate()[1]

    def send(self, *signals: int) -> tuple[int, str, str]:
        """The exit status, what was printed, and what was logged; before each signal it says that it is ready."""
        for number in signals:
            self.wait_until_ready()
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def history(self) -> dict[str, tuple[str, str]]:
        """State and message of each flow and task."""
        with contextlib.closing(sqlite3.connect(self.home / "history.sqlite")) as database:
            rows = database.execute('SELECT "of", state_type, message FROM runs').fetchall()
        return {of.rpartition(".")[2]: (state_type, message) for of, state_type, message in rows}

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def program(home: Path) -> Iterator[Any]:
    started: list[Program] = []

    def start(body: str) -> Program:
        started.append(Program(home, body))
        return started[-1]

    yield start
    for one in started:
        one.kill()


SYNC = """
    @flow(on_crashed=[crashed])
    def f():
        ready()
        nap()

    f()
"""
ASYNC = """
    @flow(on_crashed=[crashed])
    async def f():
        ready()
        await asyncio.sleep(600)

    asyncio.run(f())
"""
BLOCKED = """
    @flow(on_crashed=[crashed])
    async def f():
        ready()
        nap()

    asyncio.run(f())
"""
IN_A_TASK = """
    @task
    def step():
        ready()
        nap()

    @flow(on_crashed=[crashed])
    def f():
        step()

    f()
"""
SUBMITTED = IN_A_TASK.replace("step()\n\n    f()", "step.submit().result()\n\n    f()")
GATHERED = """
    @task
    async def step():
        await asyncio.sleep(600)

    @flow(on_crashed=[crashed])
    async def f():
        asyncio.get_running_loop().call_later(0.1, ready)
        await asyncio.gather(*(step() for _ in range(10)))

    asyncio.run(f())
"""
PROGRAMS = pytest.mark.parametrize(
    "body",
    [SYNC, ASYNC, BLOCKED, IN_A_TASK, SUBMITTED, GATHERED],
    ids=["plain", "async", "a blocked loop", "in a task", "submitted", "gathered"],
)


@PROGRAMS
def test_sigterm_crashes_the_flow_runs_its_hooks_and_ends_the_process_as_it_would_have(program: Any, body: str) -> None:
    running = program(body)
    status, out, err = running.send(signal.SIGTERM)
    assert status == -signal.SIGTERM, err
    assert out == "hook: CRASHED | Execution was interrupted by SIGTERM: the process was told to end\n"
    assert "Traceback" not in err
    history = running.history()
    assert history["f"] == ("CRASHED", "Execution was interrupted by SIGTERM: the process was told to end")
    if "step" in body:
        assert history["step"][0] == "CRASHED"


# A loop that is blocked hears Ctrl-C only the second time: so asyncio has it.
@pytest.mark.parametrize("body", [SYNC, ASYNC, IN_A_TASK, SUBMITTED, GATHERED])
def test_ctrl_c_crashes_the_flow_runs_its_hooks_and_goes_on(program: Any, body: str) -> None:
    running = program(body)
    status, out, err = running.send(signal.SIGINT)
    assert status == -signal.SIGINT, err
    assert out.startswith("hook: CRASHED | Execution was ")
    assert "KeyboardInterrupt" in out or "Ctrl-C" in out
    assert running.history()["f"][0] == "CRASHED"


def test_a_second_ctrl_c_does_not_break_into_the_clean_up(program: Any) -> None:
    running = program("""
        def slow(flow, run, state):
            ready()
            time.sleep(0.5)
            print("cleaned up")

        @flow(on_crashed=[slow])
        def f():
            ready()
            nap()

        f()
    """)
    status, out, err = running.send(signal.SIGINT, signal.SIGINT)
    assert (status, out) == (-signal.SIGINT, "cleaned up\n"), err
    assert "Press Ctrl-C once more" in err
    assert running.history()["f"][0] == "CRASHED"


def test_a_third_one_does(program: Any) -> None:
    running = program("""
        def slow(flow, run, state):
            ready()
            time.sleep(0.5)
            ready()
            nap()

        @flow(on_crashed=[slow])
        def f():
            ready()
            nap()

        f()
    """)
    status, out, err = running.send(signal.SIGINT, signal.SIGINT, signal.SIGINT)
    assert (status, out) == (-signal.SIGINT, ""), err


def test_sigterm_in_a_task_outside_of_flows(program: Any) -> None:
    running = program("""
        @task
        def step():
            ready()
            nap()

        step()
    """)
    status, _, err = running.send(signal.SIGTERM)
    assert status == -signal.SIGTERM, err
    assert running.history()["step"][0] == "CRASHED"


def test_a_handler_of_the_users_is_theirs_to_call(program: Any) -> None:
    running = program("""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))

        @flow(on_crashed=[crashed])
        def f():
            ready()
            nap()

        f()
    """)
    status, out, err = running.send(signal.SIGTERM)
    assert (status, out) == (7, "hook: CRASHED | Execution was interrupted by SystemExit: 7\n"), err


def test_what_was_kept_stays_what_was_staged_is_rolled_back_and_locks_are_given_back(program: Any) -> None:
    body = """
        from kept.transactions import IsolationLevel

        alone = INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE)

        @task(cache_policy=INPUTS)
        def kept(x):
            return x

        @task(cache_policy=INPUTS)
        def staged(x):
            return x

        @staged.on_rollback
        def undo(txn):
            print("rolled back", flush=True)

        @task(cache_policy=alone)
        def locked(x):
            if "again" not in os.environ:
                ready()
                nap()
            return x

        @flow
        def f():
            states = [kept(1, return_state=True).name]
            with transaction():
                states.append(staged(2, return_state=True).name)
                states.append(locked(3, return_state=True).name)
            print(*states)

        f()
    """
    status, out, err = program(body).send(signal.SIGTERM)
    assert (status, out) == (-signal.SIGTERM, "rolled back\n"), err
    again = program('\nos.environ["again"] = "1"\n' + textwrap.dedent(body))
    status, out, err = again.send()
    assert (status, out) == (0, "Cached Completed Completed\n"), err


def test_threads_that_can_be_stopped_are_gone_and_those_that_can_not_are_named(program: Any) -> None:
    running = program("""
        began = threading.Barrier(4)

        @task
        def busy():
            began.wait()
            while True:
                time.sleep(0.001)

        @task
        async def awaiting():
            began.wait()
            await asyncio.sleep(600)

        @task
        def deaf():
            began.wait()
            time.sleep(600)

        @task
        def never(x):
            print("never")

        @flow(on_crashed=[crashed])
        def f():
            futures = [busy.submit(), awaiting.submit(), deaf.submit()]
            never.submit(futures[0])
            began.wait()
            ready()
            time.sleep(600)

        try:
            f()
        except KeyboardInterrupt:
            print(*sorted(thread.name for thread in threading.enumerate() if "task" in thread.name))
    """)
    status, out, err = running.send(signal.SIGINT)
    assert (status, out) == (0, "hook: CRASHED | Execution was interrupted by KeyboardInterrupt\nkept-task\n"), err
    unstopped = [line for line in err.splitlines() if "can't be stopped" in line]
    assert len(unstopped) == 1
    assert "Task run 'deaf-" in unstopped[0]
    assert "it is in a call that does not return to Python" in unstopped[0]
    history = running.history()
    assert {name: state for name, (state, _) in history.items()} == {
        "f": "CRASHED",
        "busy": "CRASHED",
        "awaiting": "CRASHED",
        "deaf": "CRASHED",
        "never": "CANCELLED",
    }
    assert history["busy"][1] == "Execution was stopped because the flow run around it has ended"


EXITS = """
    @task
    def leave():
        sys.exit(3)

    @flow(on_crashed=[crashed])
    def f():
        {}

    f()
"""


@pytest.mark.parametrize("where", ["sys.exit(3)", "leave()", "leave.submit().result()"])
def test_an_exit_crashes_the_flow_and_exits(program: Any, where: str) -> None:
    running = program(EXITS.format(where))
    status, out, err = running.send()
    assert (status, out) == (3, "hook: CRASHED | Execution was interrupted by SystemExit: 3\n"), err
    assert {state for state, _ in running.history().values()} == {"CRASHED"}


def test_a_cancelled_async_flow_is_crashed_and_cancels_what_it_submitted(program: Any) -> None:
    running = program("""
        @task
        async def step():
            await asyncio.sleep(600)

        @flow(on_crashed=[crashed])
        async def f():
            step.submit()
            await step()

        async def main():
            flow = asyncio.ensure_future(f())
            await asyncio.sleep(0.2)
            flow.cancel()
            try:
                await flow
            except asyncio.CancelledError:
                print("cancelled")

        asyncio.run(main())
    """)
    status, out, err = running.send()
    assert status == 0, err
    assert out.startswith("hook: CRASHED | Execution was cancelled by the runtime environment")
    assert out.endswith("cancelled\n")
    assert [state for state, _ in running.history().values()] == ["CRASHED", "CRASHED"]


def test_the_handlers_of_signals_are_given_back() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a task outside of flows leaves ours in its place
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    inside: list[Any] = []

    @task
    def step() -> None:
        inside.append(signal.getsignal(signal.SIGTERM))

    @flow
    def f() -> None:
        step()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        f()
    assert signal.SIG_DFL not in inside
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_sigterm_between_tasks_outside_of_flows_ends_the_process(program: Any) -> None:
    running = program("""
        @task
        def step():
            pass

        step()
        print("after")
        ready()
        nap()
    """)
    assert running.process.stdout.readline() == "after\n"
    status, out, err = running.send(signal.SIGTERM)
    assert (status, out) == (-signal.SIGTERM, ""), err


def test_sigterm_in_a_forked_child_of_a_flow_is_the_childs(program: Any) -> None:
    running = program("""
        @flow(on_crashed=[crashed])
        def f():
            told, tell = os.pipe()
            child = os.fork()
            if not child:
                os.write(tell, b"!")
                nap()
                os._exit(0)
            os.read(told, 1)
            os.kill(child, signal.SIGTERM)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        f()
    """)
    status, out, err = running.send()
    assert (status, out) == (0, f"{-signal.SIGTERM}\n"), err
