"""What is secret stays so: in answers, exports, messages, the log and on the card."""

import hashlib

from firmware.services.settings.document_store import DocumentStore
from firmware.services.settings.table import SETTINGS
from hal.fields import Object
from tests.firmware.running import Running

SECRETS = {
    "gsm": {"password": "Planted-gsm", "pin": "73915482"},
    "download": {"hawkbitToken": "Planted-token"},
    "protect": {"password": "Planted-word"},
    "wgManual": {
        "privateKey": "UGxhbnRlZCBhbmQgZ3JlcHBlZCBmb3IgYWZ0ZXJ3YXI=",
        "presharedKey": "UGxhbnRlZCB0b28gYW5kIGdyZXBwZWQgZm9yIHRvby4=",
    },
}
WORDS = [word for fields in SECRETS.values() for word in fields.values()]


def test_the_secrets_planted_here_are_all_there_are():
    secret = {
        (setting.name, field.name)
        for setting in SETTINGS
        if isinstance(setting.kind, Object)
        for field in setting.kind.fields
        if field.secret
    }
    assert secret == {(name, field) for name, fields in SECRETS.items() for field in fields}
    assert not [setting.name for setting in SETTINGS if setting.secret]


def test_no_answer_no_export_and_no_log_line_tells_a_secret(tmp_path):
    gsm = dict(SECRETS["gsm"], enabled=True, apn="internet", user="somebody")
    DocumentStore(str(tmp_path), "settings.json").save(dict(SECRETS, gsm=gsm, logFlags=127))
    with Running(tmp_path) as device:
        answers = []
        device.client.event_hooks["response"] = [lambda answer: answers.append(answer.read().decode())]
        tokens = use(device)
        device.process.terminate()
        said, told = device.process.communicate(timeout=10)
    written = [path.read_bytes().decode(errors="replace") for path in (tmp_path / "card").rglob("*") if path.is_file()]
    assert len(answers) > 20
    assert written
    for word in WORDS:
        for text in (*answers, *written, said, told):
            assert word not in text
    for token in tokens:
        assert token not in said + told + "".join(written)


def login(device, password):
    salt = device.client.get("api/login/salt/").json()["salt"]
    digest = hashlib.sha1(f"admin{password}{salt}".encode()).hexdigest()
    answer = device.client.post("api/login/", json={"username": "admin", "password": digest})
    return answer.json()["token"] if answer.status_code == 200 else None


def use(device):
    """Do what could tell a secret; return the tokens of the sessions."""
    first, second = login(device, "Planted-word"), login(device, "Planted-word")
    assert first and second
    device.client.headers["Authorization"] = "Bearer " + first
    for path in ("state/get/", "settings/active/get/", "settings/saved/get/", "identify/", "openapi.json"):
        device.get(path)
    device.post("cmd/settings/export/")
    device.post("cmd/settings/export/", {"filePath": "/export.json"})
    refused = []
    for name, fields in SECRETS.items():
        for field, word in fields.items():
            for bad in (word * 99, [word], {"text": word}, word + "\n"):
                refused.append(device.client.post("api/settings/saved/set/", json={name: {field: bad}}))
            device.client.post("api/cmd/settings/import/", json={"settings": {name: {field: [word]}}})
    assert not [answer.request.content for answer in refused if answer.status_code != 400]
    assert login(device, "wrong") is None
    device.client.post("api/login/", json={"username": "Planted-word", "password": "0" * 40})
    device.client.post("api/login/", content='{"username": "Planted-word", "passw')
    device.client.get("api/no-such-path/?password=Planted-word")
    device.client.post("api/cmd/gsm/sms-test/", json={"phone": "+380501234567"})
    device.post("settings/saved/set/", {"protect": {"password": "Planted-later"}})
    assert device.client.get("api/identify/", headers={"Authorization": "Bearer " + second}).status_code == 401
    device.post("cmd/logout/")
    return first, second
