"""`kept block`, as its users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kept.blocks.core import Block
from kept.blocks.system import Secret
from kept.exceptions import ConfigurationError
from tests.blocks.test_blocks import Credentials, Cube, KeyFile, Service
from tests.test_cli import Done
from tests.test_cli import kept as run

Command = Callable[..., Done]

MODULE = '''
from kept.blocks.core import Block
from pydantic import SecretStr

class Engine(Block):
    """What drives."""
    token: SecretStr

class Car(Block):
    engine: Engine
    colour: str = "red"
'''


@pytest.fixture
def kept(home: Path, tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "cars.py").write_text(MODULE)

    def command(*arguments: str) -> Done:
        return run("block", *arguments, cwd=folder, KEPT_HOME=str(home))

    return command


def test_ls_lists_what_is_saved(kept: Command) -> None:
    assert "No blocks are saved in" in kept("ls").err
    id = Cube(edge_length_inches=1).save("tiny")
    Secret(value="hunter2").save("password")
    lines = kept("ls").out.splitlines()
    assert [line.split()[0] for line in lines] == ["cube/tiny", "secret/password"]
    assert json.loads(kept("ls", "-o", "json").out)[0]["id"] == str(id)


def test_ls_goes_on_after_a_damaged_one(kept: Command, home: Path) -> None:
    Cube(edge_length_inches=1).save("tiny")
    KeyFile(path=Path("/x")).save("mine")
    (home / "blocks" / "cube" / "tiny.json").write_text("{")
    out = kept("ls").out
    assert "The block cube/tiny is damaged" in out and "key-file/mine" in out


def test_inspect_shows_all_but_secrets(kept: Command) -> None:
    Service(url="http://x", login=Credentials(user="me", password="hunter2")).save("it")  # type: ignore[arg-type]
    for done in (kept("inspect", "service/it"), kept("inspect", "service/it", "-o", "json")):
        assert "http://x" in done.out and "me" in done.out and "********" in done.out
        assert "hunter2" not in done.out + done.err


def test_inspect_and_delete_take_an_id(kept: Command) -> None:
    id = str(Cube(edge_length_inches=1.5).save("tiny"))
    assert "1.5" in kept("inspect", "--id", id).out
    assert kept("delete", "--id", id).out == "Deleted the block cube/tiny.\n"
    done = kept("inspect", "cube/tiny")
    assert (done.code, done.err.startswith("Error: There is no block cube/tiny saved")) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["inspect"], "Say which block"),
        (["delete", "tiny"], "'tiny' is no reference to a saved block: write type/name"),
        (["delete", "cube/tiny"], "There is no block cube/tiny saved in"),
        (["delete", "--id", "x"], "There is no block with the id 'x'"),
        (["register"], "Say where the types are"),
        (["register", "-m", "no_such"], "no_such can't be imported: ModuleNotFoundError"),
        (["register", "-f", "no_such.py"], "no_such.py is no Python file"),
        (["register", "-m", "json"], "json defines no types of blocks"),
        (["types", "inspect", "cra"], "There is no block type cra"),
        (["ls", "-o", "xml"], "--output can't be 'xml'"),
    ],
)
def test_what_can_t_be_is_one_sentence(arguments: list[str], error: str, kept: Command) -> None:
    done = kept(*arguments)
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert error in done.err


@pytest.mark.parametrize("where", [["-m", "cars"], ["-f", "cars.py"], ["--module", "cars"], ["--file", "cars.py"]])
def test_register_notes_the_types_that_a_module_defines(where: list[str], kept: Command) -> None:
    registered = kept("register", *where).out.splitlines()
    assert registered == ["Registered the block type engine (Engine).", "Registered the block type car (Car)."]
    types = {row["type"]: row for row in json.loads(kept("type", "ls", "-o", "json").out)}
    assert types["engine"]["description"] == "What drives."
    assert types["car"]["fields"] == {"colour": "str", "engine": "Engine, required"}
    assert {"secret", "local-file-system", "remote-file-system"} <= types.keys()


def test_types_are_listed_shown_and_forgotten(kept: Command) -> None:
    Service.register_type_and_schema()
    KeyFile(path=Path("/x")).save("mine")
    listed = kept("types").out
    assert all(type_ in listed for type_ in ("service", "credentials", "key-file", "secret"))
    assert "login" in kept("types", "inspect", "service").out
    assert "delete key-file/mine first" in kept("types", "delete", "key-file").err
    assert kept("types", "delete", "service").out == "Forgot the block type service.\n"
    assert "\nservice " not in kept("types", "ls").out


def test_the_base_class_is_no_type_to_register() -> None:
    with pytest.raises(ConfigurationError, match="Block is what types of blocks inherit from, and no type"):
        Block.register_type_and_schema()
