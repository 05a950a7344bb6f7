from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import pickle
import struct
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kept.exceptions import ConfigurationError, SerializationError
from kept.serializers import (
    CompressedJSONSerializer,
    CompressedPickleSerializer,
    CompressedSerializer,
    JSONSerializer,
    PickleSerializer,
    Serializer,
)

LARGE = 20_000  # items of 8 bytes: more than what stays in the stream


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: Any = None


class Pair(NamedTuple):
    left: Any
    right: Any


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Holder:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Model(pydantic.BaseModel):
    x: int
    tags: list[str]


class TextSerializer(Serializer):
    type: Literal["text"] = "text"  # type: ignore[assignment]
    encoding: str = "utf-8"

    def dumps(self, obj: Any) -> bytes:
        return str(obj).encode(self.encoding)

    def loads(self, blob: Any) -> Any:
        return bytes(blob).decode(self.encoding)


def mapped(payload: bytes) -> memoryview:
    """As the store opens a blob: writable and private."""
    return memoryview(bytearray(payload))


# --- names


@pytest.mark.parametrize("name", ["pickle", "json", "compressed/pickle", "compressed/json"])
def test_the_documented_names_give_serializers_that_bear_them(name: str) -> None:
    serializer = Serializer.from_name(name)
    assert serializer.name == name == serializer.type
    assert serializer.loads(serializer.dumps({"a": [1, "ü", None]})) == {"a": [1, "ü", None]}


@pytest.mark.parametrize(
    "serializer",
    [
        PickleSerializer(picklelib="pickle"),
        JSONSerializer(dumps_kwargs={"indent": 2}, object_decoder=None),
        CompressedSerializer(serializer=JSONSerializer(), compressionlib="gzip"),
        CompressedSerializer(serializer="pickle", compressionlib="zlib", level=9),
        CompressedSerializer(serializer="json", level=1),
        CompressedPickleSerializer(compressionlib="bz2"),
        CompressedJSONSerializer(compressionlib="lzma"),
        TextSerializer(),
        TextSerializer(encoding="utf-16"),
        CompressedSerializer(serializer=TextSerializer(encoding="latin-1")),
    ],
)
def test_a_name_makes_an_equal_serializer_that_reads_what_the_first_wrote(serializer: Serializer) -> None:
    again = Serializer.from_name(serializer.name)
    assert again == serializer
    assert hash(again) == hash(serializer)
    assert again.loads(serializer.dumps("grüße")) == "grüße"


def test_serializers_are_equal_by_type_and_options() -> None:
    assert PickleSerializer() == PickleSerializer(picklelib="cloudpickle")
    assert PickleSerializer() != PickleSerializer(picklelib="pickle")
    assert CompressedSerializer("json") != CompressedSerializer("pickle")
    assert CompressedJSONSerializer() != CompressedSerializer("json")
    assert len({JSONSerializer(), JSONSerializer(), PickleSerializer()}) == 2
    assert pickle.loads(pickle.dumps(CompressedSerializer("json", "gzip"))) == CompressedSerializer("json", "gzip")


def test_a_users_serializer_is_found_by_its_type_and_by_its_address() -> None:
    assert TextSerializer().name == f"{__name__}:TextSerializer"
    assert Serializer.from_name("text") == TextSerializer()
    assert TextSerializer().chunks("a") == [b"a"]


def test_a_serializer_written_with_pydantics_fields_works() -> None:
    class Fielded(TextSerializer):
        type: str = pydantic.Field("fielded", frozen=True)  # type: ignore[assignment]
        level: int = pydantic.Field(default=3, ge=1)
        tags: list[str] = pydantic.Field(default_factory=list)
        needed: str = pydantic.Field()

    serializer = Fielded(needed="x")
    assert (serializer.type, serializer.level, serializer.tags, serializer.needed) == ("fielded", 3, [], "x")
    assert Serializer.from_name(serializer.name) == serializer
    with pytest.raises(ConfigurationError, match="needs the option 'needed'"):
        Fielded()


