"""A user among a crowd of strangers, each at an address of its own."""

import contextlib
import socket

import httpx
import pytest

from tests.firmware.running import Running


@contextlib.contextmanager
def crowd(device):
    """64 strangers, each with half a request."""
    place = device.client.base_url.host, device.client.base_url.port
    with contextlib.ExitStack() as strangers:
        for number in range(64):
            stranger = strangers.enter_context(socket.create_connection(place, 5, (f"127.0.1.{number + 1}", 0)))
            stranger.sendall(b"GET /api/version/ HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        yield


def user(device):
    """The client, calling on a new connection."""
    client = device.client
    client.close()
    return httpx.Client(base_url=client.base_url, headers=client.headers, trust_env=False, timeout=10)


def test_a_crowd_of_half_requests_does_not_keep_a_user_out(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        device.client = user(device)
        with crowd(device):
            for _ in range(3):
                device.get("identify/")
                device.client = user(device)


@pytest.mark.parametrize("path", ["version/", "identify/"])
def test_whom_only_the_button_lets_in_is_a_stranger(tmp_path, path):
    with Running(tmp_path) as device:
        device.control("button press")
        device.get("identify/")
        device.client = user(device)
        with crowd(device):
            assert device.client.get("api/" + path).status_code == 503
