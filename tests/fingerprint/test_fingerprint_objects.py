"""What users define, and the data types of the standard library."""

from __future__ import annotations

import collections
import contextvars
import copy
import datetime
import decimal
import enum
import functools
import io
import pickle
import random
import sys
import threading
import types
import weakref
import zoneinfo
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest
from fingerprint_samples import OBJECTS, STDLIB, Colour, Params, Permission, Plain, Point

from kept.exceptions import HashError
from kept.fingerprint import fingerprint, register_fingerprint

UTC = datetime.timezone.utc


def assert_all_differ(*values: object) -> None:
    digests = [fingerprint(value) for value in values]
    assert len(set(digests)) == len(values), list(zip(digests, values, strict=True))


@pytest.mark.parametrize("name", sorted(set(STDLIB) | set(OBJECTS) - {"builtin function", "weak reference"}))
def test_a_copy_has_the_same_fingerprint(name: str) -> None:
    make = {**STDLIB, **OBJECTS}[name]
    if name in ("closure", "library module", "method", "class", "slotted dataclass"):
        assert fingerprint(make()) == fingerprint(make())
    else:
        assert fingerprint(copy.deepcopy(make())) == fingerprint(make())


def test_subclasses_differ_from_their_bases_and_from_each_other() -> None:
    class Other(dict):  # type: ignore[type-arg]
        pass

    ordered = collections.OrderedDict(a=1)
    assert_all_differ({"a": 1}, Params(a=1), Other(a=1), ordered, collections.Counter(a=1))


def test_attributes_of_a_subclass_count_beside_its_content() -> None:
    one, other = Params(a=1), Params(a=1)
    assert fingerprint(one) == fingerprint(other)
    other.note = "n"
    assert fingerprint(one) != fingerprint(other)


