"""Blocks: typed configuration, saved under a name."""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretBytes, SecretStr

from kept.blocks.core import Block
from kept.blocks.fields import SecretDict
from kept.blocks.system import Secret
from kept.exceptions import ConfigurationError, InvalidNameError, SerializationError


class Cube(Block):
    """A cube.

    And more of it.
    """

    edge_length_inches: float

    def get_volume(self) -> float:
        return self.edge_length_inches**3


class Credentials(Block):
    user: str
    password: SecretStr
    certificate: SecretBytes | None = None


class KeyFile(Block):
    path: Path


class Service(Block):
    url: str
    login: Credentials | KeyFile


class Colour(Enum):
    RED = "red"


class Point(BaseModel):
    x: int
    label: SecretStr = SecretStr("nothing")


class Everything(Block):
    when: datetime
    wait: timedelta
    price: Decimal
    colour: Colour
    point: Point
    raw: bytes
    names: set[str]
    pair: tuple[int, str]
    by_number: dict[int, str]
    anything: Any = None
    other_name: int = Field(alias="otherName")


def document(home: Path, reference: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "blocks" / f"{reference}.json").read_text())
    return content


class TestSavingAndLoading:
    def test_a_block_is_loaded_by_its_class_or_by_its_type_and_name(self) -> None:
        Cube(edge_length_inches=2.25).save("rubiks-cube")
        assert Cube.load("rubiks-cube").get_volume() == 11.390625
        assert Block.load("cube/rubiks-cube") == Cube(edge_length_inches=2.25)
        assert type(Block.load("cube/rubiks-cube")) is Cube

    def test_each_verb_can_be_awaited_and_none_has_to_be(self) -> None:
        async def main() -> None:
            await Cube(edge_length_inches=1).asave("tiny")
            assert await Cube.aload("tiny") == await Block.aload("cube/tiny") == Cube.load("tiny")
            await Cube.adelete("tiny")
            with pytest.raises(ConfigurationError, match="There is no block cube/tiny"):
                await Cube.aload("tiny")

        asyncio.run(main())

    def test_what_is_saved_has_an_id_that_overwriting_keeps(self) -> None:
        first = Cube(edge_length_inches=1).save("tiny")
        assert isinstance(first, UUID)
        assert Cube(edge_length_inches=2).save("tiny", overwrite=True) == first
        assert Cube.load("tiny").edge_length_inches == 2

    def test_a_loaded_block_is_saved_again_without_its_name(self) -> None:
        Cube(edge_length_inches=1).save("tiny")
        cube = Cube.load("tiny")
        cube.edge_length_inches = 3
        cube.save(overwrite=True)
        assert Cube.load("tiny").edge_length_inches == 3

    def test_a_name_that_is_taken_is_not_overwritten_by_accident(self) -> None:
        Cube(edge_length_inches=1).save("tiny")
        with pytest.raises(ValueError, match=r"There is a block cube/tiny already: save\('tiny', overwrite=True\)"):
            Cube(edge_length_inches=2).save("tiny")
        assert Cube.load("tiny").edge_length_inches == 1

    def test_a_deleted_block_is_gone(self) -> None:
        Cube(edge_length_inches=1).save("tiny")
        Cube.delete("tiny")
        with pytest.raises(ValueError, match="There is no block cube/tiny saved in .*; none is"):
            Cube.load("tiny")
        with pytest.raises(ValueError, match="There is no block cube/tiny"):
            Block.delete("cube/tiny")

    def test_every_type_of_field_comes_back_as_it_was(self) -> None:
        block = Everything(
            when=datetime(2026, 1, 2, 3, 4),
            wait=timedelta(minutes=5),
            price=Decimal("1.10"),
            colour=Colour.RED,
            point=Point(x=1, label=SecretStr("deep")),
            raw=b"\xff\x00",
            names={"a", "b"},
            pair=(1, "x"),
            by_number={1: "one"},
            anything={"$secret": [None, True, 1.5]},
            otherName=7,
        )
        block.save("all")
        assert Everything.load("all") == block

    def test_frozen_models_and_choices_of_aliases_are_fine(self) -> None:
        class Picky(Block):
            model_config = ConfigDict(frozen=True, extra="forbid")
            size: int = Field(validation_alias=AliasChoices("theSize", "size_of"))

        block = Picky(theSize=1)
        block.save("p")
        assert Picky.load("p") == block and {Picky.load("p"): 1}[block] == 1

    def test_a_block_equals_what_was_saved_of_it(self) -> None:
        cube = Cube(edge_length_inches=1)
        cube.save("tiny")
        assert cube == Cube.load("tiny") == Cube(edge_length_inches=1) != Cube(edge_length_inches=2)

    def test_initialization_runs_when_it_is_made_and_when_it_is_loaded(self) -> None:
        class Doubled(Block):
            x: int
            _double: int = 0

            def block_initialization(self) -> None:
                self._double = 2 * (self.x or 0)

        Doubled(x=2).save("d")
        assert (Doubled(x=2)._double, Doubled.load("d")._double, Doubled.load("d", validate=False)._double) == (4, 4, 4)

    def test_a_misspelt_field_is_told_and_others_may_be_added(self) -> None:
        with pytest.warns(UserWarning, match="Credentials has no field 'certifcate': did you mean 'certificate'"):
            Credentials(user="me", password="x", certifcate=b"y")  # type: ignore[arg-type, call-arg]
        cube: Any = Cube(edge_length_inches=1)
        cube.colour = "red"
        cube.save("tiny")
        with pytest.warns(UserWarning, match="has 'colour', which the class has not"):
            loaded: Any = Cube.load("tiny")
        assert loaded.colour == "red"


