"""A client of the device's HTTP API in forty lines, with nothing but Python's own library. Copy it."""

import hashlib
import json
import urllib.error
import urllib.request


class ApiError(Exception):
    """The device refused: `code` is the API's error code, the text says why."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    """The API at a base URL such as http://192.168.1.50/ ; log in first for all but the version."""

    def __init__(self, url: str):
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}

    def login(self, username: str, password: str) -> None:
        """Start a session: the password travels only as a digest with a salt that is good once."""
        salt = self.get("/api/login/salt/")["salt"]
        digest = hashlib.sha1((username + password + salt).encode()).hexdigest()
        token = self.post("/api/login/", {"username": username, "password": digest})["token"]
        self._headers["Authorization"] = "Bearer " + token

    def get(self, target: str) -> dict:
        """The answer to a GET; ApiError."""
        return self._ask(urllib.request.Request(self._url + target, headers=self._headers))

    def post(self, path: str, body: "dict | None" = None) -> dict:
        """The answer to a POST with a JSON body; ApiError."""
        data = json.dumps(body or {}).encode()
        return self._ask(urllib.request.Request(self._url + path, data, self._headers))

    def _ask(self, request: urllib.request.Request) -> dict:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            content = json.load(refusal)
            raise ApiError(content["error"], content["message"]) from None
