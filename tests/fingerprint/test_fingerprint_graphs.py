"""Shared parts, cycles and depth: time stays linear, and identity counts only where a cycle needs it."""

from __future__ import annotations

import copy
import itertools
import random
from typing import Any

import pytest
from fingerprint_samples import Plain, nested, ring

from kept.exceptions import HashError
from kept.fingerprint import fingerprint


def linked(length: int, doubly: bool = False) -> list[Plain]:
    nodes = [Plain(value=i, next=None, previous=None) for i in range(length)]
    for left, right in itertools.pairwise(nodes):
        left.next = right
        if doubly:
            right.previous = left
    return nodes


def tree(levels: int, parent: Plain | None = None, name: str = "root") -> Plain:
    node = Plain(name=name, parent=parent)
    node.children = [tree(levels - 1, node, f"{name}.{i}") for i in range(2)] if levels else []
    return node


def test_sharing_a_part_is_the_same_as_repeating_it() -> None:
    part = Plain(a=[1, 2])
    assert fingerprint([part, part]) == fingerprint([part, copy.deepcopy(part)])


@pytest.mark.parametrize("bottom", [1, Plain(a=1), range(3)])
def test_parts_shared_at_every_level_take_linear_time(bottom: object) -> None:
    shared = repeated = bottom
    for _ in range(60):
        shared = [shared, shared]
        repeated = [repeated, repeated]
    assert fingerprint(shared) == fingerprint(repeated) != fingerprint([shared])


def test_wide_lists_of_one_shared_part_take_linear_time() -> None:
    value: Any = ["x" * 1000] * 1000
    for _ in range(20):
        value = [value] * 1000
    assert fingerprint(value) == fingerprint(list(value))


def test_a_cycle_ends_and_its_content_counts() -> None:
    assert fingerprint(ring()) == fingerprint(ring())
    other = ring()
    other.next.name = "c"
    assert fingerprint(other) != fingerprint(ring())


@pytest.mark.parametrize("make", [list, dict])
def test_a_container_of_itself_ends(make: type) -> None:
    def cyclic(extra: object) -> Any:
        value = make()
        if make is list:
            value.extend([value, extra])
        else:
            value.update(me=value, extra=extra)
        return value

    assert fingerprint(cyclic(1)) == fingerprint(cyclic(1)) != fingerprint(cyclic(2))


def test_a_member_of_a_cycle_has_the_same_fingerprint_wherever_it_stands() -> None:
    member = ring()
    known = {id(member): fingerprint(member)}
    assert fingerprint([member, 1]) == fingerprint([member, 1], known=known)
    assert fingerprint({"a": member}) == fingerprint({"a": member}, known=known)


def test_members_of_a_cycle_differ_from_each_other() -> None:
    member = ring()
    assert fingerprint(member) != fingerprint(member.next)
    assert fingerprint([member, member.next]) != fingerprint([member.next, member])


def test_rings_of_equal_members_end() -> None:
    def ring_of(length: int) -> Plain:
        nodes = [Plain() for _ in range(length)]
        for node, following in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
            node.next = following
        return nodes[0]

    assert fingerprint(ring_of(3)) == fingerprint(ring_of(3)) == fingerprint(ring_of(3).next)


def test_a_dense_graph_takes_linear_time_and_the_order_of_edges_counts() -> None:
    def dense(order: int) -> list[Plain]:
        nodes = [Plain(name=i) for i in range(200)]
        for node in nodes:
            node.others = nodes[::order]
        return nodes

    assert fingerprint(dense(1)) == fingerprint(dense(1)) != fingerprint(dense(-1))


def test_sets_inside_a_cycle_are_ordered_by_what_their_elements_show() -> None:
    def graph(seed: int) -> Plain:
        nodes = [Plain(name=i) for i in range(20)]
        random.Random(seed).shuffle(nodes)
        for node in nodes:
            node.neighbours = set(nodes)
        return next(node for node in nodes if node.name == 0)

    assert fingerprint(graph(1)) == fingerprint(graph(2))


def test_a_set_of_equal_elements_that_lead_back_to_it_is_refused() -> None:
    one, other = Plain(), Plain()
    one.all = other.all = {one, other}
    with pytest.raises(HashError, match=r"value -> \.all: its elements lead back to it and look alike"):
        fingerprint(one)


@pytest.mark.parametrize("doubly", [False, True])
def test_long_linked_lists_take_linear_time(doubly: bool) -> None:
    nodes = linked(5_000, doubly)
    assert fingerprint(nodes[0]) == fingerprint(linked(5_000, doubly)[0])
    assert fingerprint(nodes) == fingerprint(linked(5_000, doubly))
    nodes[-1].value = "changed"
    assert fingerprint(nodes[0]) != fingerprint(linked(5_000, doubly)[0])


def test_trees_that_know_their_parents_end() -> None:
    assert fingerprint(tree(8)) == fingerprint(tree(8)) == fingerprint(copy.deepcopy(tree(8)))
    changed = tree(8)
    changed.children[1].children[0].name = "changed"
    assert fingerprint(changed) != fingerprint(tree(8))


def test_very_deep_nesting_is_no_trouble() -> None:
    assert fingerprint(nested(5_000)) == fingerprint(nested(5_000)) != fingerprint(nested(5_001))


def test_objects_made_anew_at_each_look_are_not_taken_for_each_other() -> None:
    class Fresh:
        def __init__(self, parts: int) -> None:
            self.parts = parts

        def __getstate__(self) -> list[Plain]:
            return [Plain(i=i) for i in range(self.parts)]

    assert fingerprint([Fresh(50), Fresh(50)]) == fingerprint([Fresh(50), Fresh(50)])
    assert fingerprint([Fresh(50), Fresh(51)]) != fingerprint([Fresh(50), Fresh(50)])
