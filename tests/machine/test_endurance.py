"""A share of `make endure-micropython`: requests, a search, connections that come and go, on the heap of a board."""

import json

from tests.machine import endure
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON


def test_a_board_loses_neither_requests_nor_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(endure, "FULL_TABLES", 100)
    monkeypatch.setattr(endure, "RECONNECTIONS", 50)
    monkeypatch.setattr(endure, "UPLOADED", 65536)
    figures = endure.endure(tmp_path, 200)
    assert endure.holds(figures), figures


def test_what_there_is_no_memory_for_is_told_so_and_the_board_goes_on(tmp_path):
    board = endure.Board(tmp_path)
    try:
        much = json.dumps({"uid": 1, "func": 16, "addr": 0, "values": [[]] * 4000})  # which takes a heap to read
        for _ in range(3):
            status, answer, _ = board.device.ask("POST", "/api/modbus/req/", much, board.headers)
            assert (status, answer["error"]) == (503, "NO_MEMORY")
            board.requests(0, 12)
        assert board.lost == 0
        assert board.memory()[1] == 3
    finally:
        board.stop()
