"""The runner on processes: the functions of tasks are called there, everything else of their runs happens here.

So keys, hooks, retries, transactions and records are the same as with any other runner, a hit needs no process, and a
process that is killed takes nothing with it but the call that it was at. `concurrent.futures.ProcessPoolExecutor` would
lose all calls with one process, could not say which one that was at, and has no way for log lines to come in order.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

from kept.context import FlowRunContext, Run, RunContext, TaskRunContext, current_run, current_tags, flow_context_of
from kept.engine.drivers import drive
from kept.engine.effects import Call, Effect, Io, RunTimeout, Steps
from kept.exceptions import CancelledRun, CrashedRun, SerializationError
from kept.futures import KeptConcurrentFuture, KeptFuture, can_hold_handles, find_handles, unfinished
from kept.logging.forwarding import handle, levels
from kept.results import ResultStore, relabelled
from kept.settings import get_current_settings
from kept.states import Cancelled, Crashed
from kept.store.entry import Entry, Miss
from kept.task_runners.base import Countdown, Runnable, TaskRunner, checked_workers
from kept.task_runners.travel import (
    Answer,
    Around,
    FlowAround,
    FlowFacts,
    RemoteCall,
    RunFacts,
    dumps,
    loads_error,
    parameters_sent,
)
from kept.transactions import get_transaction

_START = (
    "import sys; sys.path[:] = {path!r}; sys.argv[1:] = {argv!r}; "
    "from kept.task_runners.worker import main; main({descriptor})"
)
_LATE = 0.5
"""Seconds that a process has to stop a call whose time is up, or to end when it is told to, before it is killed."""
_PATIENCE = 10.0
"""Seconds that a process has to end when it has nothing left to do."""


class WorkerLost(BaseException):
    """The process that was at a call has ended. No `Exception`: the run did not fail, and is not tried again."""


class ProcessPoolTaskRunner(TaskRunner[KeptConcurrentFuture[Any]]):
    """Runs tasks in processes of their own, for work that keeps a processor busy.

    Each process is a fresh interpreter that imports what the tasks need; it does not run the script, so that needs no
    `if __name__ == "__main__":`. What the script, a notebook or a function defines is sent there by value. Arguments
    and results have to be picklable. Hooks run in this process, as do policies, retries and commits. A task that
    submits tasks has them run on threads of its own process.

    Arguments:
        max_workers: processes at most; by default the setting KEPT_TASKS_RUNNER_PROCESS_POOL_MAX_WORKERS, or one for
            each processor.

    Raises:
        ConfigurationError: `max_workers` is not a whole number above 0.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = checked_workers(max_workers)
        self._pending: set[KeptFuture[Any]] = set()
        self._waiting: queue.SimpleQueue[_SubmittedRun | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._workers: list[_Worker] = []
        self._starting = threading.Lock()
        self._sendable = _Sendable()
        self._closed = False

    def duplicate(self) -> ProcessPoolTaskRunner:
        """A fresh runner with the same options."""
        return type(self)(self.max_workers)

    def submit(
        self, task: Runnable, parameters: dict[str, Any], wait_for: Iterable[Any] | None = None
    ) -> KeptConcurrentFuture[Any]:
        """Start a task run in a process as soon as its inputs are there.

        Raises:
            SerializationError: the task or an argument can't be pickled; the message says which part of which.
        """
        waits = list(wait_for or ())
        run = _SubmittedRun(task, parameters, waits, self._sendable)
        upstream = unfinished(find_handles([parameters, waits])) if waits or can_hold_handles(parameters) else []
        if not upstream and run.advance():
            return run.future
        self._pending.add(run.future)
        run.future.add_done_callback(self._pending.discard)
        if upstream:
            Countdown(upstream, lambda: self._give(run))
        else:
            self._give(run)
        return run.future

    def pending(self) -> list[KeptFuture[Any]]:
        """The futures of submitted runs that have not ended."""
        return list(self._pending)

    def cancel_all(self) -> None:
        """End all runs that have not ended, and the processes that are at them."""
        self._closed = True
        self._abandon_waiting()
        for worker in self._workers:
            worker.tell_to_end()
        for worker in self._workers:
            worker.stop(_LATE)

    def _give(self, run: _SubmittedRun) -> None:
        if self._closed:
            run.abandon()
            return
        self._waiting.put(run)
        if self._free.acquire(blocking=False):
            return
        with self._starting:
            if len(self._workers) < self._most():
                worker = _Worker(self._waiting, self._free, self._sendable)
                self._workers.append(worker)
                worker.thread.start()

    def _most(self) -> int:
        return self.max_workers or get_current_settings().tasks.runner.process_pool_max_workers or os.cpu_count() or 1

    def _abandon_waiting(self) -> None:
        while not self._waiting.empty():
            run = self._waiting.get()
            if run is not None:
                run.abandon()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """End the processes: when all is done, or after an interrupt at once."""
        if kind is not None:
            self.cancel_all()
        for _ in self._workers:
            self._waiting.put(None)
        for worker in self._workers:
            worker.thread.join(None if kind is None else _LATE)
        self._workers.clear()
        if kind is not None:
            self._abandon_waiting()


class _SubmittedRun:
    """One submitted run: begun by who submits it, which is how far hits get, and ended by a thread that has a process.

    The arguments are pickled when the run begins, so what is kept is what the key says, whatever happens to them later.
    """

    def __init__(self, thing: Runnable, parameters: dict[str, Any], wait_for: list[Any], sendable: _Sendable) -> None:
        self._thing = thing
        self._sendable = sendable
        self._context = contextvars.copy_context()
        steps = thing.new_run(parameters)
        self.future: KeptConcurrentFuture[Any] = KeptConcurrentFuture(steps.run)
        self._run: Any = steps.run
        self._steps = self._elsewhere(steps.steps(wait_for))
        self._first: Effect | None = None
        self._worker: _Worker | None = None
        self._submitting = False
        self._packed: tuple[Any, Entry] | None = None

    def advance(self) -> bool:
        """Go on until there is something for a process to do; whether that was to the end."""
        self._submitting = True
        try:
            self._first = self._context.run(next, self._steps)
        except StopIteration as end:
            self.future.end(end.value)
            return True
        finally:
            self._submitting = False
        return False

    def finish(self, worker: _Worker) -> None:
        """Go on to the end with the process of this worker, and give the state to the future."""
        self._worker = worker
        try:
            state = self._context.run(drive, self._steps, self._first)
        except WorkerLost as lost:
            state = self._run.state = Crashed(message=str(lost), data=CrashedRun(str(lost)))
        except BaseException as error:
            state = self._run.state
            if state is None or not state.is_final():
                state = Crashed(message=f"The run was interrupted by {error!r}", data=error)
        self._worker = self._packed = None
        self.future.end(state)

    def abandon(self) -> None:
        """End before the start, because the flow run is over."""
        self._context.run(self._steps.close)
        message = "The flow run was interrupted before this run began."
        self.future.end(Cancelled(message=message, data=CancelledRun(message)))

    def _elsewhere(self, steps: Steps[Any]) -> Steps[Any]:
        """The steps of the run, but for those that are done in a process."""
        try:
            effect = next(steps)
            while True:
                try:
                    effect = self._redirected(effect)
                except SerializationError as error:
                    if self._submitting:
                        steps.close()
                        raise
                    effect = steps.throw(error)
                    continue
                try:
                    answer = yield effect
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as end:
            return end.value

    def _redirected(self, effect: Effect) -> Effect:
        """The call of the user's function goes to a process, and what that has packed need not be packed here."""
        if isinstance(effect, Call) and effect.fn is self._thing.spec.fn:
            return Io(self._called, (self._message(effect), effect.timeout), True)
        if self._packed is not None and isinstance(effect, Io) and _packs(effect, self._packed[0]):
            return Io(relabelled, (self._packed[1], *effect.args[1:]), False)
        return effect

    def _message(self, call: Call) -> _Message:
        context, sendable, thing = current_run(), self._sendable, self._thing
        assert isinstance(context, (TaskRunContext, FlowRunContext))
        run = context.task_run if isinstance(context, TaskRunContext) else context.flow_run
        store = context.result_store
        kind = f"{type(thing).__name__.lower()} {thing.spec.name!r}"
        try:
            remote = RemoteCall(
                thing=sendable.thing(thing, kind),
                is_flow=isinstance(context, FlowRunContext),
                around=sendable.around(flow_context_of(context.parent)),
                store=None if store is None else sendable.store(store),
                run=_facts(run),
                args=call.args,
                kwargs=call.kwargs,
                timeout=call.timeout,
                persist_result=context.persist_result,
                log_prints=context.log_prints,
            )
            content = _pickled(remote, thing)
        except SerializationError as error:
            raise SerializationError(
                f"{kind[0].upper()}{kind[1:]} can't be run in another process: {error}. Leave this out, make it "
                "inside of the function, or use a ThreadPoolTaskRunner."
            ) from error
        return _Message(
            content, [number for number in (remote.thing, remote.around, remote.store) if number is not None]
        )

    def _called(self, message: _Message, timeout: float | None) -> Any:
        assert self._worker is not None
        answer = self._worker.call(message, timeout)
        if answer.error is not None:
            raise loads_error(answer.error)
        txn = get_transaction()
        if txn is not None:
            for name, value in answer.noted.items():
                txn.set(name, value)
        if answer.entry is None:
            return pickle.loads(answer.payload or b"")
        context: Any = current_run()
        value = context.result_store.fetch(answer.entry)
        if isinstance(value, Miss):
            raise SerializationError(f"The result that the process packed can't be read: {value.reason}")
        self._packed = (value, answer.entry)
        return value


def _packs(effect: Io, value: Any) -> bool:
    return getattr(effect.fn, "__func__", None) is ResultStore.pack and effect.args[0] is value


class _Message(NamedTuple):
    """A call, as it is sent."""

    content: bytes
    numbers: list[int]
    """What it refers to, which has to be there before."""


class _Sendable:
    """What calls refer to, pickled once and numbered."""

    def __init__(self) -> None:
        self._numbers: dict[Any, tuple[int, Any]] = {}
        self._contents: list[bytes] = []
        self._adding = threading.Lock()

    def __getitem__(self, number: int) -> bytes:
        return self._contents[number]

    def thing(self, thing: Any, kind: str) -> int:
        """The number of a task or flow."""
        return self._number((id(thing), id(thing.spec)), thing, lambda: dumps(thing, kind))

    def store(self, store: ResultStore) -> int:
        """The number of a store."""
        return self._number(id(store), store, lambda: dumps(store, "its result_storage"))

    def around(self, flow: FlowRunContext | None) -> int:
        """The number of what surrounds this code."""
        settings, tags = get_current_settings(), current_tags()
        key = (id(settings), tags, id(flow))
        return self._number(key, (settings, flow), lambda: dumps(_around(flow), "the flow"))

    def _number(self, key: Any, held: Any, pickled: Callable[[], bytes]) -> int:
        if key not in self._numbers:
            with self._adding:
                self._contents.append(pickled())
                # Held, so that nothing else can come to have its id.
                self._numbers[key] = (len(self._contents) - 1, held)
        return self._numbers[key][0]


def _around(flow: FlowRunContext | None) -> Around:
    flows: list[FlowAround] = []
    context: RunContext | None = flow
    while context is not None:
        if isinstance(context, FlowRunContext):
            flows.insert(0, _flow_around(context))
        context = context.parent
    return Around(dict(get_current_settings().values), current_tags(), flows, levels())


def _flow_around(context: FlowRunContext) -> FlowAround:
    flow = context.flow
    return FlowAround(
        FlowFacts(flow.name, flow.version, flow.description),
        _facts(context.flow_run),
        parameters_sent(context.parameters),
        context.persist_result,
        context.result_store,
        context.log_prints,
    )


def _facts(run: Run) -> RunFacts:
    return RunFacts(run.id, run.name, run.tags, run.flow_run_id, run.run_count, run.started)


class _Worker:
    """A thread of this process, and the process that it has.

    The process is started with the first call, and again if it was lost.
    """

    def __init__(
        self, waiting: queue.SimpleQueue[_SubmittedRun | None], free: threading.Semaphore, sendable: _Sendable
    ) -> None:
        self.thread = threading.Thread(target=self._work, name="kept-process", daemon=True)
        self._waiting = waiting
        self._free = free
        self._sendable = sendable
        self._closed = False
        self._known: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection

    def _work(self) -> None:
        while (run := self._next()) is not None:
            if self._closed:
                run.abandon()
            else:
                run.finish(self)
        self._let_go()

    def _next(self) -> _SubmittedRun | None:
        try:
            return self._waiting.get_nowait()
        except queue.Empty:
            self._free.release()
            return self._waiting.get()

    def call(self, message: _Message, timeout: float | None) -> Answer:
        """Have the process answer; its log lines are handled on the way.

        Raises:
            WorkerLost: it has ended.
            RunTimeout: it did not come to an end when its time was up, and was killed.
        """
        try:
            self._send(message)
        except OSError:  # killed while it had nothing to do
            self._forget()
            self._send(message)
        until = None if timeout is None else time.monotonic() + timeout + _LATE
        while True:
            if until is not None and not self._connection.poll(max(0.0, until - time.monotonic())):
                self.stop(0)
                self._forget()
                raise RunTimeout
            try:
                told = pickle.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                raise WorkerLost(self._how_it_ended()) from None
            if isinstance(told, Answer):
                return told
            handle(told)

    def _send(self, message: _Message) -> None:
        if self._process is None:
            self._start()
        for number in message.numbers:
            if number not in self._known:
                self._connection.send_bytes(b"D" + number.to_bytes(8, "little") + self._sendable[number])
                self._known.add(number)
        self._connection.send_bytes(message.content)

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        start = _START.format(path=sys.path, argv=sys.argv[1:], descriptor=theirs.fileno())
        with theirs:
            # A session of its own: Ctrl-C is for this process to handle, and what the other one starts can be ended
            # together with it.
            self._process = subprocess.Popen(
                [sys.executable, "-c", start],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        if self._closed:
            self.stop(0)

    def _how_it_ended(self) -> str:
        self.stop(_LATE)
        assert self._process is not None
        code = self._process.returncode
        self._forget()
        if self._closed:
            return "The flow run was interrupted, and the process that ran this was ended."
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
        return f"The process that ran this was {how}. What other processes ran goes on."

    def _forget(self) -> None:
        if self._process is not None:
            self._connection.close()
        self._process = None
        self._known.clear()

    def tell_to_end(self) -> None:
        """Let the process break off what it is at."""
        self._closed = True
        self._signal(signal.SIGTERM)

    def stop(self, patience: float) -> None:
        """See that the process has ended: after `patience` seconds it is killed, with all that it started."""
        process = self._process
        if process is not None:
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                process.wait()

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _let_go(self) -> None:
        """End the process when it is free, and give it the time to write what it has to write."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._connection.send_bytes(b"")
            self.stop(_PATIENCE)
            self._forget()


def _pickled(call: RemoteCall, thing: Runnable) -> bytes:
    try:
        return dumps(call, "its arguments")
    except SerializationError:
        for name, value in (thing.spec.binder.bind(call.args, call.kwargs) if call.args else call.kwargs).items():
            dumps(value, f"argument {name!r}")
        raise
