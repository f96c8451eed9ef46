"""Updates from an Eclipse hawkBit server: the device's side of its Direct Device Integration API (DDI, root
controller).

The device polls its own resource, takes the deployment that is linked there, and says how it goes. A deployment is
confirmed only after the new firmware has shown that it is healthy; one that was given up is reported as failed, with
the reason. The artifact is a bundle like any other: the server is believed in what to install, never in what a bundle
holds.
"""

from firmware.services.errors import Refused
from firmware.services.update.sources.fetch import Answer, Url, ask, get
from hal.json_text import json_loads
from hal.runtime import json_dumps, log
from hal.runtime.annotations import T

SIZE_LIMIT = 65536  # bytes of a JSON document
POLL_SEC = 300  # where the server names no time
POLL_LEAST_SEC = 30
SUFFIX = ".bundle"


class Hawkbit:
    """One device (`controller`) at a server: `url` up to and with the tenant, such as https://host/default."""

    def __init__(self, url: str, controller: str, token: str, token_kind: str):
        self._base = Url(url.rstrip("/") + "/controller/v1/" + controller)
        self._headers = {
            "Accept": "application/hal+json, application/json",
            "Authorization": ("GatewayToken " if token_kind == "gateway" else "TargetToken ") + token,
        }

    async def poll(self) -> dict:
        """What the server wants: {"pollSec": int, "deployment": URL|None, "cancel": URL|None, "config": URL|None}."""
        content = await self._get_json(self._base)
        links = _member(content, "_links", dict)
        return {
            "pollSec": _poll_seconds(content),
            "deployment": self._link(links, "deploymentBase"),
            "cancel": self._link(links, "cancelAction"),
            "config": self._link(links, "configData"),
        }

    async def deployment(self, url: Url) -> dict:
        """{"id", "entry", "url", "install": whether to install it now}. Refused where it holds no bundle."""
        content = await self._get_json(url)
        if not _identifier(content):
            raise Refused("UPDATE_SERVER", "the deployment has no id")
        plan = _member(content, "deployment", dict)
        for chunk in _member(plan, "chunks", list):
            for artifact in _member(chunk, "artifacts", list):
                entry, link = self._artifact(artifact, _member(chunk, "version", str))
                if entry is not None:
                    wanted = plan.get("update") != "skip"
                    return {"id": _identifier(content), "entry": entry, "url": link, "install": wanted}
        raise Refused("UPDATE_SERVER", f"the deployment holds no {SUFFIX} with a SHA-256")

    def _artifact(self, artifact: object, version: str) -> tuple:
        name, size = _member(artifact, "filename", str), _member(artifact, "size", int)
        digest = _member(_member(artifact, "hashes", dict), "sha256", str)
        links = _member(artifact, "_links", dict)
        link = self._link(links, "download") or self._link(links, "download-http")
        if not name.endswith(SUFFIX) or not size or len(digest) != 64 or link is None:
            return None, None
        return {"file": name, "version": version, "size": size, "sha256": digest.lower()}, link

    async def cancel_id(self, url: Url) -> str:
        """The action that is to be cancelled."""
        content = await self._get_json(url)
        return str(_member(content, "cancelAction", dict).get("stopId", ""))

    async def say(self, action: str, execution: str, finished: str, details: str, cancel: bool = False) -> None:
        """Feedback: `execution` proceeding, closed, canceled or rejected; `finished` none, success or failure."""
        kind = "cancelAction" if cancel else "deploymentBase"
        status = {"execution": execution, "result": {"finished": finished}, "details": [details[:500]]}
        await self._send("POST", f"{kind}/{action}/feedback", {"id": action, "status": status})

    async def tell_config(self, data: dict) -> None:
        """Tell the server who the device is: attributes of its target."""
        await self._send("PUT", "configData", {"mode": "replace", "data": data})

    async def open(self, url: Url, offset: int, validator: str) -> Answer:
        """The artifact from a byte on."""
        headers = dict(self._headers, Accept="*/*")
        if offset and validator:
            headers.update({"Range": f"bytes={offset}-", "If-Range": validator})
        return await get(url, headers)

    async def _send(self, method: str, path: str, content: dict) -> None:
        url = Url(self._base.text() + "/" + path)
        headers = dict(self._headers, **{"Content-Type": "application/json"})
        answer = await ask(url, headers, method, json_dumps(content).encode())
        answer.close()
        if answer.status not in (200, 202, 204, 410):  # 410: the action is over on the server's side already
            raise Refused("UPDATE_SERVER", f"{url.host}: status {answer.status} for {path}")

    async def _get_json(self, url: Url) -> dict:
        answer = await get(url, self._headers)
        try:
            if answer.status != 200:
                raise Refused("UPDATE_SERVER", f"{url.host}: status {answer.status} for {url.path[:80]}")
            text = b""
            while data := await answer.read():
                text += data
                if len(text) > SIZE_LIMIT:
                    raise Refused("UPDATE_SERVER", f"{url.host}: more than {SIZE_LIMIT} bytes of JSON")
        finally:
            answer.close()
        try:
            content = json_loads(text.decode())
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise Refused("UPDATE_SERVER", f"{url.host}: answers what is no JSON object")
        return content

    def _link(self, links: dict, name: str) -> Url | None:
        """A link, on the same server and by TLS where the server is."""
        text = _member(links.get(name), "href", str)
        if not text:
            return None
        url = self._base.joined(text)
        if self._base.tls and not url.tls:
            log("update: the hawkBit server leads from https to http")
            return None
        return url


def _member(content: object, name: str, kind: type[T]) -> T:
    """A member of an object, an empty value of its kind where there is none."""
    value = content.get(name) if isinstance(content, dict) else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else kind()


def _identifier(content: dict) -> str:
    return str(content.get("id", ""))[:64]


def _poll_seconds(content: dict) -> int:
    """Seconds of config.polling.sleep, HH:MM:SS."""
    text = _member(_member(_member(content, "config", dict), "polling", dict), "sleep", str)
    parts = text.split(":")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return POLL_SEC
    hours, minutes, seconds = [int(part) for part in parts]
    return max(POLL_LEAST_SEC, min(86400, (hours * 60 + minutes) * 60 + seconds))
