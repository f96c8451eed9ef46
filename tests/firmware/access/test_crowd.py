"""A user among a crowd of strangers, each at an address of its own."""

import socket

from tests.firmware.running import Running


def test_a_crowd_of_half_requests_does_not_keep_a_user_out(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        device.get("identify/")
        headers = dict(device.client.headers)
        device.client.close()
        place = device.client.base_url.host, device.client.base_url.port
        crowd = []
        for number in range(64):
            crowd.append(socket.create_connection(place, 5, (f"127.0.1.{number + 1}", 0)))
            crowd[-1].sendall(b"GET /api/version/ HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for _ in range(3):
            with device.fresh_client() as user:
                assert user.get("api/identify/", headers=headers).status_code == 200
        for stranger in crowd:
            stranger.close()
