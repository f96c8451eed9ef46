"""A share of `make endure-micropython`: requests, a search, connections that come and go, on the heap of a board."""

from tests.machine import endure
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON


def test_a_board_loses_neither_requests_nor_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(endure, "FULL_TABLES", 100)
    monkeypatch.setattr(endure, "RECONNECTIONS", 50)
    figures = endure.endure(tmp_path, 200)
    assert endure.holds(figures), figures
