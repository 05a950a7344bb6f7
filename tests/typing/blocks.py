"""Blocks: what is loaded is of the class that loads it, and fields are checked as a model's."""

from __future__ import annotations

from uuid import UUID

from pydantic import SecretStr
from typing_extensions import assert_type

from kept.blocks.core import Block
from kept.blocks.system import Secret
from kept.filesystems import LocalFileSystem


class Login(Block):
    user: str
    password: SecretStr


async def main() -> None:
    assert_type(Login(user="me", password=SecretStr("x")).save("mine", overwrite=True), UUID)
    assert_type(Login.load("mine"), Login)
    assert_type(await Login.aload("mine"), Login)
    assert_type(Block.load("login/mine"), Block)
    assert_type(Secret[int](value=3).get(), int)  # type: ignore[arg-type]
    assert_type(Secret[str].load("token").get(), str)
    assert_type(LocalFileSystem.load("here"), LocalFileSystem)
    Login(user=3, password=SecretStr("x"))  # type: ignore[arg-type]
    Login.laod("mine")  # type: ignore[attr-defined]
