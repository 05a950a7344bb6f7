"""Rules for pyarrow: arrays by type and content, however they are cut into chunks, sliced or padded.

What lies under a null does not count. A dictionary array is its type and its decoded values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from kept.fingerprint.builtins import no_content
from kept.fingerprint.canonical import Node
from kept.fingerprint.plain import buffer_digest, new_buffer_hash

Rule = Callable[[Any], Node]

# What is copied is copied in pieces of so many rows.
_ROWS = 1 << 18
_VALUE_BUFFER = 1


def rule_for(kind: type) -> Rule | None:
    """Return the rule that is written for this type of pyarrow, or for all types like it."""
    for base, rule in _RULES.items():
        if issubclass(kind, base):
            return rule
    return None


# --- columns ---------------------------------------------------------------------------------------


def column_node(tag: str, chunks: Sequence[Any], kind: Any, name: object) -> Node:
    """Describe the content of a column that lies in chunks of one type; `name` is what tells the type."""
    length = sum(map(len, chunks))
    nulls = sum(chunk.null_count for chunk in chunks)
    header = (name, length, nulls, _validity(chunks) if nulls else b"")
    if pa.types.is_null(kind):
        return Node(tag, header)
    if isinstance(kind, pa.BaseExtensionType):
        return _child(tag, header, [chunk.storage for chunk in chunks], kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _child(tag, header, [chunk.dictionary_decode() for chunk in chunks], kind.value_type)
    if pa.types.is_struct(kind):
        return _struct(tag, header, chunks, kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = _digest(chunks, _list_lengths)
        return _child(tag, (*header, lengths), [chunk.flatten() for chunk in chunks], kind.value_type)
    if _is_text(kind):
        return Node(tag, (*header, _digest(chunks, _text_lengths), _digest(chunks, _texts)), heavy=True)
    if _has_fixed_width(kind):
        return Node(tag, (*header, _digest(chunks, _fixed_width)), heavy=True)
    return Node(tag, header, ([value for chunk in chunks for value in chunk.to_pylist()],))


def _child(tag: str, header: object, chunks: list[Any], kind: Any) -> Node:
    return Node(tag, header, (pa.chunked_array(chunks, kind),), lambda _: "")


def _struct(tag: str, header: object, chunks: Sequence[Any], kind: Any) -> Node:
    flat = [chunk.flatten() for chunk in chunks]
    fields = [pa.chunked_array([part[i] for part in flat], kind.field(i).type) for i in range(kind.num_fields)]
    return Node(tag, header, fields, lambda i: f".{kind.field(i).name}")


def _is_text(kind: Any) -> bool:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or _is_view(kind)
    return bool(binary or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_view(kind: Any) -> bool:
    return str(kind) in ("string_view", "binary_view")


def _has_fixed_width(kind: Any) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind))


def _digest(chunks: Sequence[Any], pieces: Callable[[Any], Iterator[Any]]) -> bytes:
    running = new_buffer_hash(sum(chunk.nbytes for chunk in chunks))
    for chunk in chunks:
        for piece in pieces(chunk):
            running.update(piece)
    return running.digest()


def _validity(chunks: Sequence[Any]) -> bytes:
    return _digest(chunks, lambda chunk: (_values(pc.is_valid(part).cast("uint8")) for part in _cut(chunk)))


def _cut(chunk: Any) -> Iterator[Any]:
    return (chunk.slice(at, _ROWS) for at in range(0, len(chunk), _ROWS))


def _fixed_width(chunk: Any) -> Iterator[Any]:
    """Yield the values in place; in copies where a null hides something or bits are packed."""
    if not chunk.null_count and not pa.types.is_boolean(chunk.type):
        yield _values(chunk)
        return
    for part in _cut(chunk):
        shown = part.drop_null() if part.null_count else part
        yield _values(shown.cast("uint8") if pa.types.is_boolean(shown.type) else shown)


def _values(chunk: Any) -> Any:
    """Return the bytes of fixed-width values without nulls, in place."""
    width = chunk.type.bit_width // 8
    buffer = chunk.buffers()[_VALUE_BUFFER]
    if buffer is None or not len(chunk):
        return b""
    return memoryview(buffer)[chunk.offset * width : (chunk.offset + len(chunk)) * width]


def _list_lengths(chunk: Any) -> Iterator[Any]:
    for part in _cut(chunk):
        yield _values(pc.list_value_length(part).drop_null().cast("int64"))


def _text_lengths(chunk: Any) -> Iterator[Any]:
    for part in _cut(chunk):
        yield _values(pc.binary_length(_unviewed(part)).drop_null().cast("int64"))


def _texts(chunk: Any) -> Iterator[Any]:
    if not chunk.null_count and not _is_view(chunk.type):
        yield _text_bytes(chunk)
        return
    for part in _cut(chunk):
        yield _text_bytes(_unviewed(part).drop_null())


def _unviewed(chunk: Any) -> Any:
    return chunk.cast("large_" + str(chunk.type).removesuffix("_view")) if _is_view(chunk.type) else chunk


def _text_bytes(chunk: Any) -> Any:
    """Return the bytes of all texts of a chunk without nulls, in place."""
    _, offsets, data = chunk.buffers()
    if data is None or not len(chunk):
        return b""
    large = pa.types.is_large_string(chunk.type) or pa.types.is_large_binary(chunk.type)
    ends = memoryview(offsets).cast("B").cast("q" if large else "i")
    return memoryview(data)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]]


# --- types and tables ------------------------------------------------------------------------------


def type_name(kind: Any) -> object:
    """Return the plain value that tells a type from all others, with the metadata of its fields."""
    fields = [_field_parts(kind.field(i)) for i in range(kind.num_fields)] if pa.types.is_struct(kind) else []
    return (str(kind), fields)


def _field_parts(field: Any) -> tuple[object, ...]:
    return (field.name, type_name(field.type), field.nullable, dict(field.metadata or {}))


def _schema_parts(schema: Any) -> tuple[object, ...]:
    return ([_field_parts(field) for field in schema], dict(schema.metadata or {}))


def _array(value: Any) -> Node:
    return column_node("arrow.Array", [value], value.type, type_name(value.type))


def _chunked_array(value: Any) -> Node:
    return column_node("arrow.ChunkedArray", value.chunks, value.type, type_name(value.type))


def _table(value: Any) -> Node:
    names = value.schema.names
    columns = [value.column(i) for i in range(value.num_columns)]
    return Node("arrow.Table", (_schema_parts(value.schema), value.num_rows), columns, lambda i: f"[{names[i]!r}]")


def _record_batch(value: Any) -> Node:
    table = _table(value)
    return table._replace(tag="arrow.RecordBatch")


def _scalar(value: Any) -> Node:
    return Node("arrow.Scalar", None, (pa.array([value.as_py()], value.type),), lambda _: "")


def _buffer(value: Any) -> Node:
    return Node("arrow.Buffer", (value.size, buffer_digest(value)), heavy=True)


_RULES: dict[type, Rule] = {
    pa.Array: _array,
    pa.ChunkedArray: _chunked_array,
    pa.Table: _table,
    pa.RecordBatch: _record_batch,
    pa.Scalar: _scalar,
    pa.DataType: lambda value: Node("arrow.DataType", type_name(value)),
    pa.Field: lambda value: Node("arrow.Field", _field_parts(value)),
    pa.Schema: lambda value: Node("arrow.Schema", _schema_parts(value)),
    pa.Buffer: _buffer,
    pa.RecordBatchReader: no_content("a reader", "gives its batches only once; pass read_all() of it"),
    pa.NativeFile: no_content("an open file", "has no stable content; pass its path"),
}
