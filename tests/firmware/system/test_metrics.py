"""GET /metrics: Prometheus' own tools read it, it tells no secret, and 247 units on the line stay within bounds."""

import json
import shutil
import socket
import subprocess
import time

import httpx
import pytest

from firmware.services.system.metrics import metrics_text
from tests.firmware.running import BOARD, ROOT, Running
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, environment

SERVER = {"enabled": True, "host": "192.0.2.9"}
SETTINGS = dict(BOARD["settings"], cbCloud=SERVER, ownSrv=SERVER, wgCloud={"enabled": True}, gsm={"enabled": True})


def read(device, uid):
    tid = device.post("modbus/req/", {"uid": uid, "func": 3, "addr": 0, "count": 1, "timeoutMs": 50})["tid"]
    device.get(f"modbus/resp/?tid={tid}&wait=5000")


def values(text):
    """Series -> value."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    settings = dict(SETTINGS, httpd={"metricsAllow": ["127.0.0.1/32"]})
    with Running(tmp_path_factory.mktemp("metrics"), dict(BOARD, settings=settings)) as running:
        running.login()
        for uid in (1, 1, 77):
            read(running, uid)
        yield running


def test_the_state_is_there_as_numbers_with_their_units(device):
    series = values(device.client.get("metrics").text)
    assert series["mc252_bus_ok_total"] == 2
    assert series['mc252_devices_ok_total{unit_id="1"}'] == 2
    assert series['mc252_devices_timeouts_total{unit_id="77"}'] == 1
    assert series["mc252_bus_exchange_seconds_count"] == 3
    assert series['mc252_bus_exchange_seconds_bucket{le="+Inf"}'] == 3
    assert 0.05 <= series["mc252_bus_exchange_seconds_sum"] < 5
    assert series['mc252_fw_update_status{status="IDLE"}'] == 1
    assert series['mc252_system_start_reason{reason="POWER_ON"}'] == 1
    assert series["mc252_cloud_own_srv_connected"] == 0
    assert series["mc252_gsm_signal_level_ratio"] == device.get("state/get/?gsm")["gsm"]["signalLevel"] / 100
    assert 'mc252_devices_p50_seconds{unit_id="77"}' not in series  # it has never answered


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's prometheus")
def test_promtool_finds_nothing_to_say(device):
    text = device.client.get("metrics").text
    outcome = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus")
def test_prometheus_scrapes_it_as_its_configuration_here_says(device, tmp_path):
    configuration = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text()
    target = f"127.0.0.1:{device.client.base_url.port}"
    configuration = configuration.replace("192.168.1.20", target).replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(configuration)
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yml", tmp_path)
    port = free_port()
    arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    arguments.append(f"--web.listen-address=127.0.0.1:{port}")
    with open(tmp_path / "log", "w") as log:
        prometheus = subprocess.Popen(["prometheus", *arguments], stdout=log, stderr=log)
    try:
        found = scraped(port, 'mc252_devices_ok_total{unit_id="1"}')
    finally:
        prometheus.kill()
        prometheus.wait()
    assert float(found["value"][1]) == 2, (tmp_path / "log").read_text()
    assert found["metric"]["instance"] == target


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def scraped(port, query):
    """The first result of a query, as soon as there is one."""
    for _ in range(300):
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query"
            answer = httpx.get(url, params={"query": query}, trust_env=False)
            result = answer.json()["data"]["result"] if answer.status_code == 200 else []  # 503 while it starts
            if result:
                return result[0]
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    pytest.fail("nothing was scraped")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's prometheus")
def test_the_alerts_are_what_prometheus_takes_and_fire_when_they_should():
    folder = ROOT / "deploy" / "prometheus"
    for arguments in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        outcome = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_alerts_and_dashboard_ask_only_for_metrics_that_there_are(device):
    text = device.client.get("metrics").text
    known = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    known |= {name + suffix for name in known for suffix in ("_bucket", "_sum", "_count")}
    asked = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    asked += json.dumps(json.loads((ROOT / "deploy" / "prometheus" / "dashboard.json").read_text()))
    names = {word for word in _words(asked) if word.startswith("mc252_")}
    assert len(names) > 15
    late = {"mc252_system_cpu_temp_celsius"}  # this machine has no such sensor
    assert names - late <= known


def _words(text):
    return "".join(letter if letter.isalnum() or letter == "_" else " " for letter in text).split()


def test_only_a_network_that_may_read_needs_no_login(tmp_path, device):
    url = str(device.client.base_url)
    assert httpx.get(url + "metrics", trust_env=False).status_code == 200
    assert httpx.get(url + "api/state/get/", trust_env=False).status_code == 401
    foreign = httpx.get(url + "metrics", headers={"Host": "rebound.example"}, trust_env=False)
    assert (foreign.status_code, foreign.json()["error"]) == (403, "CROSS_SITE")
    with Running(tmp_path) as closed:
        answer = closed.client.get("metrics")
        assert (answer.status_code, answer.json()["error"]) == (401, "UNAUTHORIZED")
        closed.login()
        assert closed.client.get("metrics").status_code == 200


def test_without_its_parts_a_device_has_no_series_of_them(tmp_path):
    absent = dict.fromkeys(("network", "rs485", "card", "clock", "modem", "button", "updater"))
    with Running(tmp_path, dict(BOARD, settings={}, **absent), modbus_tcp=None) as device:
        device.login()
        text = device.client.get("metrics").text
    assert "mc252_bus" not in text
    assert "mc252_card" not in text
    assert "mc252_system_uptime_seconds" in text


def unit():
    return {
        "ok": 12345,
        "timeouts": 12,
        "badFrames": 3,
        "down": False,
        "p50Ms": 7.5,
        "p95Ms": 12.0,
        "suggestedTimeoutMs": 50,
        "suggestedRestMs": None,
        "lastSeen": "2026-01-02T03:04:05Z",
    }


def test_a_full_line_makes_a_bounded_number_of_series_in_small_parts():
    parts = list(metrics_text({"devices": {str(uid): unit() for uid in range(248)}}, {}))
    assert len(values("".join(parts))) <= 248 * 9 + 1
    assert max(len(part) for part in parts) < 32768  # between two of them the line has its turn


def test_what_is_a_name_or_a_code_is_no_metric():
    state = {"activation": {"activated": False, "code": 12345678, "features": ["vpn"], "expires": None}}
    text = "".join(metrics_text(state, {"device": 'a "quoted"\nname\\'}))
    assert "12345678" not in text
    assert "vpn" not in text
    assert '{device="a \\"quoted\\"\\nname\\\\"} 1\n' in text


@NEEDS_MICROPYTHON
def test_micropython_writes_the_same_text():
    state = {
        "devices": {"1": unit()},
        "bus": {"sent": 3, "loadPercent": 47, "exchangeMs": {"counts": [1] * 11, "sum": 9}},
    }
    script = f"from firmware.services.system.metrics import metrics_text\nprint(''.join(metrics_text({state!r}, {{}})))"
    text = "".join(metrics_text(state, {}))
    outcome = subprocess.run(
        [MICROPYTHON, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=30
    )
    assert values(outcome.stdout) == values(text), outcome.stderr
