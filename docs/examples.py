"""An example of every endpoint, made by asking a simulated device.

`python -m docs.examples` asks and writes docs/examples.json, from which `docs.generate` takes those of docs/api.md.
What would differ from machine to machine is replaced. tests/firmware/api/test_examples.py asks again, every time.
"""

import hashlib
import json
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "docs" / "examples.json"
TEMPLATE = "/builtin/templates/eastron-sdm630.json"
LINE = {"baudRate": 9600, "charFormat": 5}
FILE = "/logs/hello.txt"
# Nothing here leaves the machine: no server answers at these addresses.
SETTINGS = {
    "modbusTcp": {"port": 5020},
    "gsm": {"enabled": True},
    "ntp": {"server1": "127.0.0.1"},
    "download": {"enabled": True, "url": "http://127.0.0.1:9/"},
}

# (method, path with query, body) in the order in which they are asked; PASSWORD and TID are filled in.
REQUESTS = (
    ("GET", "/api/version/", None),
    ("GET", "/api/login/salt/", None),
    ("POST", "/api/login/", {"username": "admin", "password": "PASSWORD"}),
    ("GET", "/api/identify/", None),
    ("GET", "/api/state/get/?ethernet&bus&access", None),
    ("GET", "/metrics", None),
    ("GET", "/api/log/?since=0", None),
    ("GET", "/api/settings/active/get/?serial", None),
    ("POST", "/api/settings/saved/set/", {"serial": {"baudRate": 19200}, "language": "pl"}),
    ("GET", "/api/settings/saved/get/?protect&language", None),
    ("POST", "/api/modbus/req/", {"uid": 1, "func": 3, "addr": 0, "count": 2}),
    ("GET", "/api/modbus/resp/?tid=TID&wait=5000", None),
    ("GET", "/api/modbus/trace/?uid=1&limit=1", None),
    ("GET", "/api/modbus/trace/capture/?format=csv&uid=1", None),
    ("POST", "/api/modbus/trace/record/", {"filePath": "/logs/line.pcapng", "seconds": 600}),
    ("GET", "/api/events/?access", None),
    ("POST", "/api/events/ticket/", {}),
    ("POST", "/api/modbus/find/start/", dict(LINE, uidFrom=1, uidTo=2)),
    ("GET", "/api/modbus/find/result/?list", None),
    ("POST", "/api/modbus/find/stop/", {}),
    ("POST", "/api/modbus/class-find/search-meta-info/", {"filePath": TEMPLATE}),
    ("POST", "/api/modbus/class-find/start/?search-meta-info", dict(LINE, filePath=TEMPLATE)),
    ("GET", "/api/modbus/class-find/result/", None),
    ("POST", "/api/modbus/class-find/stop/", {}),
    ("POST", "/api/card/file/write/", {"path": FILE, "blockIdx": 0, "blockCount": 1, "data": "SGVsbG8="}),
    ("POST", "/api/card/file/read/", {"path": FILE, "blockIdx": 0}),
    ("POST", "/api/card/file/info/", {"path": FILE}),
    ("POST", "/api/card/dir/", {"path": "/logs"}),
    ("POST", "/api/card/remove/", {"path": "/logs", "recursive": True}),
    ("POST", "/api/cmd/settings/export/", {"filePath": "/backup.json"}),
    ("POST", "/api/cmd/settings/import/", {"filePath": "/backup.json"}),
    ("POST", "/api/cmd/settings/reset/", {}),
    ("POST", "/api/cmd/memory/card_eject", {}),
    ("POST", "/api/cmd/time/set/", {"datetime": "2030-06-01T12:00:00"}),
    ("POST", "/api/cmd/time/sync/", {}),
    ("POST", "/api/cmd/gsm/sms-test/", {"phone": "+48123456789", "text": "Hello"}),
    ("POST", "/api/cmd/callback/reconnect/", {}),
    ("POST", "/api/activation/", {"requestCode": True}),
    ("POST", "/api/cmd/updates/download/", {}),
    ("POST", "/api/cmd/updates/program/", {}),
    ("POST", "/api/cmd/logout/", {}),
    ("POST", "/api/cmd/reboot/", {}),
)
REFUSED = {"/api/cmd/updates/program/": "there is nothing to install on a new device"}