def test_a_local_serializer_class_is_found_by_name_in_its_process() -> None:
    class Local(Serializer):
        def dumps(self, obj: Any) -> bytes:
            return b"x"

        def loads(self, blob: Any) -> Any:
            return "local"

    assert Serializer.from_name(Local().name).loads(b"") == "local"


def test_redefining_dumps_of_the_pickle_serializer_is_respected_by_the_store() -> None:
    class Marked(PickleSerializer):
        def dumps(self, obj: Any) -> bytes:
            return b"M" + pickle.dumps(obj)

        def loads(self, blob: Any) -> Any:
            return pickle.loads(bytes(blob)[1:])

    value = np.zeros(LARGE)
    assert Marked().chunks(value)[0][:1] == b"M"
    assert Marked().loads(b"".join(Marked().chunks(value))).shape == (LARGE,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pickel", "no serializer is named 'pickel': there are .*compressed"),
        ("no_such_module:Thing", "no_such_module"),
        ("kept.serializers:Nothing", "Nothing"),
        ("pathlib:Path", "not a Serializer"),
        ('pickle{"wrong":1}', "wrong"),
        ('pickle{"picklelib"', "can't be made"),
    ],
)
def test_a_wrong_name_is_an_error_that_says_what_is_wrong(name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Serializer.from_name(name)


def test_wrong_options_are_errors_that_name_them() -> None:
    with pytest.raises(ConfigurationError, match="no option 'colour'; its options: encoding"):
        TextSerializer(colour=1)
    with pytest.raises(ConfigurationError, match="can't be imported"):
        PickleSerializer(picklelib="no_such_library")
    with pytest.raises(ConfigurationError, match="no function 'dumps'"):
        PickleSerializer(picklelib="math")
    with pytest.raises(ConfigurationError, match="no function 'compress'"):
        CompressedSerializer("pickle", compressionlib="json")
    with pytest.raises(ConfigurationError, match="object_encoder"):
        JSONSerializer(dumps_kwargs={"default": str})
    with pytest.raises(ConfigurationError, match="object_decoder"):
        JSONSerializer(loads_kwargs={"object_hook": dict})


# --- pickle


def test_a_value_without_buffers_is_the_bare_pickle_stream() -> None:
    serializer, value = PickleSerializer(), {"a": [1, 2, 3], "b": np.arange(10)}
    (stream,) = serializer.chunks(value)
    assert stream == serializer.dumps(value)
    assert pickle.loads(stream)["a"] == [1, 2, 3]
    assert serializer.loads(memoryview(stream))["a"] == [1, 2, 3]


def arrays() -> dict[str, Any]:
    base = np.arange(LARGE, dtype="f8")
    frozen = base.copy()
    frozen.flags.writeable = False
    return {
        "plain": base,
        "fortran": np.asfortranarray(base.reshape(100, -1)),
        "strided": base[::2],
        "transposed": base.reshape(100, -1).T[::2],
        "big-endian": base.astype(">f8"),
        "structured": np.zeros(LARGE, dtype=[("a", "i4"), ("b", "S7")]),
        "strings": np.array(["abc", "ü"] * LARGE),
        "datetimes": base.astype("M8[s]"),
        "objects": np.array([{"a": 1}, None, "x"] * 10, dtype=object),
        "empty": np.empty((0, 5)),
        "scalar": np.array(5.0),
        "frozen": frozen,
        "masked": np.ma.masked_greater(base, 5),
    }


@pytest.mark.parametrize("kind", list(arrays()))
@pytest.mark.parametrize("opened", [bytes, mapped])
def test_arrays_come_back_equal_and_writable(kind: str, opened: Any) -> None:
    value = arrays()[kind]
    back = PickleSerializer().loads(opened(PickleSerializer().dumps(value)))
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert back.flags.f_contiguous == value.flags.f_contiguous or not value.flags.forc
    np.testing.assert_array_equal(back, value)
    assert back.flags.writeable == pickle.loads(pickle.dumps(value, 5)).flags.writeable


def test_arrays_loaded_from_a_private_map_are_views_into_it() -> None:
    payload = mapped(PickleSerializer().dumps({"x": np.arange(LARGE), "y": np.ones(LARGE)}))
    back = PickleSerializer().loads(payload)
    everything = np.frombuffer(payload, "u1")
    assert np.shares_memory(back["x"], everything) and np.shares_memory(back["y"], everything)
    start = everything.ctypes.data
    assert (back["x"].ctypes.data - start) % 64 == 0 and (back["y"].ctypes.data - start) % 64 == 0


def test_nothing_is_copied_into_the_chunks() -> None:
    value = np.arange(LARGE)
    chunks = PickleSerializer().chunks([value])
    assert any(isinstance(c, memoryview) and np.shares_memory(np.frombuffer(c, "u1"), value) for c in chunks)


def frames() -> dict[str, Any]:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    columns = {"n": np.arange(LARGE), "x": np.arange(LARGE) / 3, "s": [f"row {i}" for i in range(LARGE)]}
    frame = pd.DataFrame(columns)
    frame["c"] = frame["s"].str[:5].astype("category")
    frame["t"] = pd.Timestamp("2024-01-01", tz="Europe/Berlin") + pd.to_timedelta(frame["n"], unit="s")
    return {
        "pandas": frame,
        "pandas with an index": frame.set_index(["n", "s"]),
        "polars": pl.DataFrame(columns),
        "pyarrow": pa.table(columns),
        "series": frame["x"],
    }


@pytest.mark.parametrize("kind", ["pandas", "pandas with an index", "polars", "pyarrow", "series"])
@pytest.mark.parametrize("opened", [bytes, mapped])
def test_frames_come_back_equal_and_can_be_changed(kind: str, opened: Any) -> None:
    value = frames()[kind]
    back = PickleSerializer().loads(opened(PickleSerializer().dumps(value)))
    assert type(back) is type(value)
    assert back.equals(value)
    if kind == "pandas":
        back.loc[0, "x"] = 5.0
        back["n"] += 1
        assert (back.loc[0, "x"], back.loc[1, "n"]) == (5.0, 2)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
        max_leaves=20,
    )
)
def test_plain_values_come_back_equal(value: Any) -> None:
    for serializer in (PickleSerializer(), CompressedPickleSerializer()):
        assert serializer.loads(serializer.dumps(value)) == value


