"""A worker process of `ProcessPoolTaskRunner`: calls what it is sent, until there is nobody to send any more."""

from __future__ import annotations

import contextlib
import contextvars
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from kept.context import FlowRun, FlowRunContext, TaskRunContext, enter_run, enter_tags
from kept.engine.drivers import drive_to_end
from kept.engine.effects import Call, Steps
from kept.engine.generators import UNFINISHED, finished
from kept.engine.outcome import is_outcome
from kept.futures import resolve_futures_to_states, wait
from kept.logging.forwarding import Forwarder
from kept.logging.handlers import configure, send_away
from kept.logging.prints import logged_prints
from kept.results import ResultStore
from kept.settings import get_current_settings
from kept.settings.current import adopt
from kept.task_runners.background import finish
from kept.task_runners.threads import ThreadPoolTaskRunner
from kept.task_runners.travel import Answer, Around, Channel, FlowAround, RemoteCall, dumps, dumps_error
from kept.transactions import Transaction, activate

_LAST_WORDS = 1.0


class _Told(SystemExit):
    """This process was told to end."""


def main(descriptor: int) -> None:
    """Serve the calls that come through this socket."""
    # Whoever presses Ctrl-C means the program that started this one, which will say what to do.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, _end)
    channel = Channel(socket.socket(fileno=descriptor))
    # What the task starts must not hold the line when this process is gone, nor speak on it.
    os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=channel.close)
    worker = _Worker(channel)
    threading.Thread(target=worker.end_with_parent, name="kept-parent", daemon=True).start()
    worker.serve()


def _end(*_: object) -> NoReturn:
    raise _Told(128 + signal.SIGTERM)


class _Worker:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._sent: dict[int, bytes | bytearray] = {}
        self._known: dict[int, Any] = {}
        self._contexts: dict[int, contextvars.Context] = {}
        self._around = -1
        self._left = False
        self._process = os.getpid()
        self._forwarder = Forwarder(self._send)

    def serve(self) -> None:
        """Answer calls until an empty message comes. What is sent for them to refer to comes with its number before."""
        while content := self._channel.receive():
            if content[:1] == b"D":
                self._sent[int.from_bytes(content[1:9], "little")] = content[9:]
            else:
                answer = self._answer(content)
                if os.getpid() != self._process:  # a process that the task forked, and that came to its end here
                    os._exit(1 if answer.error else 0)
                self._send(answer)
        finish()
        self._left = True
        with contextlib.suppress(OSError):
            self._send(Answer())

    def end_with_parent(self) -> None:
        """End this process when the one that started it is gone, whatever is being done."""
        hangup = select.poll()
        hangup.register(self._channel.fileno(), 0)
        hangup.poll()
        if not self._left:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_LAST_WORDS)
            os._exit(1)

    def _send(self, message: Any) -> None:
        content = pickle.dumps(message, 5)
        with self._sending:
            self._channel.send(content)

    def _answer(self, content: bytes | bytearray) -> Answer:
        try:
            call: RemoteCall = pickle.loads(content)
            return self._context(call.around).run(self._called, call)
        except _Told:
            raise
        except BaseException as error:
            return Answer(error=dumps_error(error))
        finally:
            with contextlib.suppress(Exception):  # the task may have closed it
                sys.stdout.flush()

    def _get(self, number: int) -> Any:
        if number not in self._known:
            self._known[number] = pickle.loads(self._sent[number])
        return self._known[number]

    def _context(self, number: int) -> contextvars.Context:
        """A context like that of who submitted the run: settings, tags, flows and levels of loggers."""
        around: Around = self._get(number)
        if number not in self._contexts:
            self._contexts[number] = contextvars.Context()
            self._contexts[number].run(_enter, around)
        context = self._contexts[number].copy()
        if number != self._around:
            self._around = number
            send_away(self._forwarder, around.levels)
            context.run(lambda: configure(get_current_settings()))
        return context

    def _called(self, call: RemoteCall) -> Answer:
        thing, store = self._get(call.thing), None if call.store is None else self._get(call.store)
        noted: dict[str, Any] = {}
        with _run_of(thing, call, store, noted) as runner:
            steps = _once(thing.spec, Call(thing.spec.fn, call.args, call.kwargs, call.timeout))
            value = drive_to_end(steps, None, thing.spec.is_async)
            value = resolve_futures_to_states(value)
            while pending := runner.pending() if runner else []:
                wait(pending)
        answer = _answer_with(value, store if call.persist_result else None)
        return (
            answer._replace(noted=dumps(noted, "what was set in the transaction", by_reference=True))
            if noted
            else answer
        )


def _once(spec: Any, call: Call) -> Steps[Any]:
    value = yield call
    return (yield from finished(value, call.timeout, spec)) if value.__class__ in UNFINISHED else value


def _enter(around: Around) -> None:
    adopt(around.settings)
    enter_tags(around.tags)
    context: FlowRunContext | None = None
    for flow in around.flows:
        # What is submitted inside of a worker runs there, on threads.
        context = _flow_context(flow, ThreadPoolTaskRunner(), context)
    if context is not None:
        enter_run(context)


def _flow_context(flow: FlowAround, runner: Any, parent: FlowRunContext | None) -> FlowRunContext:
    flow.run.parameters = flow.parameters
    return FlowRunContext(
        flow.flow, flow.run, flow.parameters, runner, flow.persist_result, flow.result_store, flow.log_prints, parent
    )


@contextmanager
def _run_of(thing: Any, call: RemoteCall, store: ResultStore | None, noted: dict[str, Any]) -> Iterator[Any]:
    """The run around the call, as it is in the process that submitted it; gives what runs things submitted inside."""
    around = FlowRunContext.get()
    parameters = thing.spec.binder.bind(call.args, call.kwargs) if call.args else call.kwargs
    run = call.run
    run.parameters = parameters
    if isinstance(run, FlowRun):
        with thing.task_runner.duplicate() as runner, _printing(call.log_prints):
            enter_run(
                FlowRunContext(thing, run, parameters, runner, call.persist_result, store, call.log_prints, around)
            )
            yield runner
        return
    enter_run(TaskRunContext(thing, run, parameters, bool(call.persist_result), store, around, call.log_prints, around))
    txn = Transaction(store=store, of_task=True)
    activate(txn)
    try:
        with _printing(call.log_prints):
            yield around.task_runner if around else None
    except BaseException:
        txn.rollback()
        raise
    noted.update(txn._values)
    txn.commit()


@contextmanager
def _printing(logged: bool) -> Iterator[None]:
    if not logged:
        yield
        return
    with logged_prints():
        yield


def _answer_with(value: Any, store: ResultStore | None) -> Answer:
    if store is not None and store.faithful and store.shared and not is_outcome(value):
        try:
            return Answer(entry=store.pack(value, ""))
        except Exception:  # the run itself will say why its result is not kept
            return Answer(payload=dumps(value, "the result", by_reference=True))
    return Answer(payload=dumps(value, "the result", by_reference=True))