_STEADY = {  # member -> what stands in place of what differs from machine to machine and from time to time
    "salt": "Zk0mS3yBd5RfVh1Wq8Lx2Tn6Pc9Gj4Ku7Ea0Oi3Y",
    "password": "7c4a8d09ca3762af61e59520943dc26494f8941b",
    "token": "b8Qm2Vw6Xr0Ty4Ku9Ha3Nd7Lf1Js5Gp8Ce2Zi6Bo0Wq4Mt9R",
    "mac": "02:00:5e:10:00:01",
    "ip": "192.168.1.20",
    "pubKey": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "utc": "2030-06-01T12:00:00Z",
    "datetime": "2030-06-01T12:00:00",
    "elapsedMs": 12,
    "ticket": "p5Yt0Qe9Wm2Zs7Rc4Xv1Kb8Nd3Lg6Jh0Fa5Su2Io9Ty4Rz",
    "time": "2030-06-01T12:00:00.123456Z",
    "atUs": 86400123456,
    "queuedMs": 0,
    "firstByteUs": 5120,
    "lineUs": 26450,
}


def ask(running) -> list[dict]:
    """Ask a device that has just started: [{"method", "path", "body", "status", "answer"}]."""
    filled = {"TID": "0", "PASSWORD": ""}
    asked = []
    for method, path, body in REQUESTS:
        if path == "/api/cmd/reboot/":
            running.login()  # the request before has ended the session
        text = json.dumps(body).replace("PASSWORD", filled["PASSWORD"])
        given = None if body is None else json.loads(text)
        status, content = answer_of(running, method, path.replace("TID", filled["TID"]), given)
        asked.append({"method": method, "path": path, "body": given, "status": status, "answer": content})
        if not isinstance(content, dict):
            continue
        if "salt" in content:
            filled["PASSWORD"] = hashlib.sha1(("adminmc252-sim" + content["salt"]).encode()).hexdigest()
        if "tid" in content:
            filled["TID"] = str(content["tid"])
        if "token" in content:
            running.client.headers["Authorization"] = "Bearer " + content["token"]
        if path.endswith("find/start/"):
            wait_for_search(running)
    running.client.close()
    running.read_announcement()  # it has restarted
    return asked


def answer_of(running, method: str, path: str, body) -> tuple[int, object]:
    """Status and content of an answer; of a stream of events the first one."""
    if not path.startswith("/api/events/?"):
        answer = running.client.request(method, path, json=body)
        return answer.status_code, content_of(answer)
    with running.client.stream(method, path) as stream:
        return stream.status_code, next(stream.iter_text())


def content_of(answer):
    """What an answer holds: the value of JSON, else its text."""
    media_type = answer.headers["Content-Type"]
    if media_type == "application/json":
        return answer.json()
    return answer.text if media_type.startswith("text/") else answer.content


def wait_for_search(running) -> None:
    """Wait until the search by address has ended; ten seconds are more than enough for two units."""
    for _ in range(100):
        if running.client.get("/api/modbus/find/result/").json()["status"] != "RUNNING":
            return
        time.sleep(0.1)


def steady(value, name: str = ""):
    """A value with what differs from machine to machine replaced."""
    if isinstance(value, dict):
        return {inner: steady(value[inner], inner) for inner in value}
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, str):
        value = value.replace("\r\n", "\n")  # the manual is a text file
    return _STEADY[name] if name in _STEADY and value not in (None, "***") else value


def main() -> int:
    """Ask, and write the examples."""
    from tests.firmware.running import BOARD, Running

    with tempfile.TemporaryDirectory() as folder, Running(folder, dict(BOARD, settings=SETTINGS)) as running:
        asked = ask(running)
    for example in asked:
        example["body"], example["answer"] = steady(example["body"]), steady(example["answer"])
        example["path"] = example["path"].replace("TID", "1")
    PLACE.write_text(json.dumps(asked, indent=1) + "\n")
    print(f"{PLACE.relative_to(ROOT)} written: {len(asked)} examples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