def test_what_pickle_refuses_goes_through_cloudpickle() -> None:
    class Local:
        def __init__(self, x: Any) -> None:
            self.x = x

    back = PickleSerializer().loads(PickleSerializer().dumps([lambda x: x + 1, Local(np.ones(LARGE))]))
    assert back[0](1) == 2
    assert back[1].x.sum() == LARGE
    with pytest.raises(SerializationError, match=r"result -> \[0\]"):
        PickleSerializer(picklelib="pickle").dumps([lambda x: x])


def test_a_class_of_the_main_script_is_kept_by_reference_not_by_value() -> None:
    script = (
        "from kept.serializers import PickleSerializer\n"
        "class Thing: pass\n"
        "blob = PickleSerializer().dumps(Thing())\n"
        "assert type(PickleSerializer().loads(blob)) is Thing\n"
        "assert len(blob) < 100, len(blob)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, "result: "),
        ({"a": 1, "model": Holder(lock=LOCK)}, "result -> ['model'] -> .lock: "),
        ([1, (2, {3: Slotted(LOCK)})], "result -> [1] -> [1] -> [3] -> .inner: "),
        (Pair(1, LOCK), "result -> .right: "),
        (Point(1, [LOCK]), "result -> .y -> [0]: "),
        ({Point(1, LOCK.__class__): 1, "ok": LOCK}, "result -> ['ok']: "),
        (functools.partial(print, LOCK), "result: "),
        ([*range(5000), LOCK, *range(5000)], "result -> [5000]: "),
    ],
)
def test_what_cant_be_pickled_is_named_with_the_path_to_it(value: Any, path: str) -> None:
    with pytest.raises(SerializationError) as caught:
        PickleSerializer().dumps(value)
    assert str(caught.value).startswith(path)
    assert "_thread.lock" in str(caught.value)
    assert "persist_result=False" in str(caught.value)


