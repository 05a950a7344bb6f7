"""What is measured: the peers, the cases, their sizes, and the budgets of docs/design.md, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NUMPY = "numpy==2.2.6"  # the newest that runs on each Python from 3.10 to 3.13
CASES_IMPORT = ("pydantic", "cloudpickle")
"""What the edited projects of `invalidation.py` import besides."""
# The newest fastapi that pip resolves for it breaks its server.
PREFECT = ("prefect==3.8.8", "fastapi==0.141.1")
SWIFT = ("swift==2.38.3",)
"""The S3 server of the group "far"."""
EXTRAS = "aws,redis"
"""What of kept that group needs besides."""
PEERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kept": (NUMPY,),  # and kept itself, from this checkout
        "prefect": (*PREFECT, NUMPY),
        # Of its own: what Prefect finds installed it loads, which the other must not pay for.
        "prefect-aws": (*PREFECT, "prefect-aws==0.7.12", NUMPY),
        "joblib": ("joblib==1.6.0", NUMPY, *CASES_IMPORT),
        "diskcache": ("diskcache==5.6.3", NUMPY),
        # Only `invalidation.py` asks these two.
        "charmonium": ("charmonium.cache==1.4.1", NUMPY, *CASES_IMPORT),
        "redun": ("redun==0.44.1", NUMPY, *CASES_IMPORT),
    }
)
VERSIONS_SHOWN = (
    "kept", "blake3", "obstore", "redis", "prefect", "fastapi", "prefect-aws", "boto3", "joblib", "diskcache",
    "charmonium.cache", "redun", "numpy",
)  # fmt: skip

MB100 = 100_000_000
GB = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the report."""

    figure: str
    """The name that the worker gives to the samples."""
    title: str
    unit: str
    """How it is shown: "us", "ms" and "s" of a figure in seconds, "B" of bytes, "x" of times."""
    budget: float | None = None
    """What kept may need at most, in seconds, bytes or times."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that a worker does, and the rows that come of it."""

    name: str
    rows: tuple[Row, ...]
    sizes: Mapping[str, Mapping[str, int]]
    """The sizes by peer; a peer that is not here does not take part."""
    full: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What `--full` changes or adds, by peer."""
    how: str = "worker"
    """"worker" runs a case of the peer's worker, "far" one of its worker for far stores, beside the servers; "fresh"
    and "import" time whole processes from outside."""
    group: str = "embedded"
    """The table it is shown in: stores on this machine, or "far" ones."""
    rounds: int | None = None
    """At most so many rounds, where a figure hardly varies and takes long."""


def _loops(prefect: int, **others: int) -> dict[str, dict[str, int]]:
    return {
        "kept": {"batches": 10, "calls": 500, "keys": 100},
        # About 3 ms a call: fewer of them.
        "prefect": {"batches": 10, "calls": prefect, "keys": 50},
        **{peer: {"batches": 10, "calls": calls, "keys": 100} for peer, calls in others.items()},
    }


def _arrays(repeats: int, *peers: str) -> dict[str, dict[str, int]]:
    return {
        peer: {"array_bytes": MB100, "repeats": max(2, repeats // 2) if peer == "prefect" else repeats}
        for peer in peers
    }


def _memory(verb: str, budget: float, *peers: str) -> Case:
    title = f"memory beside a 1 GB array to {verb} it, in arrays"
    return Case(
        name=f"memory_{verb}",
        rows=(Row(figure="beside", title=title, unit="x", budget=budget),),
        sizes={peer: {"array_bytes": GB} for peer in peers},
        # It copies the array several times: a smaller one, scaled.
        full={"prefect": {"array_bytes": GB // 4}},
        rounds=1,
    )


ALL = ("kept", "prefect", "joblib", "diskcache")

CASES: tuple[Case, ...] = (
    Case(
        name="hit_small",
        rows=(
            Row(figure="call", title="cached hit, small args and result", unit="us", budget=30e-6),
            Row(figure="whole_flow", title="the same, the flow's start and end shared out", unit="us"),
        ),
        sizes=_loops(100, joblib=500, diskcache=500),
    ),
    Case(
        name="miss_small",
        rows=(
            Row(figure="call", title="miss, small, result kept", unit="us", budget=90e-6),
            Row(figure="whole_flow", title="the same, the flow's start and end shared out", unit="us"),
        ),
        sizes=_loops(100, joblib=200, diskcache=500),
    ),
    Case(
        name="call_nocache",
        rows=(Row(figure="call", title="task call, no cache", unit="us", budget=20e-6),),
        sizes=_loops(100),
    ),
    Case(
        name="fresh",
        how="fresh",
        rows=(
            Row(figure="value", title="fresh process to first cached result", unit="ms", budget=0.2),
            Row(figure="exit", title="the same, to the end of the process", unit="ms"),
        ),
        sizes={
            "kept": {"repeats": 5},
            "prefect": {"repeats": 1},
            "joblib": {"repeats": 5},
            "diskcache": {"repeats": 5},
        },
    ),
    Case(
        name="fresh_served",
        how="fresh_served",
        rows=(Row(figure="value", title="the same, Prefect's server already running beside it", unit="ms"),),
        sizes={"kept": {"repeats": 3}, "prefect": {"repeats": 3}},
    ),
    Case(
        name="import",
        how="import",
        rows=(
            Row(figure="package", title="`import` of the package, over bare Python", unit="ms", budget=0.06),
            Row(figure="names", title="`import` of the names a script uses, over bare Python", unit="ms"),
            Row(figure="bare", title="bare Python", unit="ms"),
        ),
        sizes={peer: {"repeats": 7 if peer != "prefect" else 3} for peer in ALL},
    ),
    Case(
        name="hit_array_in",
        rows=(Row(figure="call", title="hit, 100 MB array as input", unit="ms", budget=15e-3),),
        sizes=_arrays(6, "kept", "prefect", "joblib"),
    ),
    Case(
        name="hit_array_out",
        rows=(
            Row(figure="value", title="hit, 100 MB array as result", unit="ms", budget=2e-3),
            Row(figure="read", title="the same, and read through once", unit="ms"),
            Row(figure="mapped_value", title="hit, 100 MB array as result, joblib with `mmap_mode`", unit="ms"),
            Row(figure="mapped_read", title="the same, and read through once", unit="ms"),
        ),
        sizes=_arrays(6, *ALL),
    ),
    Case(
        name="miss_array_out",
        rows=(Row(figure="call", title="miss, 100 MB array as result", unit="ms", budget=150e-3),),
        sizes=_arrays(4, *ALL),
    ),
    Case(
        name="map_items",
        rows=(
            Row(
                figure="items_10k",
                title="map over 10,000 kept items (Prefect: scaled from 500)",
                unit="s",
                budget=0.5,
            ),
        ),
        sizes={
            "kept": {"items": 10_000, "repeats": 3},
            # 30 s each time: measured on 500 and scaled, which leaves out what a larger map costs it.
            "prefect": {"items": 500, "repeats": 1},
            "joblib": {"items": 10_000, "repeats": 2},
            "diskcache": {"items": 10_000, "repeats": 2},
        },
        full={"prefect": {"items": 10_000}},
    ),
    Case(
        name="lookups",
        rows=(
            Row(figure="at_1000", title="hit among 1,000 entries", unit="us"),
            Row(figure="at_10000", title="hit among 10,000 entries", unit="us"),
            Row(figure="at_100000", title="hit among 100,000 entries", unit="us"),
            Row(figure="at_1000000", title="hit among 1,000,000 entries", unit="us"),
            Row(figure="growth", title="lookups as entries grow, most over 1,000", unit="x", budget=1.5),
        ),
        sizes={"kept": {"batches": 10, "calls": 500, "largest": 100_000}},
        full={"kept": {"largest": 1_000_000}},
        rounds=1,
    ),
    Case(
        name="files",
        rows=(
            Row(figure="unchanged", title="hit, 1 GB file as input, unchanged", unit="us"),
            Row(figure="changed", title="miss, 1 GB file as input, changed", unit="ms"),
            Row(figure="read", title="... the file read through once, bare", unit="ms"),
            Row(figure="kept", title="miss, 1 GB file as result", unit="s"),
            Row(figure="given", title="hit, 1 GB file as result, that was deleted", unit="s"),
            Row(figure="there", title="... that is there", unit="us"),
        ),
        sizes={"kept": {"file_bytes": GB, "repeats": 3}},
        rounds=2,
    ),
    Case(
        name="many_tasks",
        rows=(
            Row(
                figure="first_time",
                title="100,000 calls in one flow (Prefect: 2,000): one of the first tenth",
                unit="us",
            ),
            Row(figure="last_time", title="... one of the last tenth", unit="us"),
            Row(figure="time_growth", title="... last tenth over first", unit="x", budget=1.2),
            Row(figure="first_memory", title="... memory one of the first tenth adds", unit="B"),
            Row(figure="last_memory", title="... memory one of the last tenth adds", unit="B"),
        ),
        # Prefect would need five minutes.
        sizes={"kept": {"tasks": 100_000}, "prefect": {"tasks": 2_000}},
        full={"prefect": {"tasks": 20_000}},
        rounds=2,
    ),
    Case(
        name="many_submits",
        rows=(
            Row(figure="first_time", title="100,000 submits in one flow: one of the first tenth", unit="us"),
            Row(figure="last_time", title="... one of the last tenth", unit="us"),
            Row(figure="time_growth", title="... last tenth over first", unit="x", budget=1.2),
            Row(figure="last_memory", title="... memory one of the last tenth adds", unit="B"),
        ),
        sizes={"kept": {"tasks": 100_000}},
        rounds=1,
    ),
    Case(
        name="threads",
        rows=(
            Row(figure="kept", title="no-op task, 10,000 submitted and gathered on threads", unit="us", budget=60e-6),
            Row(figure="executor", title="... by `ThreadPoolExecutor`", unit="us"),
        ),
        sizes={"kept": {"tasks": 10_000, "repeats": 5}},
        rounds=2,
    ),
    Case(
        name="gathered",
        rows=(
            Row(figure="switch_kept", title="async task that awaits `sleep(0)`, 1,000 at once", unit="us"),
            Row(figure="switch_bare", title="... bare, by `asyncio.gather`", unit="us"),
            Row(figure="switch_times", title="... kept over bare, the least of each", unit="x"),
            Row(figure="sleep_kept", title="async task that awaits `sleep(0.01)`, 1,000 at once", unit="us"),
            Row(figure="sleep_bare", title="... bare, by `asyncio.gather`", unit="us"),
            Row(figure="sleep_times", title="... kept over bare, the least of each", unit="x", budget=2),
        ),
        sizes={"kept": {"tasks": 1_000, "repeats": 5}},
        rounds=2,
    ),
    Case(
        name="processes",
        rows=(
            Row(figure="idle_kept", title="task that does nothing, on 2 processes", unit="us"),
            Row(figure="idle_executor", title="... by `ProcessPoolExecutor` (spawn)", unit="us"),
            Row(figure="idle_times", title="... kept over the executor, the least of each", unit="x", budget=1.5),
            Row(figure="busy_kept", title="task of 5 ms, on 2 processes", unit="us"),
            Row(figure="busy_executor", title="... by `ProcessPoolExecutor` (spawn)", unit="us"),
            Row(figure="busy_times", title="... kept over the executor, the least of each", unit="x", budget=1.5),
        ),
        sizes={"kept": {"tasks": 2_000, "workers": 2, "repeats": 5}},
        rounds=1,
    ),
    _memory("keep", 1.2, "kept", "joblib", "diskcache"),
    _memory("load", 1.2, "kept", "joblib", "diskcache"),
    # "None" in the brief: two in a hundred is what page-sized noise and a thread's buffers may take.
    _memory("fingerprint", 0.02, "kept", "joblib"),
    Case(
        name="far_hit",
        how="far",
        group="far",
        rows=(
            Row(figure="call", title="small hit from S3, nothing of it near", unit="ms"),
            Row(figure="beside", title="... a GET of the same object by the same client", unit="ms"),
            Row(figure="times", title="... hit over GET", unit="x", budget=1.2),
            Row(figure="requests", title="... requests for one hit", unit="n", budget=1),
            Row(figure="warm", title="... again, from the local tier", unit="us", budget=60e-6),
            Row(figure="embedded", title="... the same hit in the store of this machine", unit="us"),
        ),
        sizes={"kept": {"keys": 200}, "prefect-aws": {"keys": 45}},
    ),
    Case(
        name="far_miss",
        how="far",
        group="far",
        rows=(
            Row(figure="call", title="small miss, result kept in S3", unit="ms"),
            Row(figure="requests", title="... requests for one miss", unit="n"),
        ),
        sizes={"kept": {"batches": 10, "calls": 10}, "prefect-aws": {"batches": 3, "calls": 10}},
    ),
    Case(
        name="far_map",
        how="far",
        group="far",
        rows=(
            Row(figure="cold", title="map over 1,000 results kept in S3 (Prefect: scaled from 100)", unit="s"),
            Row(figure="limit", title="... all of them by the bare client, as many at once as goes best", unit="s"),
            Row(figure="times", title="... map over the greater of that and a second", unit="x", budget=1.1),
            Row(figure="warm", title="... again, from the local tier (Prefect: from S3)", unit="s"),
            Row(figure="embedded", title="... the same from the store of this machine", unit="s"),
        ),
        sizes={"kept": {"keys": 1_000, "repeats": 3}, "prefect-aws": {"keys": 100, "repeats": 1}},
    ),
    Case(
        name="far_load",
        how="far",
        group="far",
        rows=(
            Row(figure="up", title="1 GB array kept in S3 (Prefect: scaled from 100 MB)", unit="s"),
            Row(figure="bare_up", title="... the same bytes sent by the bare client", unit="s"),
            Row(figure="up_times", title="... kept over that", unit="x", budget=1.11),
            Row(figure="up_memory", title="... memory beside the array", unit="MB", budget=200e6),
            Row(figure="down", title="1 GB array loaded from S3 and read through (Prefect: scaled)", unit="s"),
            Row(figure="bare_down", title="... the same bytes fetched by the bare client", unit="s"),
            Row(figure="down_times", title="... kept over that", unit="x", budget=1.11),
            Row(figure="down_memory", title="... memory beside the array", unit="MB", budget=200e6),
        ),
        sizes={"kept": {"array_bytes": GB}, "prefect-aws": {"array_bytes": MB100}},
        rounds=1,
    ),
    Case(
        name="far_locks",
        how="far",
        group="far",
        rows=(
            Row(figure="lock", title="what a lock in Redis adds to a miss", unit="us", budget=300e-6),
            Row(figure="bare_lock", title="... two commands of the bare client, SET and DEL", unit="us"),
            Row(figure="lease", title="what a lease adds to a miss that is kept in S3", unit="ms"),
            Row(figure="stored", title="... the miss without it", unit="ms"),
        ),
        sizes={"kept": {"batches": 10, "calls": 200}},
    ),
    Case(
        name="far_contend",
        how="far",
        group="far",
        rows=(
            Row(figure="took", title="8 processes that want the same 200 results in S3, SERIALIZABLE", unit="s"),
            Row(figure="fewest", title="... runs of the key that ran least often", unit="n"),
            Row(figure="most", title="... runs of the key that ran most often", unit="n", budget=1),
        ),
        sizes={"kept": {"processes": 8, "keys": 200}},
    ),
)

_QUICK = {"batches": 2, "calls": 2, "repeats": 3, "items": 10, "tasks": 20, "largest": 10, "array_bytes": 4}
"""By what `--quick` divides each size."""


def sizes_of(case: Case, peer: str, *, quick: bool, full: bool) -> dict[str, int] | None:
    """The sizes for one peer, or None if it takes no part."""
    sizes = dict(case.sizes.get(peer, {}))
    if full:
        sizes |= case.full.get(peer, {})
    if quick:
        sizes = {name: max(1, size // _QUICK.get(name, 1)) for name, size in sizes.items()}
    return sizes or None
