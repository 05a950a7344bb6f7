"""The one encoding of values, version 1: value -> bytes -> BLAKE3 digest.

A *plain* value has the bytes that `plain.py` gives it, and the digest `b3p:BLAKE3(PLAIN + bytes)`.

Everything else is *structured*, and described by a `Node`: a tag, a plain header and children. Its digest is
`b3:BLAKE3(STRUCTURED + head + the children's tokens)`, the head being tag, header and the number of children,
a token `P<length><bytes>` for a short plain child, `Q<digest>` for a long one, `D<digest>` for a structured
one. So a digest depends on the value alone, never on where it stands: a parent may use a child's digest that
is already known.

Nodes that lie on a cycle are found with Tarjan's algorithm and digested together (see `_Component`).
Everything works with stacks of its own: nesting 100,000 levels deep is slow, not fatal.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from blake3 import blake3

from kept.exceptions import HashError
from kept.fingerprint.plain import CONTAINERS, PLAIN, PLAIN_TYPES, SORTABLE, new_buffer_hash, plain_bytes

STRUCTURED = b"kept-value-1\0node\0"
CYCLE = b"kept-value-1\0cycle\0"

# Limits are part of the format: a change is a new version.
LONG_CHILD = 1 << 10
SLICE = 1 << 10

# Deeper values are taken for endless ones: objects that make new ones whenever they are looked at.
MAX_OPEN = 200_000
_FEW = 64


class NoContent(Exception):
    """A rule's way to say that a value has no stable content; its argument is the reason."""


class MetCode(Exception):
    """Code was met where only data was wanted."""


class Encoded(bytes):
    """The canonical bytes of a header that many values share."""


class Node(NamedTuple):
    """What a structured value is made of, as a rule describes it.

    `header` is a plain value, or the `Encoded` bytes of one. `step(i)` names the way to child `i` in error
    messages, `[i]` by default. `unordered` children are sorted by their tokens. `sliced` children are lists of
    `SLICE` children each. `heavy` says that the header took work, so that it is remembered in case
    the value is met again. `code` says that it stands for code that may be another one next time.
    """

    tag: str
    header: object = None
    children: Sequence[object] = ()
    step: Callable[[int], str] | None = None
    unordered: bool = False
    sliced: bool = False
    heavy: bool = False
    code: bool = False


Describe = Callable[[Any], Node]


# --- structured values -----------------------------------------------------------------------------


def _head(node: Node) -> bytes:
    """Return the bytes that say what a node is, before those of its children."""
    header = node.header if type(node.header) is Encoded else plain_bytes(node.header)
    if header is None:
        raise TypeError(f"the header of a {node.tag} node is not plain: {node.header!r}")
    return marshal.dumps((node.tag, len(header), len(node.children)), 2) + header


def _plain_token(encoded: bytes) -> bytes:
    if len(encoded) <= LONG_CHILD:
        return b"P%c%c%s" % (len(encoded) >> 8, len(encoded) & 255, encoded)
    return b"Q" + blake3(PLAIN + encoded).digest()


def _leaf_token(head: bytes) -> bytes:
    return b"D" + blake3(STRUCTURED + head).digest()


def container_node(value: Any) -> Node:
    """Describe an exact builtin container that is not plain."""
    kind = type(value)
    if kind is dict:
        return _dict_node(value)
    if kind is list or kind is tuple:
        return sequence_node(kind.__name__, None, value)
    if set(map(type, value)) in SORTABLE:
        return sequence_node(kind.__name__ + "/sorted", None, sorted(value))
    return Node(kind.__name__, None, list(value), step=_element_step, unordered=True)


def sequence_node(tag: str, header: object, values: Any, step: Callable[[int], str] | None = None) -> Node:
    """Describe ordered children, in slices when there are many, so that plain stretches go at C speed."""
    if len(values) <= SLICE:
        return Node(tag, header, values, step)
    slices = [list(values[at : at + SLICE]) for at in range(0, len(values), SLICE)]
    return Node(tag + "/sliced", header, slices, step, sliced=True)


def _dict_node(value: dict[Any, Any]) -> Node:
    ordered = _key_order_of(value)
    if ordered is None:
        pairs = list(value.items())
        return Node("dict/pairs", None, pairs, lambda i: f"[{_brief(pairs[i][0])}]", unordered=True)
    keys, names = ordered
    values = [value[key] for key in keys]
    return sequence_node("dict", names, values, lambda i: f"[{_brief(keys[i])}]")


def _key_order_of(value: dict[Any, Any]) -> tuple[list[Any], bytes] | None:
    """Return the keys in order and their digest, or None if one of them is not plain."""
    # Rows of a table have the same few names. Only exact texts: 1 and True are one key to a cache.
    if len(value) <= _FEW and set(map(type, value)) == {str}:
        return _known_key_order(tuple(value))
    return _key_order(value)


