"""Files of a built site: gzip'd, tagged, on both runtimes."""

import gzip
import http.client
import pathlib
import subprocess
import sysconfig

import pytest

from firmware.http.files import add_files
from tests.firmware.http.rig import Rig, get, head
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, ROOT, environment

SERVER = pathlib.Path(__file__).with_name("served_parts.py")
SCRIPT = b"export const answer = 42;\n" * 2000


async def asked(rig, path, fields=""):
    """(status, fields, body) of a file that is asked for on a connection of its own."""
    reader, writer = await rig.connect()
    writer.write(get(path, fields=fields))
    status, given = await head(reader)
    return status, given, await reader.readexactly(int(given.get("content-length", 0)))


@pytest.fixture
def site(tmp_path):
    (tmp_path / "main.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "index.html.gz").write_bytes(gzip.compress(b"<!doctype html>"))
    rows = ["/x/main.js main.js.gz abc kept text/javascript", "/ index.html.gz def asked text/html; charset=utf-8"]
    (tmp_path / "files.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


async def test_a_file_comes_gzipped_with_its_type_and_may_be_kept_where_its_path_changes_with_it(site):
    async with Rig(connections=8) as rig:
        add_files(rig.server, str(site), "/x/")
        _, fields, body = await asked(rig, "/x/main.js")
        assert gzip.decompress(body) == SCRIPT
        assert fields["content-type"] == "text/javascript" and "immutable" in fields["cache-control"]
        _, fields, body = await asked(rig, "/")
        assert gzip.decompress(body) == b"<!doctype html>"
        assert fields["cache-control"] == "no-cache"


async def test_a_page_may_run_nothing_but_the_devices_own_scripts_and_be_framed_by_nobody(site):
    async with Rig(connections=8) as rig:
        add_files(rig.server, str(site), "/x/")
        _, fields, _ = await asked(rig, "/")
        policy = fields["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy


async def test_what_a_browser_has_already_is_not_sent_again(site):
    async with Rig(connections=8) as rig:
        add_files(rig.server, str(site), "/x/")
        for known in ('"def"', 'W/"def"', '"x", "def"', "*"):
            status, _, body = await asked(rig, "/", f"If-None-Match: {known}\r\n")
            assert (status, body) == (304, b"")
        assert (await asked(rig, "/", 'If-None-Match: "other"\r\n'))[0] == 200


async def test_nothing_but_what_is_listed_is_served(site):
    async with Rig(connections=8) as rig:
        add_files(rig.server, str(site), "/x/")
        for path in (
            "/files.txt",
            "/x/../files.txt",
            "/x/",
            "/main.js.gz",
            "/x/%2e%2e/files.txt",
            "/x/main",
            "/x/main.js%20main.js.gz",
        ):
            assert (await asked(rig, path))[0] == 404


@NEEDS_MICROPYTHON
def test_micropython_serves_them_too(site):
    paths = f"{ROOT}:{sysconfig.get_path('purelib')}:.frozen"
    asked = [MICROPYTHON, "-X", "heapsize=512K", str(SERVER), str(site)]
    process = subprocess.Popen(asked, env=dict(environment(), MICROPYPATH=paths), stdout=subprocess.PIPE, text=True)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()), timeout=10)
        for _ in range(5):
            connection.request("GET", "/x/main.js")
            assert gzip.decompress(connection.getresponse().read()) == SCRIPT
        connection.request("GET", "/", headers={"If-None-Match": '"def"'})
        assert connection.getresponse().status == 304
        connection.close()
    finally:
        process.terminate()
        process.communicate(timeout=10)