class TestTypes:
    def test_the_slug_is_the_name_of_the_class_with_dashes(self) -> None:
        class S3Bucket(Block): ...

        class HTTPProxyServer(Block): ...

        slugs = [cls.get_block_type_slug() for cls in (Cube, KeyFile, S3Bucket, HTTPProxyServer, Secret, Secret[int])]
        assert slugs == ["cube", "key-file", "s3-bucket", "http-proxy-server", "secret", "secret"]

    def test_a_type_may_have_another_name_or_slug(self) -> None:
        class Mine(Block):
            _block_type_name = "AWS Credentials (EU)"

        class Yours(Block):
            _block_type_slug = "their-thing"

        class Inherited(Mine): ...

        assert (Mine.get_block_type_name(), Mine.get_block_type_slug()) == (
            "AWS Credentials (EU)",
            "aws-credentials-eu",
        )
        assert (Yours.get_block_type_name(), Yours.get_block_type_slug()) == ("Yours", "their-thing")
        assert (Inherited.get_block_type_name(), Inherited.get_block_type_slug()) == ("Inherited", "inherited")

    def test_a_slug_that_can_be_no_part_of_a_reference_is_refused(self) -> None:
        class Wrong(Block):
            _block_type_slug = "a/b"

        with pytest.raises(InvalidNameError, match="The slug of the block type Wrong can't be 'a/b'"):
            Wrong().save("x")

    def test_dashes_in_a_slug_make_no_difference_as_prefect_has_fewer(self) -> None:
        KeyFile(path=Path("/x")).save("mine")
        assert Block.load("keyfile/mine") == KeyFile(path=Path("/x"))

    def test_the_description_is_the_first_paragraph_of_the_docstring(self) -> None:
        class Other(Block):
            _description = "Something else."

        assert (Cube.get_description(), Other.get_description(), KeyFile.get_description()) == (
            "A cube.",
            "Something else.",
            None,
        )


class TestNames:
    @pytest.mark.parametrize("name", ["My Name", "a_b", "a/b", "..", "", "a.b", "ä"])
    def test_a_name_has_lowercase_letters_digits_and_dashes(self, name: str) -> None:
        with pytest.raises(ConfigurationError):
            Cube(edge_length_inches=1).save(name)

    def test_a_wrong_name_is_told_with_a_right_one(self) -> None:
        with pytest.raises(InvalidNameError, match=r"can't be called 'My Cube': .* such as 'my-cube'"):
            Cube(edge_length_inches=1).save("My Cube")

    def test_the_nearest_saved_name_is_told(self) -> None:
        Cube(edge_length_inches=1).save("rubiks-cube")
        with pytest.raises(ConfigurationError, match="did you mean cube/rubiks-cube"):
            Cube.load("rubix-cube")

    def test_the_base_class_needs_the_type(self) -> None:
        with pytest.raises(ConfigurationError, match="Block does not say of which type the block 'tiny' is"):
            Block.load("tiny")

    def test_a_block_of_another_type_is_not_loaded(self) -> None:
        Secret(value="x").save("s")
        with pytest.raises(ConfigurationError, match="The block secret/s is a Secret, and no Cube"):
            Cube.load("secret/s")

    def test_saving_without_a_name_needs_one_from_before(self) -> None:
        with pytest.raises(ConfigurationError, match="This Cube was not saved before: save it with a name"):
            Cube(edge_length_inches=1).save()