def _key_order(keys: Iterable[Any]) -> tuple[list[Any], bytes] | None:
    encoded = {key: plain_bytes(key) for key in keys}
    if None in encoded.values():
        return None
    ordered = sorted(encoded, key=encoded.__getitem__)  # type: ignore[arg-type]
    names = new_buffer_hash()
    for key in ordered:
        names.update(marshal.dumps(encoded[key], 2))
    return ordered, names.digest()


_known_key_order = lru_cache(maxsize=1024)(_key_order)


def _brief(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _typed(value: object) -> str:
    return f"an object ({type(value).__module__}.{type(value).__qualname__})"


def _element_step(_: int) -> str:
    return "an element"


class _Frame:
    """One structured value on the way to its digest."""

    __slots__ = ("at", "component", "cursor", "head", "low", "node", "order", "parent", "tokens", "value")

    def __init__(self, value: object, node: Node, head: bytes, order: int, parent: _Frame | None) -> None:
        self.value = value
        self.node = node
        self.head = head
        self.order = self.low = order
        self.parent = parent
        self.at: int = parent.cursor if parent else 0
        self.cursor: int = 0
        self.tokens: list[bytes | _Frame] = []
        self.component: _Component | None = None


class _Walk:
    """One pass over a value: Tarjan's algorithm with a stack of its own, digests from the leaves up."""

    def __init__(self, describe: Describe, where: str, known: Mapping[int, str], only_data: bool) -> None:
        self.describe = describe
        self.only_data = only_data
        self.where = where
        self.known = known
        # Values stay referenced while their ids are in use.
        self.done: dict[int, tuple[bytes | _Frame, object]] = {}
        self.stack: list[_Frame] = []
        self.pending: list[_Frame] = []
        self.opened = 0

    def token(self, root: object) -> bytes:
        found = self._token(root, None)
        while self.stack:
            frame = self.stack[-1]
            if frame.cursor == len(frame.node.children):
                self._close(frame)
            else:
                self._advance(frame)
        found = found or self._token(root, None)
        assert isinstance(found, bytes)
        return found

    def _advance(self, frame: _Frame) -> None:
        found = self._token(frame.node.children[frame.cursor], frame)
        if found is None:
            return
        if isinstance(found, _Frame):
            frame.low = min(frame.low, found.low)
        frame.tokens.append(found)
        frame.cursor += 1

    def _token(self, value: object, parent: _Frame | None) -> bytes | _Frame | None:
        """Return the token of a value, its frame if it waits for a cycle to close, None if one was opened."""
        kind = type(value)
        done = self.done.get(id(value))
        if done is not None:
            return self._settled(done[0])
        if kind in PLAIN_TYPES:
            encoded = plain_bytes(value)
            if encoded is not None:
                return self._remember_plain(value, encoded)
        if id(value) in self.known:
            return known_token(self.known[id(value)])
        return self._open(value, kind, parent)

    def _settled(self, found: bytes | _Frame) -> bytes | _Frame:
        if isinstance(found, _Frame) and found.component is not None:
            return found.component.token(found)
        return found

    def _remember_plain(self, value: object, encoded: bytes) -> bytes:
        token = _plain_token(encoded)
        if len(encoded) > LONG_CHILD:
            self.done[id(value)] = (token, value)
        return token

    def _open(self, value: object, kind: type, parent: _Frame | None) -> bytes | None:
        try:
            node = container_node(value) if kind in CONTAINERS else self.describe(value)
            head = _head(node)
        except NoContent as error:
            raise self.error(str(error), parent, parent.cursor if parent else 0) from error.__cause__
        except Exception as error:
            reason = f"{_typed(value)} could not be read ({type(error).__name__}: {error})"
            raise self.error(reason, parent, parent.cursor if parent else 0) from error
        if node.code and self.only_data:
            raise MetCode
        if not node.children:
            token = _leaf_token(head)
            if node.heavy:
                self.done[id(value)] = (token, value)
            return token
        self.opened += 1
        if len(self.stack) >= MAX_OPEN:
            raise self.error(f"it is nested more than {MAX_OPEN:,} levels deep, so it may never end", None)
        frame = _Frame(value, node, head, self.opened, parent)
        self.done[id(value)] = (frame, value)
        self.stack.append(frame)
        self.pending.append(frame)
        return None

    def _close(self, frame: _Frame) -> None:
        self.stack.pop()
        if frame.low < frame.order:
            return
        members = [self.pending.pop()]
        while members[-1] is not frame:
            members.append(self.pending.pop())
        if len(members) == 1 and all(type(token) is bytes for token in frame.tokens):
            self.done[id(frame.value)] = (_token_of(frame), frame.value)
            return
        component = _Component(members, self)
        for member in members:
            member.component = component

    def error(self, reason: str, frame: _Frame | None, at: int = 0) -> HashError:
        """Return the error that names the way to child `at` of `frame`."""
        steps: list[str] = []
        while frame is not None:
            node, parent = frame.node, frame.parent
            if parent is not None and parent.node.sliced:
                node, at, frame = parent.node, frame.at * SLICE + at, parent
            steps.append(node.step(at) if node.step else f"[{at}]")
            at, frame = frame.at, frame.parent
        path = " -> ".join([self.where, *filter(None, reversed(steps))])
        return HashError(f"{path}: {reason}. {_cures(self.where)}")


def _token_of(frame: _Frame) -> bytes:
    tokens = sorted(frame.tokens) if frame.node.unordered else frame.tokens  # type: ignore[type-var]
    running = blake3(STRUCTURED + frame.head)
    running.update(b"".join(tokens))  # type: ignore[arg-type]
    return b"D" + running.digest()


class _Component:
    """Values that all reach each other: digested as one graph, each member as a place in it.

    The graph is written from its *anchor*, the first member among those that differ from all others by their
    own content. So wherever the walk came in, the digest is the same. Without an anchor (a ring of equal
    values) it is written from the member that is asked for.
    """

    def __init__(self, members: list[_Frame], walk: _Walk) -> None:
        self.colours = {member: _colour(member) for member in members}
        for member in members:
            if member.node.unordered:
                self._sort(member, walk)
        self.anchor = _first_unique(self.colours)
        self.written = self._write(self.anchor) if self.anchor else None
        self.tokens: dict[_Frame, bytes] = {}

    def token(self, member: _Frame) -> bytes:
        if member not in self.tokens:
            digest, numbers = self.written or self._write(member)
            self.tokens[member] = b"D" + blake3(CYCLE + b"member" + digest + _number(numbers[member])).digest()
        return self.tokens[member]

    def _write(self, start: _Frame) -> tuple[bytes, dict[_Frame, int]]:
        numbers = {start: 0}
        queue = [start]
        running = blake3(CYCLE)
        for member in queue:
            running.update(member.head)
            for token in member.tokens:
                if isinstance(token, _Frame) and token not in numbers:
                    numbers[token] = len(numbers)
                    queue.append(token)
                running.update(token if isinstance(token, bytes) else b"R" + _number(numbers[token]))
        return running.digest(), numbers

    def _sort(self, member: _Frame, walk: _Walk) -> None:
        keys = [token if isinstance(token, bytes) else b"R" + self.colours[token] for token in member.tokens]
        if len(set(keys)) < len(keys):
            reason = "its elements lead back to it and look alike, so they have no stable order"
            raise walk.error(reason, member.parent, member.at)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        member.tokens = [member.tokens[i] for i in order]


def _colour(frame: _Frame) -> bytes:
    tokens = [token if isinstance(token, bytes) else b"R" for token in frame.tokens]
    running = blake3(frame.head)
    running.update(b"".join(sorted(tokens) if frame.node.unordered else tokens))
    return running.digest()


def _first_unique(colours: dict[_Frame, bytes]) -> _Frame | None:
    owner: dict[bytes, _Frame | None] = {}
    for member, colour in colours.items():
        owner[colour] = None if colour in owner else member
    unique = [(colour, member) for colour, member in owner.items() if member is not None]
    return min(unique, key=lambda pair: pair[0])[1] if unique else None


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def known_token(fingerprint: str) -> bytes:
    """Return the token of a child whose fingerprint is known."""
    kind, _, digest = fingerprint.partition(":")
    return (b"D" if kind == "b3" else b"Q") + bytes.fromhex(digest)


def _cures(where: str) -> str:
    quoted = where.split("'")
    cures = "urn caching off with cache_policy=NO_CACHE, compute the key yourself with cache_key_fn=..., "
    cures += "or pass something that identifies it instead."
    if where.startswith("argument '") and len(quoted) == 3:
        return f"Leave it out with cache_policy=INPUTS - '{quoted[1]}' or annotate it as Ignore[...], t{cures}"
    return f"T{cures}"


# --- the whole value -------------------------------------------------------------------------------


def fingerprint_with(
    describe: Describe, value: object, where: str, known: Mapping[int, str] | None, only_data: bool = False
) -> str:
    """Return the fingerprint of a value, whose structured parts `describe` describes.

    Raises:
        HashError: Something in it has no stable content.
        MetCode: Something in it is code, though it should be `only_data`.
    """
    if known and id(value) in known:
        return known[id(value)]
    encoded = plain_bytes(value)
    if encoded is not None:
        return "b3p:" + str(blake3(PLAIN + encoded).hexdigest())
    token = _Walk(describe, where, known or {}, only_data).token(value)
    return "b3:" + token[1:].hex()
