"""What makes a class a block: its instances can be saved under a name, and loaded.

Two kinds of classes are: `kept.blocks.core.Block`, on pydantic, and the file systems, without it. Each says what its
fields are; all else is here.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from kept.blocks import documents
from kept.blocks.values import Reader, Writer
from kept.exceptions import ConfigurationError, InvalidNameError, SerializationError
from kept.utilities.effects import in_thread

if TYPE_CHECKING:
    from uuid import UUID

S = TypeVar("S", bound="Savable")


class Savable:
    """Can be saved under a name."""

    _is_block_base: ClassVar[bool] = True
    """In a class's own namespace: it is what types of blocks inherit from, and none itself."""

    def save(self, name: str | None = None, overwrite: bool = False) -> UUID:
        """Save this block, its secrets encrypted.

        Arguments:
            name: lowercase letters, digits and dashes; None for the name that it was saved or loaded under.
            overwrite: replace what is saved under this name.

        Returns:
            The id of what is saved, which stays the same when it is overwritten.

        Raises:
            InvalidNameError: the name has other characters.
            ConfigurationError: the name is taken, or it can't be written.
            SerializationError: a field holds what can't be written as JSON.
        """
        slug = type(self).get_block_type_slug()
        name = documents.check_name(self._name_to_save(name))
        id = (documents.id_of(slug, name) if overwrite else None) or documents.new_id()
        documents.write(slug, name, {**document_of(self), "id": str(id)}, overwrite)
        self._remember(name, id)
        return id

    @classmethod
    def load(cls: type[S], name: str, validate: bool = True) -> S:
        """The block that was saved under this name.

        Arguments:
            name: its name, or `type/name`, which `Block.load` needs.
            validate: False takes the fields as they were saved; those that are missing are None.

        Raises:
            ConfigurationError: it was never saved, is damaged, does not fit the class, or is of another type; its
                class can't be found; or its secrets can't be decrypted.
        """
        slug, name = cls._place_of(name)
        document = documents.read(slug, name)
        block = _from_document(document, cls, f"{slug}/{name}", validate)
        block._remember(name, documents.as_id(document["id"]))
        return block

    @classmethod
    def load_from_ref(cls: type[S], ref: str | UUID | dict[str, Any], validate: bool = True) -> S:
        """The block with this id, or that `{"block_document_id": ...}` or `{"block_document_slug": ...}` names.

        Raises:
            ConfigurationError: as `load` does, or the reference has another form.
        """
        said: dict[str, Any] = ref if isinstance(ref, dict) else {"block_document_id": ref}
        slug, id = said.get("block_document_slug"), said.get("block_document_id")
        if slug is None and id is None:
            raise ConfigurationError(f"{ref!r} is no reference to a block: give its id, or its block_document_slug.")
        return cls.load(slug or "/".join(documents.with_id(str(id))), validate)

    @classmethod
    def delete(cls, name: str) -> None:
        """Delete the block that was saved under this name. Raises `ConfigurationError` if there is none."""
        documents.remove(*cls._place_of(name))

    async def asave(self, name: str | None = None, overwrite: bool = False) -> UUID:
        """`save()`, to await."""
        return cast("UUID", await in_thread(self.save, name, overwrite))

    @classmethod
    async def aload(cls: type[S], name: str, validate: bool = True) -> S:
        """`load()`, to await."""
        return cast(S, await in_thread(cls.load, name, validate))

    @classmethod
    async def aload_from_ref(cls: type[S], ref: str | UUID | dict[str, Any], validate: bool = True) -> S:
        """`load_from_ref()`, to await."""
        return cast(S, await in_thread(cls.load_from_ref, ref, validate))

    @classmethod
    async def adelete(cls, name: str) -> None:
        """`delete()`, to await."""
        await in_thread(cls.delete, name)

    @classmethod
    def get_block_type_name(cls) -> str:
        """What people call this type of block: its `_block_type_name`, by default the name of the class."""
        return str(cls._own("_block_type_name") or _origin(cls).__name__)

    @classmethod
    def get_block_type_slug(cls) -> str:
        """What references call this type of block: its `_block_type_slug`, by default its name with dashes.

        Raises:
            InvalidNameError: no slug can be made of its name, or the one that it has is none.
        """
        slug = cls._slug()
        if not documents.is_reference(f"{slug}/x"):
            raise InvalidNameError(
                f"The slug of the block type {_origin(cls).__name__} can't be {slug!r}: set _block_type_slug to "
                "lowercase letters, digits and dashes."
            )
        return slug

    @classmethod
    def get_description(cls) -> str | None:
        """What this type of block is for: its `_description`, by default the first paragraph of its docstring."""
        described = cls._own("_description") or (vars(_origin(cls)).get("__doc__") or "").strip().split("\n\n")[0]
        return " ".join(described.split()) or None

    @classmethod
    def get_code_example(cls) -> str | None:
        """How this type of block is used: its `_code_example`, if it has one."""
        return cast("str | None", cls._own("_code_example"))

    @classmethod
    def _slug(cls) -> str:
        name = cls._own("_block_type_name")
        # Words of a name are kept as they are; those of a class begin with capitals: S3Bucket, HTTPProxy.
        words = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", _origin(cls).__name__)
        return str(cls._own("_block_type_slug") or _dashed(words))

    @classmethod
    def _own(cls, name: str) -> Any:
        """An attribute of this very class: a class that inherits from a type of block is another type."""
        cls = _origin(cls)
        if name in vars(cls):
            return vars(cls)[name]
        # pydantic has made it a private attribute with a default; those of the bases are in the same table.
        private, *above = (vars(each).get("__private_attributes__", {}).get(name) for each in cls.__mro__)
        return None if private is None or any(each is private for each in above) else private.default

    @classmethod
    def _place_of(cls, name: str) -> tuple[str, str]:
        """The slug and the name in a name or reference."""
        if isinstance(name, str) and "/" in name:
            slug, name = documents.split(name)
        elif is_base(cls):
            raise ConfigurationError(
                f"{cls.__name__} does not say of which type the block {name!r} is: write 'type/{name}'."
            )
        else:
            slug = cls.get_block_type_slug()
        return documents.find(slug, documents.check_name(name)), name

    def _name_to_save(self, name: str | None) -> str:
        name = name or getattr(self, "_block_document_name", None)
        if name is None:
            raise ConfigurationError(f"This {type(self).__name__} was not saved before: save it with a name.")
        return name

    def _remember(self, name: str | None, id: UUID | None) -> None:
        self._block_document_name = name
        self._block_document_id = id

    @classmethod
    def _loads(cls, found: type[Savable]) -> bool:
        """Whether a block of that type is one of this."""
        return issubclass(found, cls)

    def __kept_fingerprint__(self) -> Any:
        # Not what it is pickled as: under which name it was saved and how its secrets are encrypted does not count.
        return self._block_state()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A saved block with secrets travels as it lies on disk, so that only who has the key can read them."""
        name = getattr(self, "_block_document_name", None)
        if name is not None:
            document = {**document_of(self), "id": str(self._block_document_id)}
            if document["key"] is not None:
                return _arrived, (type(self), document, name)
        return super().__reduce_ex__(protocol)

    def _block_state(self) -> dict[str, Any]:
        """The fields as they are."""
        raise NotImplementedError

    def _block_values(self, write: Writer) -> dict[str, Any]:
        """The fields as JSON has them."""
        raise NotImplementedError

    @classmethod
    def _block_names(cls) -> tuple[set[str], set[str]]:
        """The names of all fields, and of those that have to be given."""
        raise NotImplementedError

    @classmethod
    def _from_values(cls: type[S], values: dict[str, Any], validate: bool) -> S:
        """A block with these fields."""
        raise NotImplementedError


def _arrived(cls: type[S], document: dict[str, Any], name: str) -> S:
    shown = f"{document['type']}/{name}"
    try:
        block = _from_values_of(document, cls, shown)
    except ConfigurationError:  # there is another key here, or none, and perhaps another block of this name
        return cls.load(shown)
    block._remember(name, documents.as_id(document["id"]))
    return block


def _from_values_of(document: dict[str, Any], cls: type[S], shown: str) -> S:
    reader = Reader(document["key"], functools.partial(_read_nested, shown))
    values = {name: reader.read(value) for name, value in document["fields"].items()}
    try:
        return cls._from_values(values, True)
    except ConfigurationError:  # it did not fit before it was sent
        return cls._from_values(values, False)


def is_base(cls: type[Savable]) -> bool:
    """Whether a class is one that types of blocks inherit from, and none itself."""
    return "_is_block_base" in vars(cls)


def document_of(block: Savable) -> dict[str, Any]:
    """What is saved of a block, but for its id. Raises `SerializationError`."""
    writer = Writer(_write_nested)
    try:
        described = _described(block, writer)
    except RecursionError:
        raise SerializationError(f"This {type(block).__name__} can't be saved: it contains itself.") from None
    saved = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"kept_block": documents.FORMAT, "saved": saved, "key": writer.key_id, **described}


def _described(block: Savable, writer: Writer) -> dict[str, Any]:
    cls = _origin(type(block))
    script = getattr(sys.modules["__main__"], "__file__", None) if cls.__module__ == "__main__" else None
    return {
        "type": cls.get_block_type_slug(),
        "class": f"{cls.__module__}:{cls.__qualname__}",
        **({"script": script} if script else {}),
        "fields": block._block_values(writer),
    }


def _write_nested(writer: Writer, value: Any) -> dict[str, Any] | None:
    """A block within a block: the reference to it if it is saved as it is, else all of it."""
    if not isinstance(value, Savable):
        return None
    reference = reference_of(value)
    return {"$ref": reference} if reference else {"$block": _described(value, writer)}


def reference_of(block: Savable) -> str | None:
    """The reference, `type/name`, to a block that is saved as it is; None for any other."""
    name = getattr(block, "_block_document_name", None)
    return f"{block.get_block_type_slug()}/{name}" if name is not None and _is_saved_as(block, name) else None


def _is_saved_as(block: Savable, name: str) -> bool:
    try:
        return bool(type(block).load(name) == block)
    except ConfigurationError:
        return False


def _from_document(document: dict[str, Any], cls: type[S], shown: str, validate: bool) -> S:
    found = _class_of(document, cls, shown)
    if not cls._loads(found):
        raise ConfigurationError(f"The block {shown} is a {found.__name__}, and no {cls.__name__}.")
    reader = Reader(document.get("key"), functools.partial(_read_nested, shown))
    return cast(S, _made(found, reader, document["fields"], shown, validate))


def _read_nested(shown: str, reader: Reader, mark: str, content: Any) -> Savable:
    if mark == "$ref":
        return Savable.load(content)
    return _made(_class_of(content, Savable, shown), reader, content["fields"], shown, True)


def _made(found: type[S], reader: Reader, fields: dict[str, Any], shown: str, validate: bool) -> S:
    known, needed = found._block_names()
    missing, extra = needed - fields.keys(), fields.keys() - known
    if missing and validate:
        raise ConfigurationError(
            f"The block {shown} was saved without {_listed(missing)}, which {found.__name__} needs now: load it "
            "with validate=False, set what is missing, and save it again with overwrite=True."
        )
    if extra or missing:
        said = [f"has {_listed(extra)}, which the class has not"] if extra else []
        said += [f"lacks {_listed(missing)}"] if missing else []
        message = f"The block {shown} was saved by another version of {found.__name__}: it {' and '.join(said)}."
        warnings.warn(message, stacklevel=4)
    try:
        return found._from_values({name: reader.read(value) for name, value in fields.items()}, validate)
    except ConfigurationError as error:
        if str(error).startswith("The block "):  # one within this one
            raise
        raise ConfigurationError(f"The block {shown} can't be loaded: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"The block {shown} refers to itself.") from None


def _class_of(described: dict[str, Any], asked: type[Savable], shown: str) -> type[Savable]:
    """The class of what was saved: the one that is asked for, one that is there already, or one to import."""
    slug = described["type"]
    module, _, qualname = described["class"].partition(":")
    if not is_base(asked) and asked.get_block_type_slug() == slug:
        return asked
    found = _attribute(sys.modules.get(module), qualname, slug) or _living(slug) or _imported(module, qualname, slug)
    if found is None:
        name = qualname.rpartition(".")[2]
        place = f"the script {described['script']}" if "script" in described else f"the module {module!r}"
        raise ConfigurationError(
            f"The block {shown} is a {name} of {place}, which is not there: load it by {name}.load(...) where {name} "
            "is defined, or define it in a module that can be imported here and save it again."
        )
    return found


def _attribute(module: Any, qualname: str, slug: str) -> type[Savable] | None:
    found = functools.reduce(lambda place, name: getattr(place, name, None), qualname.split("."), module)
    fits = isinstance(found, type) and issubclass(found, Savable) and found._slug() == slug
    return found if fits else None


def _living(slug: str) -> type[Savable] | None:
    """The class of this slug that was defined last in this process, such as in a notebook."""
    return next((cls for cls in reversed([*classes()]) if cls._slug() == slug), None)


def classes(above: type[Savable] = Savable) -> Iterator[type[Savable]]:
    """Every type of block that is defined in this process."""
    for cls in above.__subclasses__():
        if not is_base(cls) and _origin(cls) is cls:
            yield cls
        yield from classes(cls)


def _imported(module: str, qualname: str, slug: str) -> type[Savable] | None:
    if module == "__main__":
        return None
    try:
        return _attribute(importlib.import_module(module), qualname, slug)
    except ModuleNotFoundError:
        return None
    except Exception as error:  # a module of the user's may raise anything
        raise ConfigurationError(f"importing {module} raised {type(error).__name__}: {error}") from error


def _origin(cls: type) -> type[Any]:
    """The class itself, of one of its forms with type arguments."""
    return getattr(cls, "__pydantic_generic_metadata__", {}).get("origin") or cls


def _dashed(words: str) -> str:
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def _listed(names: set[str]) -> str:
    return " and ".join(repr(name) for name in sorted(names))
