"""A call is followed to the one that it came from first."""

from __future__ import annotations

import pytest

from worker.fold_calls import MAX_STEPS, Link, find_root


def key(call_id: str) -> str:
    return call_id.encode().hex()


def links(**originals: str) -> dict[str, Link]:
    return {key(each): Link(key(original), each, original, key(each)) for each, original in originals.items()}


def test_a_call_that_names_none_is_its_own_root() -> None:
    assert find_root(key("a"), {}) == key("a")


def test_a_chain_is_followed_to_its_end() -> None:
    assert find_root(key("c"), links(c="b", b="a")) == key("a")


@pytest.mark.parametrize("start", ["a", "b", "c"])
def test_a_ring_ends_at_its_smallest_id(start: str) -> None:
    assert find_root(key(start), links(a="c", b="a", c="b")) == key("a")


def test_a_chain_into_a_ring_ends_at_the_smallest_id_of_the_ring() -> None:
    # The way in does not count, however small its ids are.
    assert find_root(key("a"), links(a="b", b="y", y="z", z="y")) == key("y")


def chain(length: int) -> dict[str, Link]:
    return links(**{f"c{step}": f"c{step - 1}" for step in range(1, length + 1)})


@pytest.mark.parametrize(("length", "root"), [(MAX_STEPS, "c0"), (MAX_STEPS + 1, "c1"), (40, "c8")])
def test_a_chain_is_followed_for_32_steps(length: int, root: str) -> None:
    assert find_root(key(f"c{length}"), chain(length)) == key(root)
