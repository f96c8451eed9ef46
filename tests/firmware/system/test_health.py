"""What "healthy" means: what the watchdog, an update on trial and `mc252 check` go by."""

import socket

import pytest

from firmware.services.system import health as health_module
from firmware.services.system.health import Health


@pytest.fixture
def server():
    """A socket that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def make(server, ended=(), bus_open=True, settings_lost=False):
    return Health(lambda: list(ended), server.getsockname, lambda: bus_open, settings_lost)


async def problems(health, monkeypatch, answers=True, **before):
    monkeypatch.setattr(health_module, "http_answers", lambda host, port, seconds: answers)
    return await health.problems(before)


async def test_a_device_of_which_all_works_is_healthy(server, monkeypatch):
    assert await problems(make(server), monkeypatch, busWasOpen=1, settingsWereRead=1) == []


async def test_a_service_that_has_ended_is_seen_inside_and_outside(server, monkeypatch):
    health = make(server, ended=["Bus"])
    assert health.problems_inside() == await problems(health, monkeypatch) == ["these have ended: Bus"]


@pytest.mark.parametrize(("before", "count"), [({"busWasOpen": 1}, 1), ({"busWasOpen": 0}, 0), ({}, 0)])
async def test_a_port_must_be_open_only_if_it_was_open_before(server, monkeypatch, before, count):
    found = await problems(make(server, bus_open=False), monkeypatch, **before)
    assert len([problem for problem in found if "RS-485" in problem]) == count


@pytest.mark.parametrize(("before", "count"), [({"settingsWereRead": 1}, 1), ({"settingsWereRead": 0}, 0), ({}, 0)])
async def test_settings_must_be_read_only_if_they_could_be_before(server, monkeypatch, before, count):
    found = await problems(make(server, settings_lost=True), monkeypatch, **before)
    assert len([problem for problem in found if "settings" in problem]) == count


async def test_a_board_without_a_line_misses_none(server, monkeypatch):
    assert await problems(make(server, bus_open=None), monkeypatch, busWasOpen=1) == []


async def test_a_server_that_takes_a_connection_and_hangs_does_not_answer(server, monkeypatch):
    monkeypatch.setattr(health_module, "PROBE_SEC", 0.1)
    assert await make(server).problems({}) == ["HTTP does not answer"]


def test_what_works_now_is_what_an_update_may_not_lose(server):
    assert make(server).now() == {"busWasOpen": 1, "settingsWereRead": 1}
    assert make(server, bus_open=None, settings_lost=True).now() == {"busWasOpen": 0, "settingsWereRead": 0}
