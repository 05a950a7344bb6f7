"""Values to bytes and back.

A serializer has a *name*, stored with each entry, from which `Serializer.from_name` builds it again: that is
how an entry is read by a process that never saw the task that wrote it.

The payload container, version 1, written by `PickleSerializer` when a value holds large buffers (numpy
arrays, the columns of a frame); all numbers are little-endian and unsigned:

    offset      bytes  what
    0           4      magic: b"KEPT"
    4           2      container version: 1
    6           2      zero
    8           8      n, the number of buffers
    16          8      length of the pickle stream
    24          16*n   per buffer: its offset from the start of the container, its length
    24 + 16*n   ...    pickle stream, protocol 5 (https://peps.python.org/pep-0574/), its buffers out of band
    ...         ...    the buffers, each at a multiple of 64 bytes, zeros between

A value without large buffers is the bare pickle stream, which begins with 0x80 and can't be taken for a
container.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
import sys
import types
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, ClassVar

from kept.exceptions import ConfigurationError, SerializationError, StoreError
from kept.utilities.culprit import find_culprit, kind_of, short
from kept.utilities.fields import Fields

MAGIC = b"KEPT"
VERSION = 1
_HEAD = struct.Struct("<4sHHQQ")
_SLOT = struct.Struct("<QQ")
_ALIGNMENT = 64
_OUT_OF_BAND_FROM = 16 * 1024
"""Buffers of fewer bytes stay in the pickle stream: copying them costs less than handling them one by one."""
_PROTO = 0x80  # the first opcode of every pickle since protocol 2

Chunk = bytes | memoryview


class Serializer(Fields):
    """How a value becomes bytes and comes back. Subclass it, and define `dumps` and `loads`.

    Annotated class attributes are options of the constructor, and part of the serializer's name: they are
    kept with every entry, so that it can be read back. Secrets don't belong there.

    >>> class Reversed(Serializer):
    ...     type = "reversed"
    ...     def dumps(self, obj): return obj[::-1].encode()
    ...     def loads(self, blob): return bytes(blob).decode()[::-1]
    >>> Reversed().loads(Reversed().dumps("abc"))
    'abc'
    """

    type: str = ""
    """A short name for the class, by which options such as `result_serializer="..."` find it."""

    _by_type: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if own := cls.__dict__.get("type"):
            Serializer._by_type[own] = cls
        Serializer._by_type[_address(cls)] = cls
        if "dumps" in cls.__dict__ and "chunks" not in cls.__dict__:
            # Who redefines `dumps` of a PickleSerializer means all that is written.
            cls.chunks = Serializer.chunks  # type: ignore[method-assign]

    @classmethod
    def fields(cls) -> list[str]:
        # A subclass in the pydantic manner annotates its type, `type: Literal["mine"] = "mine"`: it is no option.
        return [name for name in super().fields() if name != "type"]

    def dumps(self, obj: Any) -> bytes:
        """The value as bytes. Raises SerializationError, or anything: the store wraps it."""
        raise NotImplementedError(f"{type(self).__name__} does not define dumps(self, obj)")

    def loads(self, blob: Any) -> Any:
        """The value that `dumps` was given, from bytes or anything that has the buffer protocol."""
        raise NotImplementedError(f"{type(self).__name__} does not define loads(self, blob)")

    def chunks(self, obj: Any) -> list[Chunk]:
        """The value as pieces of bytes, to be written one after another.

        Pieces may be views of the value's own memory: write them before the value can change.
        """
        return [self.dumps(obj)]

    @property
    def name(self) -> str:
        """What `Serializer.from_name` makes an equal serializer from, in any process that can import its class.

        The type (for kept's own) or `module:Class`, and the options that are not at their defaults as JSON.
        """
        cls = type(self)
        base = cls.type if cls.__module__ == __name__ else _address(cls)
        options = {k: v.name if isinstance(v, Serializer) else v for k, v in self.changed_fields().items()}
        if not options:
            return base
        try:
            return base + json.dumps(options, sort_keys=True, separators=(",", ":"))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{self!r} can't be named, so entries written by it could not be read back: {error}. "
                "Give its options plain values (text, numbers, lists, dicts)."
            ) from error

    @staticmethod
    def from_name(spec: str) -> Serializer:
        """The serializer of this name: "pickle", "json", "compressed/pickle", "compressed/json", or any `.name`.

        Raises ConfigurationError when there is none, with what could not be found.
        """
        base, brace, options = spec.partition("{")
        cls = _find_class(base)
        try:
            return cls(**(json.loads(brace + options) if brace else {}))
        except (TypeError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(f"the serializer {spec!r} can't be made: {error}") from error


def _address(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _find_class(base: str) -> type[Serializer]:
    if cls := Serializer._by_type.get(base):
        return cls  # type: ignore[no-any-return]
    module, _, qualname = base.partition(":")
    if not qualname:
        short = sorted(name for name in Serializer._by_type if name and ":" not in name)
        raise ConfigurationError(f"no serializer is named {base!r}: there are {', '.join(short)}, and module:Class")
    try:
        found: Any = import_module(module)
        for attribute in qualname.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the serializer {base!r} can't be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Serializer)):
        raise ConfigurationError(f"{base!r} is not a Serializer class")
    return found


# --- names to things


def library(name: str, *verbs: str) -> Any:
    """The module of this name; raises ConfigurationError when it is missing or has not these functions."""
    try:
        module = sys.modules.get(name) or import_module(name)
    except ImportError as error:
        raise ConfigurationError(f"the library {name!r} can't be imported: {error}. Install it.") from error
    for verb in verbs:
        if not callable(getattr(module, verb, None)):
            raise ConfigurationError(f"the module {name!r} has no function {verb!r}, so it can't be used here")
    return module


def import_dotted(name: str) -> Any:
    """The object at a dotted name, which may be inside of a class: `package.module.Class.method`."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:cut])
        try:
            found: Any = sys.modules.get(module_name) or import_module(module_name)
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(f"nothing can be imported at {name!r}", name=name)


# --- pickle


class PickleSerializer(Serializer):
    """Pickles values, and keeps large buffers apart so that they can be loaded without copying.

    With the default library plain pickle is tried first (it is in C, and refers to classes by name), then
    cloudpickle for what pickle refuses: lambdas, local functions and classes.
    """

    type: str = "pickle"

    picklelib: str = "cloudpickle"
    """The library: "cloudpickle", "pickle", or any module with `dumps` and `loads`, such as "dill"."""

    def __init__(self, picklelib: str = "cloudpickle") -> None:
        if picklelib not in ("cloudpickle", "pickle"):
            library(picklelib, "dumps", "loads")
        super().__init__(picklelib=picklelib)

    def dumps(self, obj: Any) -> bytes:
        return b"".join(self.chunks(obj))

    def chunks(self, obj: Any) -> list[Chunk]:
        buffers: list[memoryview] = []
        stream = self._stream(obj, buffers)
        return _container(stream, buffers) if buffers else [stream]

    def loads(self, blob: Any) -> Any:
        try:
            if blob[0] == _PROTO and self.picklelib in ("cloudpickle", "pickle"):
                return pickle.loads(blob)
            return self._load_unusual(blob)
        except SerializationError:
            raise
        except Exception as error:
            raise SerializationError(_why_not_loaded(error)) from error

    def loads_of_script(self, blob: Any, module: types.ModuleType) -> Any:
        """What `loads` gives of a result that a script kept when it ran itself, now that it is imported as `module`.

        Raises `SerializationError`.
        """
        view = memoryview(blob).cast("B")
        stream, buffers = _open_container(view) if view[:4] == MAGIC else (view, [])
        try:
            return _OfScript(io.BytesIO(stream), buffers=buffers, module=module).load()
        except Exception as error:
            raise SerializationError(_why_not_loaded(error)) from error

    def _load_unusual(self, blob: Any) -> Any:
        view = memoryview(blob).cast("B")
        if view[:4] == MAGIC:
            stream, buffers = _open_container(view)
            return pickle.loads(stream, buffers=buffers)
        if self.picklelib in ("cloudpickle", "pickle"):
            return pickle.loads(view)
        return library(self.picklelib, "dumps", "loads").loads(bytes(view))

    def _stream(self, obj: Any, buffers: list[memoryview]) -> bytes:
        if self.picklelib not in ("cloudpickle", "pickle"):
            return self._stream_of_library(obj)
        try:
            return pickle.dumps(obj, 5, buffer_callback=_collector(buffers))
        except StoreError:  # files of the value can't be kept
            raise
        except Exception as error:
            if self.picklelib == "pickle":
                raise _unpicklable(obj, error, _plain_dumps) from error
        buffers.clear()
        try:
            return _cloud_dumps(obj, buffer_callback=_collector(buffers))
        except StoreError:
            raise
        except Exception as error:
            raise _unpicklable(obj, error, _cloud_dumps) from error

    def _stream_of_library(self, obj: Any) -> bytes:
        try:
            return bytes(library(self.picklelib, "dumps", "loads").dumps(obj))
        except Exception as error:
            raise SerializationError(f"{self.picklelib} can't serialize the {kind_of(obj)}: {short(error)}") from error


class _OfScript(pickle.Unpickler):
    """Finds what was defined in a script in the module that it is now."""

    def __init__(self, *args: Any, module: types.ModuleType, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._module = module

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__":
            return functools.reduce(getattr, name.split("."), self._module)
        return super().find_class(module, name)


def _plain_dumps(obj: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> bytes:
    return pickle.dumps(obj, 5, buffer_callback=buffer_callback)


def _cloud_dumps(obj: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any]) -> bytes:
    import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415  # 15 ms that few programs need

    stream: bytes = cloudpickle.dumps(obj, protocol=5, buffer_callback=buffer_callback)
    return stream


def _collector(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """A buffer callback: True leaves a buffer in the stream, False takes it out of band."""

    def collect(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous: pickle copies it
            return True
        if view.nbytes < _OUT_OF_BAND_FROM:
            return True
        buffers.append(view)
        return False

    return collect


def _container(stream: bytes, buffers: Sequence[memoryview]) -> list[Chunk]:
    head_size = _HEAD.size + _SLOT.size * len(buffers)
    end = head_size + len(stream)
    table: list[bytes] = []
    body: list[Chunk] = []
    for view in buffers:
        padding = -end % _ALIGNMENT
        body += (bytes(padding), view)
        table.append(_SLOT.pack(end + padding, view.nbytes))
        end += padding + view.nbytes
    head = _HEAD.pack(MAGIC, VERSION, 0, len(buffers), len(stream))
    return [b"".join((head, *table, stream)), *body]


def _open_container(view: memoryview) -> tuple[memoryview, list[Any]]:
    """The pickle stream and the buffers, as views where `view` is writable and as copies where it is not."""
    if len(view) < _HEAD.size:
        raise SerializationError("the payload is damaged: it ends inside the container's header")
    _, version, _, count, length = _HEAD.unpack_from(view)
    if version > VERSION:
        raise SerializationError(
            f"the payload is in container version {version}, written by a newer version of kept; this "
            f"one reads up to {VERSION}. Upgrade kept here, or let the task run again."
        )
    start = _HEAD.size + _SLOT.size * count
    if version < 1 or start + length > len(view):
        raise SerializationError("the payload is damaged: its container's header does not fit its size")
    slots = _SLOT.iter_unpack(view[_HEAD.size : start])
    return view[start : start + length], [_buffer(view, offset, size) for offset, size in slots]


def _buffer(view: memoryview, offset: int, size: int) -> Any:
    piece = view[offset : offset + size]
    if len(piece) != size:
        raise SerializationError("the payload is damaged: a buffer reaches past its end")
    # A copy, so that arrays made from an immutable payload are writable as after any unpickling.
    return bytearray(piece) if view.readonly else piece


def _why_not_loaded(error: Exception) -> str:
    text = short(error)
    if isinstance(error, ModuleNotFoundError):
        return f"the payload needs the module {error.name!r}, which can't be imported here: {text}"
    if isinstance(error, (AttributeError, ImportError)):
        return f"the payload needs a class or function that no longer exists: {text}"
    if isinstance(error, (pickle.UnpicklingError, EOFError, IndexError, ValueError, KeyError, UnicodeDecodeError)):
        return f"the payload is damaged or of another format: {text}"
    return f"the payload can't be turned back into a value: {text}"


def _unpicklable(obj: Any, error: Exception, dumps: Callable[..., bytes]) -> SerializationError:
    try:
        path, culprit, error = find_culprit(obj, error, dumps)
    except Exception:  # the search must never hide the error that it explains
        path, culprit = ["result"], obj
    return SerializationError(
        f"{' -> '.join(path)}: {short(error)} ({kind_of(culprit)}). Return something that can be pickled, "
        "leave this out (for example by __getstate__), use another result_serializer, or set "
        "persist_result=False."
    )


# --- json


def kept_json_object_encoder(obj: Any) -> Any:
    """`default` for `json.dumps`: writes dates, decimals, sets, enums, dataclasses, pydantic models and more.

    An object becomes `{"__class__": "module.Class", "data": ...}`. Raises TypeError for other types.
    """
    from kept.utilities.json_types import encode  # noqa: PLC0415  # 10 ms, and few programs write JSON

    return encode(obj)


def kept_json_object_decoder(result: dict[str, Any]) -> Any:
    """`object_hook` for `json.loads`: the reverse of `kept_json_object_encoder`."""
    if result.keys() != {"__class__", "data"}:
        return result
    from kept.utilities.json_types import decode  # noqa: PLC0415  # as above

    return decode(result["__class__"], result["data"], import_dotted)


_OWN_DECODER = "kept.serializers.kept_json_object_decoder"


class JSONSerializer(Serializer):
    """Writes values as JSON.

    JSON has fewer types than Python: a tuple comes back as a list, and keys of dicts as text.
    """

    type: str = "json"

    jsonlib: str = "json"
    """The library: "json", or any module with `dumps` and `loads`, such as "orjson"."""
    object_encoder: str | None = "kept.serializers.kept_json_object_encoder"
    """The dotted name of a function that gives something JSON can hold for what it can't; None for none."""
    object_decoder: str | None = _OWN_DECODER
    """The dotted name of a function that is given each decoded object and gives its replacement, or None."""
    dumps_kwargs: dict[str, Any] = {}
    """More arguments for the library's `dumps`."""
    loads_kwargs: dict[str, Any] = {}
    """More arguments for the library's `loads`."""

    def __init__(
        self,
        jsonlib: str = "json",
        object_encoder: str | None = "kept.serializers.kept_json_object_encoder",
        object_decoder: str | None = _OWN_DECODER,
        dumps_kwargs: dict[str, Any] | None = None,
        loads_kwargs: dict[str, Any] | None = None,
    ) -> None:
        library(jsonlib, "dumps", "loads")
        if "default" in (dumps_kwargs or {}):
            raise ConfigurationError("`default` can't be given in dumps_kwargs: use `object_encoder` instead")
        if "object_hook" in (loads_kwargs or {}):
            raise ConfigurationError("`object_hook` can't be given in loads_kwargs: use `object_decoder` instead")
        super().__init__(
            jsonlib=jsonlib,
            object_encoder=object_encoder,
            object_decoder=object_decoder,
            dumps_kwargs=dict(dumps_kwargs or {}),
            loads_kwargs=dict(loads_kwargs or {}),
        )

    def dumps(self, obj: Any) -> bytes:
        options = dict(self.dumps_kwargs)
        marked: list[Any] = []
        if self.object_encoder:
            options["default"] = _noting(import_dotted(self.object_encoder), marked)
        dumps = library(self.jsonlib, "dumps", "loads").dumps
        try:
            text = dumps(obj, **options)
        except Exception as error:
            path, culprit, error = _json_culprit(obj, error, lambda value: dumps(value, **options))
            raise SerializationError(
                f"{' -> '.join(path)}: {short(error)} ({kind_of(culprit)}). Return plain values, give an "
                'object_encoder, or use result_serializer="pickle".'
            ) from error
        content = text.encode() if isinstance(text, str) else bytes(text)
        if self.object_decoder == _OWN_DECODER and content.count(b'"__class__"') > len(marked):
            raise SerializationError(
                "result: it holds the key '__class__', by which the JSON of kept marks types, so it would come back as "
                'something else. Rename the key, or use result_serializer="pickle".'
            )
        return content

    def loads(self, blob: Any) -> Any:
        hook = import_dotted(self.object_decoder) if self.object_decoder else None
        try:
            if self.jsonlib != "json":
                # Other libraries have no object_hook, or call it differently.
                tree = library(self.jsonlib, "dumps", "loads").loads(bytes(blob), **self.loads_kwargs)
                return _decoded(tree, hook) if hook else tree
            return json.loads(bytes(blob), object_hook=hook, **self.loads_kwargs)
        except Exception as error:
            raise SerializationError(_why_not_loaded(error)) from error


def _noting(encoder: Callable[[Any], Any], marked: list[Any]) -> Callable[[Any], Any]:
    def encode(value: Any) -> Any:
        marked.append(value)
        return encoder(value)

    return encode


def _json_culprit(obj: Any, error: Exception, dumps: Callable[[Any], Any]) -> tuple[list[str], Any, Exception]:
    try:
        return find_culprit(obj, error, lambda value, buffer_callback: dumps(value))
    except Exception:  # the search must never hide the error that it explains
        return ["result"], obj, error


def _decoded(tree: Any, hook: Callable[[dict[str, Any]], Any]) -> Any:
    if isinstance(tree, dict):
        return hook({key: _decoded(value, hook) for key, value in tree.items()})
    if isinstance(tree, list):
        return [_decoded(value, hook) for value in tree]
    return tree


# --- compressed


class CompressedSerializer(Serializer):
    """Compresses what another serializer writes."""

    type: str = "compressed"

    serializer: Serializer
    """The other serializer; its name is enough. Subclasses have one by default."""
    compressionlib: str = "lzma"
    """The library: "lzma", "zlib", "gzip", "bz2", or any module with `compress` and `decompress`."""
    level: int | None = None
    """How hard to compress, as the library counts it; None for its default."""

    def __init__(
        self, serializer: Serializer | str | None = None, compressionlib: str = "lzma", level: int | None = None
    ) -> None:
        library(compressionlib, "compress", "decompress")
        if isinstance(serializer, str):
            serializer = Serializer.from_name(serializer)
        given = {} if serializer is None else {"serializer": serializer}
        super().__init__(compressionlib=compressionlib, level=level, **given)

    def dumps(self, obj: Any) -> bytes:
        blob = self.serializer.dumps(obj)
        compress = library(self.compressionlib, "compress", "decompress").compress
        if self.level is None:
            return bytes(compress(blob))
        if self.compressionlib == "lzma":
            return bytes(compress(blob, preset=self.level))
        return bytes(compress(blob, self.level))

    def loads(self, blob: Any) -> Any:
        try:
            plain = library(self.compressionlib, "compress", "decompress").decompress(blob)
        except Exception as error:
            raise SerializationError(
                f"the payload is damaged: {self.compressionlib} can't decompress it: {short(error)}"
            ) from error
        return self.serializer.loads(plain)


class CompressedPickleSerializer(CompressedSerializer):
    """Pickles, then compresses."""

    type: str = "compressed/pickle"
    serializer: Serializer = PickleSerializer()


class CompressedJSONSerializer(CompressedSerializer):
    """Writes JSON, then compresses it."""

    type: str = "compressed/json"
    serializer: Serializer = JSONSerializer()
