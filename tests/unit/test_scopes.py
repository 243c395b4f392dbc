"""In which order the collections are asked for and taken in."""

from __future__ import annotations

import pytest

from agent.scopes import as_asked_for, scopes


@pytest.mark.parametrize("namespaces", [(), ("payments", "orders")])
def test_secrets_are_read_before_pods_and_pods_as_early_as_can_be(namespaces: tuple[str, ...]) -> None:
    """Whatever is read: each Secret before any pod, so that no container seems younger than it is; nothing that can
    wait is asked for before the pods, and all of it is taken in before them."""
    taken_in = scopes(namespaces)
    asked = as_asked_for(taken_in)
    assert sorted(map(str, asked)) == sorted(map(str, taken_in))
    order = [scope.resource for scope in asked]
    assert set(order[: order.index("pods")]) == {
        "namespaces", "nodes", "clustersecretstores", "externalsecrets", "secretstores", "pushsecrets", "secrets",
    }  # fmt: skip
    pods = max(number for number, scope in enumerate(taken_in) if scope.resource != "pods")
    assert {scope.resource for scope in taken_in[pods + 1 :]} == {"pods"}
    assert {scope.namespace for scope in taken_in if scope.resource == "pods"} == set(namespaces or (None,))