def test_a_closure_that_cant_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def step() -> Any:
        return lock

    with pytest.raises(SerializationError, match=r"result -> \['f'\] -> closure lock: cannot pickle"):
        PickleSerializer().dumps({"f": step})


def test_a_value_that_contains_itself_is_searched_to_an_end() -> None:
    value: dict[str, Any] = {"lock": threading.Lock()}
    value["self"] = value
    with pytest.raises(SerializationError, match="result -> "):
        PickleSerializer().dumps(value)


def test_an_object_that_raises_when_pickled_is_reported_with_its_reason() -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("not today")

    with pytest.raises(SerializationError, match=r"result -> \['s'\]: not today"):
        PickleSerializer().dumps({"s": Stubborn()})


# --- reading what can't be read


def test_a_class_that_no_longer_exists_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vanishing.py").write_text("class Model: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import vanishing  # type: ignore[import-not-found]

    blob = PickleSerializer().dumps(vanishing.Model())
    del vanishing.Model
    with pytest.raises(SerializationError, match=r"no longer exists: .*Model"):
        PickleSerializer().loads(blob)
    del sys.modules["vanishing"]
    (tmp_path / "vanishing.py").unlink()
    monkeypatch.undo()
    with pytest.raises(SerializationError, match="needs the module 'vanishing'"):
        PickleSerializer().loads(blob)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"K",
        b"KEPT",
        b"\x80",
        b"\x80\x05",
        b"garbage",
        b"KEPT" + bytes(20),
        b"KEPT\x01\x00" + b"\xff" * 18,
    ],
)
def test_damaged_payloads_are_serialization_errors(blob: bytes) -> None:
    for opened in (blob, mapped(blob)):
        with pytest.raises(SerializationError):
            PickleSerializer().loads(opened)


def test_every_truncation_of_a_container_is_a_serialization_error() -> None:
    payload = PickleSerializer().dumps([np.arange(LARGE), "tail"])
    for size in (*range(0, 300), *range(300, len(payload), 9973)):
        with pytest.raises(SerializationError):
            PickleSerializer().loads(payload[:size])


def test_a_container_of_a_newer_version_says_so() -> None:
    payload = bytearray(PickleSerializer().dumps(np.arange(LARGE)))
    struct.pack_into("<H", payload, 4, 2)
    with pytest.raises(SerializationError, match="container version 2, written by a newer version of kept"):
        PickleSerializer().loads(payload)


def test_the_container_is_laid_out_as_written_down() -> None:
    value = [np.arange(LARGE, dtype="<i8"), np.ones(LARGE, dtype="<f8")]
    payload = PickleSerializer().dumps(value)
    magic, version, zero, count, length = struct.unpack_from("<4sHHQQ", payload)
    assert (magic, version, zero, count) == (b"KEPT", 1, 0, 2)
    slots = [struct.unpack_from("<QQ", payload, 24 + 16 * i) for i in range(2)]
    assert [(offset % 64, size) for offset, size in slots] == [(0, 8 * LARGE)] * 2
    assert payload[slots[0][0] :][: 8 * LARGE] == value[0].tobytes()
    assert payload[24 + 32] == 0x80 and 24 + 32 + length <= slots[0][0]
    assert slots[1][0] + slots[1][1] == len(payload)


# --- json


@dataclasses.dataclass
class Settings:
    when: datetime.datetime
    place: Path


