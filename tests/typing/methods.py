"""Tasks and flows that are methods: what they are bound to is no longer asked for."""

from __future__ import annotations

from typing_extensions import assert_type

from kept import flow, task
from kept.futures import KeptFuture


class Model:
    @task
    def fit(self, rows: int) -> str:
        return str(rows)

    @task(retries=2)
    async def load(self, path: str) -> bytes:
        return path.encode()

    @flow
    def train(self, rows: int) -> float:
        assert_type(self.fit(rows), str)
        assert_type(self.fit.submit(rows), KeptFuture[str])
        return 1.0

    @classmethod
    @task
    def named(cls, name: str) -> Model:
        return cls()

    @task
    @classmethod
    def renamed(cls, name: str) -> Model:
        return cls()

    @staticmethod
    @task
    def scale(x: float) -> float:
        return x

    @task
    @staticmethod
    def rescale(x: float) -> float:
        return x


class Forest(Model):
    def grow(self) -> None:
        assert_type(self.fit(1), str)
        assert_type(super().fit(1), str)


async def main(model: Model, forest: Forest) -> None:
    assert_type(model.fit(1), str)
    assert_type(model.fit.submit(1).result(), str)
    assert_type(model.fit.map([1, 2]).result(), list[str])
    assert_type(model.fit.with_options(retries=1)(1), str)
    assert_type(Model.fit(model, 1), str)
    assert_type(await model.load("a"), bytes)
    assert_type(model.load.submit("a").result(), bytes)
    assert_type(model.train(1), float)
    assert_type(Model.train(model, 1), float)
    assert_type(forest.fit(1), str)

    assert_type(Model.named("a"), Model)
    assert_type(model.named("a"), Model)
    assert_type(Forest.named("a"), Model)
    assert_type(Model.renamed("a"), Model)
    assert_type(Model.scale(1.0), float)
    assert_type(model.scale(1.0), float)
    assert_type(Model.rescale(1.0), float)
    assert_type(model.rescale(1.0), float)
    assert_type(forest.rescale.submit(1.0), KeptFuture[float])

    model.fit("x")  # type: ignore
    model.train("x")  # type: ignore
    Model.fit(1)  # type: ignore
    Model.named(1)  # type: ignore
    model.scale("x")  # type: ignore
