"""The installed device's API as its administrator uses it, with the login that it came with."""

import hashlib
import json
import pathlib
import time
import urllib.error
import urllib.request

URL = "http://127.0.0.1"
LOGIN = pathlib.Path("/var/lib/mc252/factory-login")


def call(path, body=None, token=None):
    """(status, answer) of a request."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


def answers():
    """Whether the device answers at all."""
    try:
        return call("/api/version/")[0] == 200
    except OSError:
        return False


def login():
    """A token."""
    made = json.loads(LOGIN.read_text())
    salt = call("/api/login/salt/")[1]["salt"]
    digest = hashlib.sha1((made["username"] + made["password"] + salt).encode()).hexdigest()
    return call("/api/login/", {"username": made["username"], "password": digest})[1]["token"]


def state(token, key):
    """One key of the device's state."""
    status, answer = call(f"/api/state/get/?{key}", token=token)
    assert status == 200, answer
    return answer[key]


def wait_until(condition, seconds=90):
    """What a condition gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to this"
        time.sleep(0.1)
    return found
