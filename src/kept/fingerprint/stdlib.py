"""Rules for the data types of the standard library, by name, so that none is imported for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from kept.fingerprint.builtins import attributes, no_content
from kept.fingerprint.canonical import Node
from kept.fingerprint.plain import buffer_digest

Rule = Callable[[Any], Node]


def rule_for(kind: type) -> Rule | None:
    """Return the rule for exactly this type, checking that the type really is the one of that name."""
    rule = _RULES.get(f"{kind.__module__}.{kind.__qualname__}")
    if rule is None or getattr(sys.modules.get(kind.__module__), kind.__qualname__, kind) is not kind:
        return None
    return rule


def _content(tag: str, content: Callable[[Any], object]) -> Rule:
    """Return a rule for values whose content is one plain value."""
    return lambda value: Node(tag, content(value))


def _parts(tag: str, *names: str) -> Rule:
    """Return a rule for values that are some of their attributes."""
    return lambda value: Node(tag, None, tuple([getattr(value, name) for name in names]), lambda i: f".{names[i]}")


def _with_attributes(rule: Rule, *own: str) -> Rule:
    """Return a rule for values that take any attribute; `own` ones are content already.

    Those of a subclass count as the state of the subclass.
    """

    def described(value: Any) -> Node:
        node = rule(value)
        more = {name: item for name, item in vars(value).items() if name not in own}
        if not more or rule_for(type(value)) is None:
            return node
        step, last = node.step, len(node.children)
        children = (*node.children, attributes(more))
        return node._replace(children=children, step=lambda i: "" if i == last or step is None else step(i))

    return described


# --- datetime, numbers, names ----------------------------------------------------------------------


def _datetime(value: Any) -> Node:
    """Describe an instant as its fields, its fold and its time zone; `value` may be a subclass with more."""
    fields = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return Node("datetime", (*fields, value.fold), _zone(value.tzinfo), lambda _: ".tzinfo")


def _time(value: Any) -> Node:
    fields = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return Node("time", fields, _zone(value.tzinfo), lambda _: ".tzinfo")


def _zone(zone: object) -> tuple[object, ...]:
    return () if zone is None else (zone,)


def _timezone(value: Any) -> Node:
    offset = value.utcoffset(None)
    return Node("timezone", (offset.days, offset.seconds, offset.microseconds, value.tzname(None)))


def _zone_info(value: Any) -> Node:
    """Describe a zone by its key; one read from a file without a key, by what it does."""
    if value.key is None:
        return no_content("a time zone without a key")(value)
    return Node("ZoneInfo", value.key)


def _decimal(value: Any) -> Node:
    sign, digits, exponent = value.as_tuple()
    return Node("Decimal", (sign, "".join(map(str, digits)), exponent))


def _counted(tag: str) -> Rule:
    return lambda value: Node(tag, None, (dict(value),), lambda _: "")


def _path(value: Any) -> Node:
    """Describe a path as its text and its flavour: what it points to is the business of `File` and `Dir`."""
    pure = "Windows" if "Windows" in type(value).__name__ else "Posix"
    return Node("path", (pure, hasattr(value, "stat"), str(value)))


# --- collections -----------------------------------------------------------------------------------


def _deque(value: Any) -> Node:
    return Node("deque", value.maxlen, (list(value),), lambda _: "")


def _ordered_dict(value: Any) -> Node:
    pairs = list(value.items())
    return Node("OrderedDict", None, ([key for key, _ in pairs], [item for _, item in pairs]), _keys_or_values)


def _keys_or_values(index: int) -> str:
    return (".keys()", ".values()")[index]


def _default_dict(value: Any) -> Node:
    return Node("defaultdict", None, (value.default_factory, dict(value)), (".default_factory", "").__getitem__)


def _array(value: Any) -> Node:
    """Describe an array by its type code, the width of its elements on this machine, and bytes."""
    return Node("array", (value.typecode, value.itemsize, len(value), sys.byteorder, buffer_digest(value)))


def _bytes_io(value: Any) -> Node:
    return Node("BytesIO", (value.tell(), buffer_digest(value.getbuffer())))


def _string_io(value: Any) -> Node:
    return Node("StringIO", (value.tell(), value.getvalue()))


def _itemgetter(value: Any) -> Node:
    kind, args = value.__reduce__()[:2]
    return Node(kind.__name__, None, args)


def _methodcaller(value: Any) -> Node:
    made_by, args = value.__reduce__()
    keywords = getattr(made_by, "keywords", {})
    return Node("methodcaller", None, (args if not keywords else made_by.args[1:] + args, keywords))


_PATHS = ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath")
_FILE = no_content("an open file", "has no stable content; pass its path")
_SOCKET = no_content("a socket")
_LOCK = no_content("a lock")
_MOCK = no_content("a mock", "makes new content whenever it is looked at")
_ASYNC_LOCKS = ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore")
_DATABASE = no_content("a database connection")
_ITERATOR = no_content("an iterator", "gives its items only once; pass list(...) of it")

_RULES: dict[str, Rule] = {
    "datetime.date": _content("date", lambda value: (value.year, value.month, value.day)),
    "datetime.datetime": _datetime,
    "datetime.time": _time,
    "datetime.timedelta": _content("timedelta", lambda value: (value.days, value.seconds, value.microseconds)),
    "datetime.timezone": _timezone,
    "zoneinfo.ZoneInfo": _zone_info,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _content("Fraction", lambda value: (value.numerator, value.denominator)),
    "uuid.UUID": _content("UUID", lambda value: value.int),
    "collections.deque": _deque,
    "collections.OrderedDict": _with_attributes(_ordered_dict),
    "collections.defaultdict": _default_dict,
    "collections.Counter": _with_attributes(_counted("Counter")),
    "collections.ChainMap": _with_attributes(_parts("ChainMap", "maps"), "maps"),
    "collections.UserDict": _with_attributes(_parts("UserDict", "data"), "data"),
    "collections.UserList": _with_attributes(_parts("UserList", "data"), "data"),
    "collections.UserString": _with_attributes(_parts("UserString", "data"), "data"),
    "array.array": _array,
    "re.Pattern": _content("re.Pattern", lambda value: (value.pattern, value.flags)),
    "ipaddress.IPv4Address": _content("IPv4Address", int),
    "ipaddress.IPv6Address": _content("IPv6Address", str),
    "ipaddress.IPv4Network": _content("IPv4Network", str),
    "ipaddress.IPv6Network": _content("IPv6Network", str),
    "ipaddress.IPv4Interface": _content("IPv4Interface", str),
    "ipaddress.IPv6Interface": _content("IPv6Interface", str),
    "random.Random": _with_attributes(lambda value: Node("Random", value.getstate()), "gauss_next"),
    "_io.BytesIO": _bytes_io,
    "_io.StringIO": _string_io,
    "operator.itemgetter": _itemgetter,
    "operator.attrgetter": _itemgetter,
    "operator.methodcaller": _methodcaller,
    **{f"{module}.{name}": _path for module in ("pathlib", "pathlib._local") for name in _PATHS},
    **dict.fromkeys(("_io.FileIO", "_io.TextIOWrapper", "_io.BufferedReader", "_io.BufferedWriter"), _FILE),
    **dict.fromkeys(("_io.BufferedRandom", "_io.BufferedRWPair"), _FILE),
    **dict.fromkeys(("_socket.socket", "socket.socket", "ssl.SSLSocket"), _SOCKET),
    **dict.fromkeys(("_thread.lock", "_thread.RLock", "threading.Lock", "threading._RLock"), _LOCK),
    **dict.fromkeys([f"asyncio.locks.{name}" for name in _ASYNC_LOCKS], _LOCK),
    "unittest.mock.NonCallableMock": _MOCK,
    **dict.fromkeys(("sqlite3.Connection", "sqlite3.Cursor"), _DATABASE),
    **dict.fromkeys(("_queue.SimpleQueue",), no_content("a queue")),
    **dict.fromkeys(("threading.Thread", "_thread._localdummy"), no_content("a thread")),
    **dict.fromkeys(("_thread._local", "_contextvars.ContextVar", "_contextvars.Token"), no_content("a context")),
    **dict.fromkeys(("_asyncio.Future", "_asyncio.Task"), no_content("an asyncio future", "has no value yet")),
    **dict.fromkeys(("_random.Random", "random.SystemRandom"), no_content("a random generator")),
    **dict.fromkeys(("_csv.reader", "_csv.writer"), _ITERATOR),
}
