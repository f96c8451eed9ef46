"""A stand-in for an Eclipse hawkBit server: the device's side of its DDI, as documented, in a thread.

`deployment` is the bundle that is offered under `action`; `cancel` an action that is to be cancelled. What the device
says is in `feedback`: (kind, action, execution, finished, details).
"""

import hashlib
import json

from tests.firmware.update.served import Served

TOKEN = "TargetToken secret"


class Ddi(Served):
    """One tenant with one device."""

    def __init__(self, controller):
        super().__init__()
        self.controller = controller
        self.action = ""
        self.bundle = b""
        self.cancel = ""
        self.feedback = []
        self.attributes = None
        self.faults = []  # statuses of the next answers, or "break N" for a download
        self.downloads = []  # Range of each
        self.polls = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/default"

    @property
    def base(self):
        return f"{self.url}/controller/v1/{self.controller}"

    def offer(self, action, bundle):
        self.action, self.bundle = action, bundle

    def get(self, request):
        if request.headers.get("Authorization") != TOKEN:
            request.send_error(401)
            return
        if self.faults and not str(self.faults[0]).startswith("break"):
            request.send_error(self.faults.pop(0))
            return
        path = request.path.removeprefix(f"/default/controller/v1/{self.controller}").split("?")[0]
        if path == "":
            self.polls += 1
            self.send_json(request, self.poll())
        elif path.startswith("/deploymentBase/"):
            self.send_json(request, self.deployment(path.split("/")[2]))
        elif path.startswith("/cancelAction/"):
            content = {"id": "7", "cancelAction": {"stopId": self.cancel}}
            self.send_json(request, content)
        elif path == "/bundle":
            self.send_bundle(request)
        else:
            request.send_error(404)

    def poll(self):
        links = {}
        if self.attributes is None:
            links["configData"] = {"href": f"{self.base}/configData"}
        if self.cancel:
            links["cancelAction"] = {"href": f"{self.base}/cancelAction/{self.cancel}"}
        elif self.action:
            links["deploymentBase"] = {"href": f"{self.base}/deploymentBase/{self.action}?c=1"}
        return {"config": {"polling": {"sleep": "00:00:30"}}, "_links": links}

    def deployment(self, action):
        artifact = {
            "filename": "firmware.bundle",
            "hashes": {"sha256": hashlib.sha256(self.bundle).hexdigest(), "sha1": "0" * 40, "md5": "0" * 32},
            "size": len(self.bundle),
            "_links": {"download-http": {"href": f"{self.base}/bundle"}},
        }
        readme = {"filename": "readme.txt", "hashes": {}, "size": 1, "_links": {}}
        chunks = [{"part": "os", "version": "9.9.9", "name": "mc252", "artifacts": [readme, artifact]}]
        plan = {"download": "forced", "update": "forced", "chunks": chunks}
        return {"id": action, "deployment": plan}

    def send_json(self, request, content):
        data = json.dumps(content).encode()
        request.send_response(200)
        request.send_header("Content-Type", "application/hal+json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def send_bundle(self, request):
        asked = request.headers.get("Range")
        self.downloads.append(asked)
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = self.bundle[first:]
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {first}-{len(self.bundle) - 1}/{len(self.bundle)}")
        request.send_header("ETag", '"one"')
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.faults and str(self.faults[0]).startswith("break"):
            request.wfile.write(body[: int(self.faults.pop(0).split()[1])])
            request.close_connection = True
            return
        request.wfile.write(body)

    def take(self, request):
        content = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        parts = request.path.split("/")
        if parts[-1] == "configData":
            self.attributes = content["data"]
        else:
            status = content["status"]
            said = (parts[-3], parts[-2], status["execution"], status["result"]["finished"], status["details"][0])
            self.feedback.append(said)
            if status["execution"] == "closed":
                self.end(*said[:2])
        self.send_json(request, {})

    def end(self, kind, action):
        """An action that was closed is offered no more."""
        if kind == "cancelAction":
            self.cancel = ""
        if action == self.action:
            self.action = ""