def test_a_subclass_is_read_past_what_it_overrides() -> None:
    class Shy(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(())

    assert_all_differ(Shy([1]), Shy([2]))


def test_moments_differ_by_fields_fold_and_zone() -> None:
    moment = datetime.datetime(2020, 10, 25, 2, 30)
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    plus = datetime.timezone(datetime.timedelta(hours=1))
    zones = [UTC, berlin, zoneinfo.ZoneInfo("Europe/Paris"), plus, datetime.timezone(plus.utcoffset(None), "X")]
    moments = [moment, moment.replace(fold=1), moment.date(), moment.time(), *(moment.replace(tzinfo=z) for z in zones)]
    assert_all_differ(*moments, moment.timetz().replace(tzinfo=UTC), moment - datetime.datetime(2020, 1, 1))


def test_numbers_differ_by_type_and_by_how_exactly_they_are_written() -> None:
    assert_all_differ(1, decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("NaN"), decimal.Decimal("sNaN"))


def test_paths_are_their_text_and_flavour() -> None:
    assert_all_differ("a/b", Path("a/b"), PurePosixPath("a/b"), PureWindowsPath("a/b"), Path("a/c"))
    assert fingerprint(Path("a/b/")) == fingerprint(Path("a") / "b")


def test_ranges_that_are_the_same_sequence_are_equal() -> None:
    assert fingerprint(range(0, 3, 2)) == fingerprint(range(0, 4, 2))
    assert fingerprint(range(5, 5)) == fingerprint(range(0))


def test_collections_count_what_makes_them_differ() -> None:
    assert_all_differ(
        [1, 2],
        collections.deque([1, 2]),
        collections.deque([1, 2], maxlen=2),
        collections.defaultdict(list, a=1),
        collections.defaultdict(int, a=1),
        collections.OrderedDict(a=1, b=2),
        collections.OrderedDict(b=2, a=1),
        collections.ChainMap({"a": 1}),
        types.MappingProxyType({"a": 1}),
        types.SimpleNamespace(a=1),
        collections.UserDict(a=1),
    )


def test_the_order_of_a_counter_does_not_count() -> None:
    assert fingerprint(collections.Counter("ab")) == fingerprint(collections.Counter("ba"))


def test_enum_members_are_their_class_name_and_value() -> None:
    class Other(enum.Enum):
        RED = 1

    class Number(enum.IntEnum):
        ONE = 1

    assert_all_differ(
        Colour.RED, Colour.GREEN, Other.RED, Number.ONE, 1, Permission.READ, Permission.READ | Permission.WRITE
    )


def test_named_tuples_are_their_class_fields_and_values() -> None:
    one = collections.namedtuple("P", "x y")
    other = collections.namedtuple("P", "y x")

    class Typed(NamedTuple):
        x: int
        y: int

    assert_all_differ((1, 2), one(1, 2), other(1, 2), Typed(1, 2))


def test_all_fields_of_a_dataclass_count() -> None:
    assert_all_differ(Point(1), Point(2), Point(1, 3.0), Point(1, note="x"))
    # A field that is left at its default in the class.
    with_default = make_dataclass("D", [("a", int, field(default=1, init=False))])
    assert fingerprint(with_default()) == fingerprint(with_default())


def test_what_a_cached_property_remembers_does_not_count() -> None:
    @dataclass
    class Circle:
        radius: float

        @functools.cached_property
        def area(self) -> float:
            return 3.14 * self.radius**2

    circle = Circle(1.0)
    before = fingerprint(circle)
    assert circle.area
    assert fingerprint(circle) == before


def test_attributes_and_slots_count_through_the_whole_inheritance() -> None:
    class Base:
        __slots__ = ("__private", "a")

        def __init__(self, a: int, private: int) -> None:
            self.a = a
            self.__private = private

    class Child(Base):
        pass

    child = Child(1, 2)
    child.extra = 3
    other = Child(1, 2)
    assert_all_differ(Base(1, 2), Base(1, 3), Base(2, 2), Child(1, 2), Child(1, 3), child)
    other.extra = 3
    assert fingerprint(other) == fingerprint(child)


def test_an_object_that_says_its_own_state_is_believed() -> None:
    class Model:
        def __init__(self, path: str) -> None:
            self.path, self.lock = path, threading.Lock()

        def __getstate__(self) -> dict[str, str]:
            return {"path": self.path}

    assert fingerprint(Model("a")) == fingerprint(Model("a")) != fingerprint(Model("b"))


def test_an_object_that_says_how_it_is_made_is_believed() -> None:
    class Made:
        def __init__(self, *parts: int) -> None:
            self.parts, self.lock = parts, threading.Lock()

        def __reduce__(self) -> Any:
            return Made, self.parts

    assert fingerprint(Made(1, 2)) == fingerprint(Made(1, 2)) != fingerprint(Made(2, 1))


def test_pydantic_models_count_fields_extras_and_private_attributes() -> None:
    class Config(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        a: int = 1
        b: dict[str, int] = {}
        _secret: int = pydantic.PrivateAttr(default=0)

    changed = Config()
    changed._secret = 1
    assert_all_differ(Config(), Config(a=2), Config(b={"x": 1}), Config(c=1), changed)
    # Whether a field was given or left at its default is about how the model was made.
    assert fingerprint(Config(a=1)) == fingerprint(Config())


def test_attrs_classes_count_all_their_fields() -> None:
    @attrs.define
    class Slotted:
        a: int
        b: int = attrs.field(default=0, eq=False)

    @attrs.frozen(cache_hash=True)
    class Hashed:
        a: int

    hashed = Hashed(1)
    before = fingerprint(hashed)
    assert hash(hashed) and fingerprint(hashed) == before
    assert_all_differ(Slotted(1), Slotted(2), Slotted(1, 1), Hashed(1))


def test_exceptions_are_their_class_arguments_and_notes() -> None:
    noted = ValueError("a")
    noted.__dict__["__notes__"] = ["more"]
    assert_all_differ(ValueError("a"), ValueError("b"), TypeError("a"), noted, FileNotFoundError(2, "no", "f"))
    try:
        raise ValueError("a")
    except ValueError as raised:
        assert fingerprint(raised) == fingerprint(ValueError("a"))


def test_weak_references_are_what_they_refer_to() -> None:
    one, other = Plain(a=1), Plain(a=2)
    assert fingerprint(weakref.ref(one)) != fingerprint(weakref.ref(other))
    alike = Plain(a=1)
    assert fingerprint(weakref.ref(one)) == fingerprint(weakref.ref(alike))
    before = weakref.ref(one)
    alive = fingerprint(before)
    del one
    assert before() is None
    assert fingerprint(before) != alive


def test_memory_files_are_content_and_position() -> None:
    read = io.BytesIO(b"ab")
    read.read(1)
    assert_all_differ(io.BytesIO(b"ab"), io.BytesIO(b"ac"), read, io.StringIO("ab"))


def test_a_stand_in_can_be_given_by_the_class() -> None:
    class Session:
        def __init__(self, url: str) -> None:
            self.url, self.lock = url, threading.Lock()

        def __kept_fingerprint__(self) -> str:
            return self.url

    assert fingerprint(Session("a")) == fingerprint(Session("a")) != fingerprint(Session("b"))
    assert fingerprint(Session("a")) != fingerprint("a")


def test_a_stand_in_can_be_registered_for_classes_of_others() -> None:
    class Theirs:
        def __init__(self, name: str) -> None:
            self.name, self.lock = name, threading.Lock()

    class Derived(Theirs):
        pass

    with pytest.raises(HashError):
        fingerprint(Theirs("a"))
    register_fingerprint(Theirs, lambda theirs: theirs.name)
    assert fingerprint(Theirs("a")) == fingerprint(Theirs("a")) != fingerprint(Theirs("b"))
    assert fingerprint(Derived("a")) != fingerprint(Theirs("a"))


def test_unpickled_objects_have_the_fingerprint_of_the_original() -> None:
    value = [Point(1, 2.0, "n"), Plain(a=[1], b={"c"}), Params(x=1), Path("a")]
    assert fingerprint(pickle.loads(pickle.dumps(value))) == fingerprint(value)


def test_a_context_variable_is_refused_by_name() -> None:
    with pytest.raises(HashError, match="a context"):
        fingerprint(contextvars.ContextVar("v"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: collections.UserDict({1: 2}),
        lambda: collections.UserList([1]),
        lambda: collections.UserString("a"),
        lambda: collections.OrderedDict({1: 2}),
        lambda: collections.Counter("a"),
        lambda: collections.ChainMap({1: 2}),
        lambda: random.Random(1),
        lambda: type("Mine", (collections.UserDict,), {})({1: 2}),
    ],
)
def test_attributes_that_were_set_on_objects_of_the_standard_library_count(make: Any) -> None:
    one, other = make(), make()
    before = fingerprint(one)
    assert before == fingerprint(other)
    one.more, other.more = {"a": [1]}, {"a": [2]}
    assert len({before, fingerprint(one), fingerprint(other)}) == 3
    one.more["a"] = [threading.Lock()]
    with pytest.raises(HashError, match=r"^value -> \.more -> \['a'\] -> \[0\]: a lock"):
        fingerprint(one)


class _Singleton:
    def __init__(self, module: str | None, name: str) -> None:
        self.__module__, self.name = module, name  # type: ignore[assignment]

    def __reduce__(self) -> str:
        return self.name


def test_objects_that_are_globals_count_by_module_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [("one_module", "ONLY"), ("other_module", "ONLY"), ("one_module", "OTHER"), ("one_module", "Space.ONLY")]
    found = []
    for module, name in places:
        if module not in sys.modules:
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        owner: Any = sys.modules[module]
        if "." in name:
            owner.Space = types.SimpleNamespace()
            owner = owner.Space
        found.append(_Singleton(module, name))
        setattr(owner, name.rpartition(".")[2], found[-1])
    assert len({fingerprint(value) for value in found}) == len(found)
    unnamed = sys.modules["one_module"].UNNAMED = _Singleton(None, "UNNAMED")  # type: ignore[attr-defined]
    assert fingerprint(unnamed) == fingerprint(unnamed)


@pytest.mark.parametrize("module", ["one_module", __name__, None])
def test_an_object_that_is_not_the_global_that_it_says_is_refused(module: str | None) -> None:
    with pytest.raises(HashError, match=r"^value -> \[0\]: an object \(.*_Singleton\) says that it is"):
        fingerprint([_Singleton(module, "_Singleton")])
