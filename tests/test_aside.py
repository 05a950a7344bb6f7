"""Threads for reading and writing: many at a time, none before it is needed, none that a process waits for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from kept.context import current_tags, tags
from kept.utilities import aside
from kept.utilities.aside import call_aside, together
from kept.utilities.effects import in_thread

MANY = 40


def meeting(count: int) -> threading.Barrier:
    """Where so many have to be at the same time; a test that waits in vain fails."""
    return threading.Barrier(count, timeout=20)


def test_many_calls_of_an_event_loop_are_made_at_the_same_time() -> None:
    met = meeting(MANY)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*[in_thread(met.wait) for _ in range(MANY)])

    assert sorted(asyncio.run(all_of_them())) == list(range(MANY))


def test_there_are_no_more_threads_than_that() -> None:
    gate = threading.Event()
    futures = [call_aside(gate.wait, 20) for _ in range(2 * aside.MOST)]
    at_work = [thread for thread in threading.enumerate() if thread.name == "kept-io"]
    gate.set()
    assert all(future.result(20) for future in futures)
    assert len(at_work) <= aside.MOST


def test_a_call_sees_the_context_of_who_asked_for_it() -> None:
    with tags("far"):
        assert call_aside(lambda: threading.current_thread().name).result(20) == "kept-io"
        assert call_aside(current_tags).result(20) == {"far"}


def test_what_a_call_raises_is_raised_where_it_is_waited_for() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread(lambda: 1 // 0))


def test_things_are_done_together_and_given_in_their_order() -> None:
    met = meeting(8)
    assert together(lambda n: (met.wait(), n)[1], range(8)) == list(range(8))
    assert together(str, []) == []


def test_things_are_done_together_also_where_all_threads_are_at_work() -> None:
    gate = threading.Event()
    futures = [call_aside(gate.wait, 20) for _ in range(aside.MOST)]
    assert together(str, range(3)) == ["0", "1", "2"]
    gate.set()
    assert all(future.result(20) for future in futures)


def test_an_error_of_things_done_together_is_raised_when_what_has_begun_has_ended() -> None:
    met, ended = meeting(4), []

    def half(n: int) -> None:
        met.wait()
        if n % 2:
            raise ValueError(n)
        ended.append(n)

    with pytest.raises(ValueError, match="[13]"):
        together(half, range(4))
    assert sorted(ended) == [0, 2]


def test_a_thread_without_work_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "_IDLE_SECONDS", 0.01)
    monkeypatch.setattr(aside, "_crew", aside._Crew())
    thread = call_aside(threading.current_thread).result(20)
    thread.join(20)
    assert not thread.is_alive()
    assert call_aside(str, 1).result(20) == "1"  # there is a new one


def test_a_process_does_not_wait_for_a_call_that_hangs() -> None:
    program = (
        "import time\n"
        "from kept.utilities.aside import call_aside\n"
        "print(call_aside(str, 'begun').result())\n"
        "call_aside(time.sleep, 600)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "begun\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    assert call_aside(str, 1).result(20) == "1"
    child = os.fork()
    if not child:
        try:
            os._exit(0 if call_aside(str, 2).result(20) == "2" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
