"""Why a run was a hit, a miss or neither: from parts, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from kept.engine.code_changes import bare_source, diff_of
from kept.engine.explain import Difference, Explanation, Kept, code_differences, compared, nearest_of
from kept.fingerprint import CodePart

HOUR = 3600.0


def kept(parts: dict[str, str], at: float = 0.0, **fields: Any) -> Kept:
    return Kept(**{"key": "k", "parts": parts, "at": at, "seconds": 1.0, "run": "clean-d85", "flow_run": "", **fields})


def part(name: str, text: str = "", kind: str = "function", where: str = "") -> CodePart:
    return CodePart(name, kind, f"b3:{text}", where, text, ())


def differences(parts: dict[str, str], before: Kept, arguments: dict[str, str] | None = None) -> list[str]:
    return [str(one) for one in compared(parts, arguments or {}, before, lambda digest: ())[0]]


def miss(**fields: Any) -> Explanation:
    return Explanation("MISS", "not kept yet", "etl.clean", 2 * HOUR, **fields)


class TestTheNearestKeptResult:
    def test_has_the_fewest_differences(self) -> None:
        far, near = kept({"inputs.x": "1", "code": "1"}, at=9), kept({"inputs.x": "2", "code": "1"}, at=1)
        assert nearest_of({"inputs.x": "2", "code": "2"}, [far, near]) is near

    def test_is_the_latest_of_those_that_differ_as_much(self) -> None:
        old, new = kept({"inputs.x": "1"}, at=1), kept({"inputs.x": "2"}, at=2)
        assert nearest_of({"inputs.x": "3"}, [new, old]) is new

    def test_is_nothing_where_nothing_was_kept(self) -> None:
        assert nearest_of({"inputs.x": "1"}, []) is None


class TestDifferences:
    def test_name_what_changed_code_first(self) -> None:
        before = kept({"inputs.x": "b3p:1", "code": "b3:1", "dist.numpy": "2.4.5", "inputs.y": "b3:5"})
        parts = {"inputs.x": "b3p:2", "code": "b3:2", "dist.numpy": "2.4.6", "inputs.y": "b3:5"}
        assert differences(parts, before) == ["code changed", "inputs.x changed", "dist.numpy 2.4.5 -> 2.4.6"]

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("0.1", "0.2", ["inputs.x 0.1 -> 0.2"]),
            ("{'lr': 0.1, 'n': 3}", "{'lr': 0.2, 'n': 3}", ["inputs.x['lr'] 0.1 -> 0.2"]),
            ("{'a': [1, 2]}", "{'a': [1, 3]}", ["inputs.x['a'][1] 2 -> 3"]),
            ("{'.lr': 0.1, '.n': [1]}", "{'.lr': 0.2, '.n': [2]}", ["inputs.x.lr 0.1 -> 0.2", "inputs.x.n[0] 1 -> 2"]),
            ("[1, 2]", "[1, 2, 3]", ["inputs.x [1, 2] -> [1, 2, 3]"]),
            ("(1, 2)", "[1, 2]", ["inputs.x (1, 2) -> [1, 2]"]),
            ("{'a': 1}", "{'b': 1}", ["inputs.x['b'] added", "inputs.x['a'] removed"]),
            ("1", "True", ["inputs.x 1 -> True"]),
            ("nan", "1.0", ["inputs.x 'nan' -> 1.0"]),
        ],
    )
    def test_lead_to_the_place_in_a_small_value(self, old: str, new: str, said: list[str]) -> None:
        before = kept({"inputs.x": "b3p:1"}, arguments={"x": old})
        assert differences({"inputs.x": "b3p:2"}, before, {"x": new}) == said

    def test_of_values_that_only_one_run_remembered_are_no_more_than_changes(self) -> None:
        before = kept({"inputs.x": "b3p:1"})
        assert differences({"inputs.x": "b3p:2"}, before, {"x": "2"}) == ["inputs.x changed"]

    def test_that_one_side_did_not_record_are_not_compared(self) -> None:
        before = kept({"inputs.x": "b3p:1", "run_id": "5"})
        changed, not_compared = compared({"inputs.x": "b3p:2", "code": "b3:1"}, {}, before, lambda digest: ())
        assert [one.what for one in changed] == ["inputs.x"]
        assert not_compared == ("code", "run_id")


class TestChangedCode:
    def test_is_named_with_its_place_and_a_diff_of_what_counts(self) -> None:
        before = [part("etl.clean", "def clean(x: int):\n    '''Doc.'''\n    return x + 1  # one\n")]
        after = [part("etl.clean", "@task\ndef clean(x):\n    return x + 2\n", where="etl.py:14")]
        (one,) = code_differences(before, after)
        assert str(one) == "code.etl.clean changed (etl.py:14)"
        assert one.diff.splitlines()[3:] == [" def clean(x):", "-    return x + 1", "+    return x + 2"]

    def test_of_a_constant_shows_both_values(self) -> None:
        before, after = ([part("etl.RATE", text, "constant", where="etl.py:3")] for text in ("0.1", "0.2"))
        assert [str(one) for one in code_differences(before, after)] == ["code.etl.RATE 0.1 -> 0.2 (etl.py:3)"]

    def test_of_a_secret_shows_none(self) -> None:
        before, after = (CodePart("etl.KEY", "constant", digest, "", "********", ()) for digest in ("b3:1", "b3:2"))
        assert [str(one) for one in code_differences([before], [after])] == ["code.etl.KEY changed"]

    def test_may_be_new_or_gone(self) -> None:
        before, after = [part("etl.f", "1"), part("etl.g", "2")], [part("etl.f", "1"), part("etl.h", "3")]
        assert [str(one) for one in code_differences(before, after)] == ["code.etl.h added", "code.etl.g removed"]

    def test_that_only_moved_to_another_module_is_no_difference(self) -> None:
        before, after = [part("etl.f", "1"), part("etl.g", "2")], [part("etl.f", "3"), part("utils.g", "2")]
        assert [one.what for one in code_differences(before, after)] == ["code.etl.f"]

    def test_is_just_that_where_nobody_knows_what_it_was(self) -> None:
        assert code_differences([], [part("etl.f", "1")]) == []

    @pytest.mark.parametrize(
        ("text", "bare"),
        [
            ("def f(x: int = 1, *a: int) -> str:\n    'Doc.'", "def f(x=1, *a):\n    pass"),
            ("async def f():\n    y: int = 1\n    return y", "async def f():\n    y = 1\n    return y"),
            ("@kept.task(retries=3)\n@cache\ndef f(): pass", "@cache\ndef f():\n    pass"),
            ("class A:\n    '''Doc.'''\n    x: int\n    y: int = 2", "class A:\n    x: int\n    y = 2"),
            ("lambda x: (x,", "lambda x: (x,"),
        ],
    )
    def test_is_shown_without_what_does_not_count(self, text: str, bare: str) -> None:
        assert bare_source(text) == bare

    def test_has_no_diff_if_its_source_is_the_same(self) -> None:
        assert diff_of("x = 1", "x = 1") == ""


class TestTheLine:
    def test_of_a_miss_says_what_changed_and_since_when(self) -> None:
        changes = (
            Difference("code.etl.clean", "changed", where="etl.py:14"),
            Difference("inputs.cfg['lr']", "changed", "0.1", "0.2"),
        )
        found = miss(nearest=kept({}, flow_run="mint-otter"), differences=changes)
        assert found.line == (
            "MISS: code.etl.clean changed (etl.py:14), inputs.cfg['lr'] 0.1 -> 0.2; "
            "nearest kept result is from 2 hours ago, run 'mint-otter'"
        )

    def test_shows_three_differences_and_counts_the_rest(self) -> None:
        changes = tuple(Difference(f"inputs.{name}", "changed") for name in "abcde")
        assert "inputs.c changed, 2 more; nearest" in miss(nearest=kept({}), differences=changes).line

    def test_shortens_long_values(self) -> None:
        assert len(str(Difference("inputs.x", "changed", "1" * 500, "2" * 500))) < 150

    def test_of_a_first_miss_says_so(self) -> None:
        assert miss().line == "MISS: not kept yet, and nothing else of this step is known"

    def test_of_a_result_that_vanished_says_so(self) -> None:
        assert miss(nearest=kept({})).line == "MISS: kept 2 hours ago in run 'clean-d85', and not there any more"

    def test_of_keys_with_other_parts_claims_no_change(self) -> None:
        said = miss(nearest=kept({}), not_compared=("inputs.z",)).line
        assert said.startswith("MISS: nothing that both have differs, not compared: inputs.z; nearest kept")

    def test_of_a_hit_says_who_computed_it_when_and_how_long_that_took(self) -> None:
        found = miss(nearest=kept({}, flow_run="mint-otter", seconds=75.0))._replace(decision="HIT", reason="kept")
        assert found.line == "HIT: kept 2 hours ago in run 'mint-otter', which took 75 s"

    def test_of_a_run_without_cache_says_which_rule_turned_it_off(self) -> None:
        assert miss()._replace(decision="OFF", reason="persist_result=False").line == "OFF: persist_result=False"


def test_the_long_form_shows_every_difference_with_its_diff_and_the_key() -> None:
    change = Difference("code.etl.f", "changed", where="etl.py:1", diff="--- kept\n+++ now\n-1\n+2")
    found = miss(nearest=kept({}, run="f-1"), differences=(change,), not_compared=("python",), key="5f", run="f-2")
    assert str(found).splitlines() == [
        "MISS etl.clean f-2",
        "  not kept yet; nearest kept result is from 2 hours ago, run 'f-1'",
        "  - code.etl.f changed (etl.py:1)",
        "      --- kept",
        "      +++ now",
        "      -1",
        "      +2",
        "  not compared, as only one of both keys has it: python",
        "  key 5f",
    ]


def test_all_of_it_is_plain_values_for_json() -> None:
    found = miss(nearest=kept({"a": "1"}), differences=(Difference("a", "changed", "1", "2"),)).as_dict()
    assert found["nearest"]["parts"] == {"a": "1"}
    assert found["differences"][0] == {"what": "a", "how": "changed", "old": "1", "new": "2", "where": "", "diff": ""}
    assert found["line"].startswith("MISS: a 1 -> 2")
