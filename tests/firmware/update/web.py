"""A web server with ranges that can be told to misbehave, in a thread."""

from tests.firmware.update.served import Served


class Web(Served):
    """Serves files from a dict; `faults` is a list of what the next answers do instead."""

    def __init__(self, context=None):
        super().__init__(context)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []  # (path, Range)
        self.faults: list[str] = []

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}/updates/"

    def get(self, request):
        name = request.path.removeprefix("/updates/")
        asked_range = request.headers.get("Range")
        self.asked.append((name, asked_range))
        fault = self.faults.pop(0) if self.faults else ""
        if fault.startswith("status "):
            request.send_error(int(fault.split()[1]))
            return
        if fault.startswith("to "):
            request.send_response(302)
            request.send_header("Location", fault[3:])
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fault == "endless line":
            request.wfile.write(b"x" * 200_000)
            return
        if name not in self.files:
            request.send_error(404)
            return
        self.send(request, self.files[name], asked_range, fault)

    def send(self, request, data, asked_range, fault):
        tag = f'"{hash(data)}"'
        first = 0
        if asked_range and request.headers.get("If-Range") == tag and fault != "no ranges":
            first = int(asked_range.removeprefix("bytes=").removesuffix("-"))
            request.send_response(206)
            shown = first + 1 if fault == "wrong range" else first
            request.send_header("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}")
        else:
            request.send_response(200)
        body = data[first:]
        if fault == "more":
            body += b"x" * 100_000
        request.send_header("ETag", tag)
        if fault.startswith("chunk"):
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if fault == "chunked":
            for start in range(0, len(body), 1000):
                chunk = body[start : start + 1000]
                request.wfile.write(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk))
            request.wfile.write(b"0\r\n\r\n")
            return
        if fault.startswith("chunk of "):
            request.wfile.write(fault.removeprefix("chunk of ").encode() + b"\r\n" + body)
            request.close_connection = True
            return
        if fault.startswith("break "):
            request.wfile.write(body[: int(fault.split()[1])])
            request.close_connection = True
            return
        request.wfile.write(body)
