"""What of a block goes into pickles, keys and other processes: as little of its secrets as possible."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from kept import task
from kept.blocks.core import Block
from kept.blocks.system import Secret
from kept.cache_policies import INPUTS
from kept.exceptions import ConfigurationError
from kept.filesystems import RemoteFileSystem
from tests.blocks.test_blocks import Credentials, Service

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def credentials() -> Credentials:
    return Credentials(user="me", password="hunter2")  # type: ignore[arg-type]


def test_a_pickle_of_a_saved_block_holds_no_secret_in_plain_text() -> None:
    remote = RemoteFileSystem(basepath="memory://x", settings={"key": "hunter2"})
    inner = credentials()
    blocks: list[Block | RemoteFileSystem] = [Secret(value="hunter2"), inner, remote, Service(url="u", login=inner)]
    for number, block in enumerate(blocks):
        block.save(f"b{number}")
        data = pickle.dumps(block)
        assert b"hunter2" not in data
        assert pickle.loads(data) == block
        assert pickle.loads(data)._block_document_name == f"b{number}"


def test_a_block_around_a_saved_one_holds_no_secret_either() -> None:
    inner = credentials()
    inner.save("mine")
    assert b"hunter2" not in pickle.dumps(Service(url="u", login=inner))


def test_one_that_was_never_saved_travels_as_it_is() -> None:
    assert pickle.loads(pickle.dumps(credentials())) == credentials()


def test_what_was_changed_since_it_was_saved_travels_changed() -> None:
    block = credentials()
    block.save("mine")
    block.user = "you"
    assert pickle.loads(pickle.dumps(block)).user == "you"


def test_where_there_is_another_key_the_block_of_that_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    block = credentials()
    block.save("mine")
    data = pickle.dumps(block)
    monkeypatch.setenv("KEPT_BLOCKS_KEY", KEY)
    with pytest.raises(ConfigurationError, match="The block credentials/mine can't be loaded"):
        pickle.loads(data)
    Credentials(user="there", password="x").save("mine", overwrite=True)  # type: ignore[arg-type]
    assert pickle.loads(data).user == "there"


def test_copies_are_copies() -> None:
    block = credentials()
    block.save("mine")
    assert copy.copy(block) == copy.deepcopy(block) == block


def test_a_saved_block_and_an_equal_one_are_the_same_input() -> None:
    ran: list[str] = []

    @task(cache_policy=INPUTS)
    def use(secret: Secret[str], files: RemoteFileSystem) -> str:
        ran.append(secret.get())
        return "used"

    def files() -> RemoteFileSystem:
        return RemoteFileSystem(basepath="memory://x", settings={"key": "hunter2"})

    secret = Secret(value="hunter2")
    use(secret, files())
    secret.save("s")
    files().save("f")
    use(secret, RemoteFileSystem.load("f"))
    use(Secret.load("s"), RemoteFileSystem.load("f"))
    assert ran == ["hunter2"]
    use(Secret(value="other"), files())
    assert ran == ["hunter2", "other"]


def test_a_kept_block_shows_no_secret_in_the_store(home: Path) -> None:
    Secret(value="hunter2").save("s")

    @task(cache_policy=INPUTS)
    def load(name: str) -> Secret[str]:
        return Secret.load(name)

    assert load("s").get() == load("s").get() == "hunter2"
    assert not [path for path in home.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


SCRIPT = """
from pydantic import SecretStr
from kept import flow, task
from kept.blocks.core import Block
from kept.task_runners import ProcessPoolTaskRunner

class Login(Block):
    password: SecretStr

@task
def size(login: Login) -> int:
    assert type(login) is Login and Login.load("mine") == login
    return len(login.password.get_secret_value())

@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def main():
    login = Login(password="hunter2")
    login.save("mine")
    return sum(size.submit(each).result() for each in (login, Login.load("mine"), Block.load("login/mine")))
print(main())
"""


def test_a_script_s_own_block_reaches_worker_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.stdout == "21\n", done.stderr
    assert "hunter2" not in done.stderr


def test_a_class_of_a_script_is_found_where_it_is_defined_else_named(tmp_path: Path) -> None:
    script = tmp_path / "cubes.py"
    script.write_text(
        "from kept.blocks.core import Block\n"
        "class Box(Block):\n    edge: float\n"
        "if __name__ == '__main__':\n    Box(edge=1).save('b')\n    print(Block.load('box/b'))\n"
    )
    assert subprocess.run([sys.executable, str(script)], capture_output=True, text=True).stdout == "edge=1.0\n"
    with pytest.raises(
        ConfigurationError, match=r"The block box/b is a Box of the script .*cubes.py, which is not there"
    ):
        Block.load("box/b")
    program = "import cubes; from kept.blocks.core import Block; print(type(Block.load('box/b')) is cubes.Box)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