def test_json_keeps_the_data_types_of_the_standard_library() -> None:
    value = {
        "datetime": datetime.datetime(2024, 5, 1, 12, 30, 1, 5, tzinfo=datetime.timezone.utc),
        "date": datetime.date(2024, 5, 1),
        "time": datetime.time(1, 2, 3),
        "delta": datetime.timedelta(days=-1, microseconds=3),
        "decimal": decimal.Decimal("1.10"),
        "uuid": uuid.UUID(int=5),
        "path": Path("a/b"),
        "bytes": b"\x00\xff",
        "set": {1, 2},
        "frozenset": frozenset({"a"}),
        "complex": 1 + 2j,
        "enum": Color.RED,
        "dataclass": Settings(datetime.datetime(2024, 1, 1), Path("x")),
    }
    back = JSONSerializer().loads(JSONSerializer().dumps(value))
    assert back == value
    assert {k: type(v) for k, v in back.items()} == {k: type(v) for k, v in value.items()}


def test_json_keeps_pydantic_models_and_exceptions() -> None:
    error = JSONSerializer().loads(JSONSerializer().dumps(ValueError("a", 1)))
    assert type(error) is ValueError and error.args == ("a", 1)
    assert JSONSerializer().loads(JSONSerializer().dumps([Model(x=1, tags=["a"])])) == [Model(x=1, tags=["a"])]


def test_json_names_the_path_to_what_it_cant_write() -> None:
    with pytest.raises(SerializationError, match=r"result -> \['a'\] -> \[1\]: cannot write '_thread.lock'"):
        JSONSerializer().dumps({"a": [1, threading.Lock()]})
    with pytest.raises(SerializationError, match=r"result -> \['a'\]"):
        JSONSerializer(object_encoder=None).dumps({"a": {1, 2}})


@pytest.mark.parametrize("blob", [b"", b"{", b"\xff\xfe", b'{"__class__": "no.such.Class", "data": 1}'])
def test_damaged_json_is_a_serialization_error(blob: bytes) -> None:
    with pytest.raises(SerializationError):
        JSONSerializer().loads(blob)


def test_json_does_not_run_functions_that_a_payload_names() -> None:
    with pytest.raises(SerializationError, match="not a type that kept reads"):
        JSONSerializer().loads(b'{"__class__": "os.system", "data": "true"}')


def test_json_takes_the_users_own_encoder_and_decoder() -> None:
    serializer = JSONSerializer(object_encoder=f"{__name__}.encode_color", object_decoder=f"{__name__}.decode_color")
    assert serializer.loads(serializer.dumps([Color.RED])) == [Color.RED]
    assert serializer.loads(mapped(serializer.dumps([Color.RED]))) == [Color.RED]


def encode_color(obj: Any) -> Any:
    return {"color": obj.value}


def decode_color(obj: dict[str, Any]) -> Any:
    return Color(obj["color"]) if "color" in obj else obj


# --- compressed


def test_compression_makes_repetitive_results_small() -> None:
    assert len(CompressedPickleSerializer().dumps("a" * 100_000)) < 1000


@pytest.mark.parametrize("library", ["lzma", "zlib", "gzip", "bz2"])
def test_every_compression_of_the_standard_library_works_at_a_level(library: str) -> None:
    serializer = CompressedSerializer("pickle", compressionlib=library, level=1)
    np.testing.assert_array_equal(serializer.loads(mapped(serializer.dumps(np.arange(LARGE)))), np.arange(LARGE))


def test_damaged_compressed_bytes_are_a_serialization_error() -> None:
    with pytest.raises(SerializationError, match="lzma can't decompress"):
        CompressedPickleSerializer().loads(b"nonsense")


# --- import time


def test_importing_serializers_imports_nothing_heavy() -> None:
    script = (
        "import sys, kept.serializers, kept.store, kept.locking.filesystem\n"
        "heavy = {'pydantic', 'numpy', 'cloudpickle', 'asyncio', 'inspect', 'decimal', 'ctypes', 'pytest'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_json_refuses_a_dict_that_looks_like_a_mark_of_its_own() -> None:
    with pytest.raises(SerializationError, match="__class__"):
        JSONSerializer().dumps([{"__class__": "decimal.Decimal", "data": "1"}])
    for value in ('text with "__class__" in it', [decimal.Decimal("1.5"), {"data": decimal.Decimal(2)}]):
        assert JSONSerializer().loads(JSONSerializer().dumps(value)) == value