class TestSecrets:
    def test_a_secret_is_anything_that_json_has(self) -> None:
        for value in ("text", 3, {"a": [1, None]}, [True], None):
            Secret(value=value).save("s", overwrite=True)
            assert Secret.load("s").get() == value
        assert Secret(value=SecretStr("text")).get() == "text"

    def test_a_typed_secret_takes_that_type_only(self) -> None:
        Secret[int](value=3).save("n")
        assert Secret[int].load("n").get() == Secret.load("n").get() == 3
        with pytest.raises(ValueError) as refused:
            Secret[int](value="hunter2")
        assert "hunter2" not in str(refused.value)

    def test_secrets_are_encrypted_on_disk_and_never_shown(self, home: Path) -> None:
        login = Credentials(user="me", password=SecretStr("hunter2"), certificate=SecretBytes(b"hunter2\xff"))
        Service(url="x", login=login).save("it")
        Secret(value={"deep": "hunter2"}).save("s")
        shown = [
            f"{block!r} {block!s} {block.model_dump_json()}" for block in (login, Service.load("it"), Secret.load("s"))
        ]
        saved = [path.read_text() for path in home.rglob("*") if path.is_file()]
        assert not [text for text in shown + saved if "hunter2" in text]
        assert Service.load("it").login == login

    def test_a_dict_of_secrets_hides_its_values_at_all_levels(self) -> None:
        class Configuration(Block):
            secrets: SecretDict
            variables: dict[str, int]

        block = Configuration(secrets={"password": "hunter2", "more": {"token": "hunter2"}}, variables={"n": 60})
        block.save("c")
        assert repr(Configuration.load("c")) == (
            "Configuration(secrets=SecretDict({'password': '**********', 'more': {'token': '**********'}}), "
            "variables={'n': 60})"
        )
        assert Configuration.load("c").secrets.get_secret_value()["more"] == {"token": "hunter2"}

    def test_key_and_blocks_are_apart_and_for_their_owner_only(self, home: Path) -> None:
        Secret(value="x").save("s")
        files = [home / "keys" / "blocks.key", home / "blocks" / "secret" / "s.json"]
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
        assert [stat.S_IMODE(file.parent.stat().st_mode) for file in files] == [0o700, 0o700]

    def test_a_block_without_secrets_needs_no_key(self, home: Path) -> None:
        Cube(edge_length_inches=1).save("tiny")
        assert not (home / "keys").exists()

    def test_a_missing_key_is_one_sentence(self, home: Path) -> None:
        Secret(value="x").save("s")
        (home / "keys" / "blocks.key").unlink()
        with pytest.raises(
            ConfigurationError, match=r"The block secret/s can't be loaded: .*blocks.key: copy it there"
        ):
            Secret.load("s")

    def test_another_key_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Secret(value="x").save("s")
        monkeypatch.setenv("KEPT_BLOCKS_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
        with pytest.raises(ConfigurationError, match="encrypted by another key than that of KEPT_BLOCKS_KEY"):
            Secret.load("s")
        Secret(value="y").save("t")
        assert Secret.load("t").get() == "y"

    def test_what_is_no_key_is_refused_without_showing_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT_BLOCKS_KEY", "hunter2")
        with pytest.raises(ConfigurationError, match="What KEPT_BLOCKS_KEY holds is no key for blocks") as refused:
            Secret(value="x").save("s")
        assert "hunter2" not in str(refused.value)


class TestNestedBlocks:
    def test_a_nested_block_comes_back_as_its_own_type(self) -> None:
        for login in (Credentials(user="me", password=SecretStr("x")), KeyFile(path=Path("/k"))):
            Service(url="u", login=login).save("it", overwrite=True)
            assert Service.load("it").login == login

    def test_a_saved_one_stays_a_reference_so_that_what_it_holds_can_change(self, home: Path) -> None:
        login = KeyFile(path=Path("/old"))
        login.save("mine")
        Service(url="u", login=login).save("it")
        KeyFile(path=Path("/new")).save("mine", overwrite=True)
        assert Service.load("it").login == KeyFile(path=Path("/new"))
        assert document(home, "service/it")["fields"]["login"] == {"$ref": "key-file/mine"}

    def test_one_that_was_changed_since_is_saved_as_it_is(self) -> None:
        KeyFile(path=Path("/old")).save("mine")
        login = KeyFile.load("mine")
        login.path = Path("/changed")
        Service(url="u", login=login).save("it")
        assert Service.load("it").login == KeyFile(path=Path("/changed"))

    def test_one_that_is_gone_is_named(self) -> None:
        login = KeyFile(path=Path("/old"))
        login.save("mine")
        Service(url="u", login=login).save("it")
        KeyFile.delete("mine")
        with pytest.raises(ConfigurationError, match="key-file/mine"):
            Service.load("it")


class TestWhatDoesNotFit:
    def test_a_damaged_file_is_one_sentence(self, home: Path) -> None:
        Cube(edge_length_inches=1).save("tiny")
        for text in ("{", "[]", "{}", '{"kept_block": 1}', "null"):
            (home / "blocks" / "cube" / "tiny.json").write_text(text)
            with pytest.raises(
                ConfigurationError, match="The block cube/tiny is damaged in .*tiny.json: save it again"
            ):
                Cube.load("tiny")
        Cube(edge_length_inches=2).save("tiny", overwrite=True)
        assert Cube.load("tiny").edge_length_inches == 2

    def test_a_damaged_secret_is_one_sentence(self, home: Path) -> None:
        Secret(value="x").save("s")
        path = home / "blocks" / "secret" / "s.json"
        path.write_text(path.read_text().replace("gAAAAA", "gAAAAB"))
        with pytest.raises(ConfigurationError, match="The block secret/s can't be loaded: its secrets are damaged"):
            Secret.load("s")

    def test_a_newer_format_is_one_sentence(self, home: Path) -> None:
        Cube(edge_length_inches=1).save("tiny")
        path = home / "blocks" / "cube" / "tiny.json"
        path.write_text(path.read_text().replace('"kept_block": 1', '"kept_block": 2'))
        with pytest.raises(ConfigurationError, match="saved by a newer version of kept, in format 2: upgrade kept"):
            Cube.load("tiny")

    def test_a_class_with_a_new_required_field_says_how_to_go_on(self) -> None:
        def versions(new: bool) -> type[Block]:
            if new:

                class Custom(Block):
                    message: str
                    ducks: int
            else:

                class Custom(Block):  # type: ignore[no-redef]
                    message: str

            return Custom

        versions(False)(message="hello").save("m")
        Custom: Any = versions(True)
        with pytest.raises(
            ConfigurationError, match="saved without 'ducks', which Custom needs now: load it with valid"
        ):
            Custom.load("m")
        with pytest.warns(UserWarning, match="saved by another version of Custom: it lacks 'ducks'"):
            loaded = Custom.load("m", validate=False)
        assert (loaded.message, loaded.ducks) == ("hello", None)
        loaded.ducks = 42
        loaded.save("m", overwrite=True)
        assert Custom.load("m").ducks == 42
        with pytest.warns(UserWarning, match="has 'ducks', which the class has not"):
            versions(False).load("m")

    def test_a_value_that_no_longer_fits_is_told_without_it(self) -> None:
        class Loose(Block):
            _block_type_slug = "loose"
            x: Any

        Loose(x="hunter2").save("l")

        class Strict(Block):
            _block_type_slug = "loose"
            x: int

        with pytest.raises(ConfigurationError, match="does not fit Strict: x: Input should be a valid integer") as told:
            Strict.load("l")
        assert "hunter2" not in str(told.value)

    def test_a_class_that_is_not_there_is_named_with_its_script(self, home: Path) -> None:
        Cube(edge_length_inches=1).save("tiny")
        path = home / "blocks" / "cube" / "tiny.json"
        changed = path.read_text().replace('"type": "cube"', '"type": "gone"').replace("__main__", "x")
        (home / "blocks" / "gone").mkdir()
        (home / "blocks" / "gone" / "tiny.json").write_text(changed)
        with pytest.raises(
            ConfigurationError, match="The block gone/tiny is a Cube of the module '.*', which is not there"
        ):
            Block.load("gone/tiny")

    def test_a_field_that_can_t_be_written_is_named(self) -> None:
        class Holder(Block):
            thing: Any

        with pytest.raises(SerializationError, match="The field 'thing' of this Holder holds a object"):
            Holder(thing=object()).save("x")
