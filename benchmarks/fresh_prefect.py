"""A whole script: start, find one kept result, print it."""

from prefect import flow, task
from prefect.cache_policies import INPUTS


@task(cache_policy=INPUTS)
def step(x: int, label: str) -> dict[str, object]:
    print("ran")
    return {"x": x, "label": label}


@flow
def main() -> dict[str, object]:
    return step(1, "north")


if __name__ == "__main__":
    print("value", main(), flush=True)
