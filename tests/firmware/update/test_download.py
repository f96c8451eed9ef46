"""Bundles come whole or not at all: over broken links, changed servers, restarts, and from the SD card."""

import hashlib
import random

import pytest

from firmware.services.errors import Refused
from firmware.services.update.sources.download import TRIES, Download, Source
from firmware.services.update.sources.fetch import Url
from tests.firmware.gateway.test_callback import certificate
from tests.firmware.update.rig import Card
from tests.firmware.update.web import Web

DATA = random.Random(7).randbytes(300_000)


class Free:
    """A budget without a limit."""

    async def spend(self, count):
        pass


@pytest.fixture
def web():
    with Web() as running:
        running.files["bundle"] = DATA
        yield running


def entry(data=DATA):
    return {"file": "bundle", "version": "1.0.0", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def make(tmp_path):
    return Download(str(tmp_path / "download"), Free())


def source(web):
    return Source(web.url, None)


async def fetch(web, download, wanted=None, room=10**9):
    told = []
    await download.fetch(source(web), wanted or entry(), room, told.append)
    return told


async def test_a_bundle_comes_as_it_was_published(web, tmp_path):
    download = make(tmp_path)
    told = await fetch(web, download)
    assert (tmp_path / "download").read_bytes() == DATA
    assert download.is_whole() and told == sorted(told)


@pytest.mark.parametrize("fault", ["chunked", "break 100000", "break 0", "status 503", "status 500", "no ranges"])
async def test_a_bad_moment_of_the_server_costs_no_more_than_itself(web, tmp_path, fault):
    web.faults = ["break 70000", fault, "break 70000", fault]
    await fetch(web, make(tmp_path))
    assert (tmp_path / "download").read_bytes() == DATA


async def test_a_download_goes_on_where_it_broke_off(web, tmp_path):
    web.faults = ["break 200000"]
    await fetch(web, make(tmp_path))
    assert [asked for _, asked in web.asked] == [None, "bytes=200000-"]


async def test_a_download_goes_on_after_a_restart(web, tmp_path):
    web.faults = ["break 150000"] + ["status 503"] * 20
    with pytest.raises(Refused):
        await fetch(web, make(tmp_path))
    web.faults, web.asked = [], []
    await fetch(web, make(tmp_path))
    assert web.asked == [("bundle", "bytes=150000-")]
    assert (tmp_path / "download").read_bytes() == DATA


async def test_a_server_that_never_gives_a_byte_more_is_given_up(web, tmp_path):
    web.faults = ["break 0"] * 100
    with pytest.raises(Refused) as caught:
        await fetch(web, make(tmp_path))
    assert caught.value.code in ("UPDATE_CUT_SHORT", "UPDATE_SERVER")
    assert len(web.asked) < 20


@pytest.mark.parametrize("fault", ["endless line", "chunk of -5", "chunk of 0x10", "chunk of 1_0", "chunk of "])
async def test_what_is_no_http_is_read_no_further(web, tmp_path, fault):
    web.faults = [fault] * TRIES
    with pytest.raises(Refused) as caught:
        await fetch(web, make(tmp_path))
    assert caught.value.code in ("UPDATE_SERVER", "UPDATE_CUT_SHORT")
    assert make(tmp_path).size() == 0


async def test_another_file_under_the_same_name_is_not_glued_to_the_old_one(web, tmp_path):
    other = random.Random(8).randbytes(len(DATA))
    web.faults = ["break 100000"] + ["status 503"] * 20
    with pytest.raises(Refused):
        await fetch(web, make(tmp_path))
    web.faults, web.files["bundle"] = [], other
    await fetch(web, make(tmp_path), entry(other))
    assert (tmp_path / "download").read_bytes() == other


@pytest.mark.parametrize("fault", ["more", ""])
async def test_what_is_not_the_bundle_of_the_index_is_refused_and_its_room_given_back(web, tmp_path, fault):
    web.files["bundle"] = DATA if fault else DATA[:-1] + b"?"
    web.faults = [fault]
    with pytest.raises(Refused) as caught:
        await fetch(web, make(tmp_path))
    assert caught.value.code == "UPDATE_CHANGED"
    assert list(tmp_path.iterdir()) == []


async def test_a_bundle_larger_than_the_room_is_refused_before_a_byte_of_it_comes(web, tmp_path):
    with pytest.raises(Refused) as caught:
        await fetch(web, make(tmp_path), room=1000)
    assert caught.value.code == "UPDATE_TOO_LARGE"
    assert web.asked == [] and not (tmp_path / "download").exists()


async def test_redirects_are_followed_but_not_for_ever(web, tmp_path):
    web.faults = ["to /updates/bundle", "to bundle"]
    await fetch(web, make(tmp_path))
    assert (tmp_path / "download").read_bytes() == DATA
    web.faults = ["to /updates/bundle"] * 100
    make(tmp_path).discard()
    with pytest.raises(Refused) as caught:
        await fetch(web, make(tmp_path))
    assert caught.value.code == "UPDATE_SERVER"


@pytest.mark.parametrize(("target", "code"), [("to http://127.0.0.1:1/bundle", "UPDATE_SERVER"), ("", None)])
async def test_https_never_becomes_http(tmp_path, monkeypatch, target, code):
    cert, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    with Web(context) as web:
        web.files["bundle"] = DATA
        web.faults = [target] * 20
        if code is None:
            await fetch(web, make(tmp_path))
            assert (tmp_path / "download").read_bytes() == DATA
            return
        with pytest.raises(Refused, match="https to http") as caught:
            await fetch(web, make(tmp_path))
        assert caught.value.code == code


async def test_a_server_whose_certificate_nobody_trusts_is_not_asked_for_a_byte(tmp_path):
    with Web(certificate(tmp_path)[1]) as web:
        web.files["bundle"] = DATA
        with pytest.raises(Refused) as caught:
            await fetch(web, make(tmp_path))
    assert caught.value.code == "UPDATE_SERVER" and web.asked == []


async def test_a_range_that_was_not_asked_for_is_not_taken(web, tmp_path):
    web.faults = ["break 100000", "wrong range"]
    await fetch(web, make(tmp_path))
    assert (tmp_path / "download").read_bytes() == DATA


async def test_an_index_longer_than_its_limit_is_refused(web):
    web.files["index.json"] = b"[" * 100_000
    with pytest.raises(Refused) as caught:
        await source(web).index()
    assert caught.value.code == "UPDATE_BAD_INDEX"


async def test_a_bundle_comes_from_the_card(tmp_path):
    from_card = Source("card:/updates", Card({"/updates/bundle": DATA}))
    await make(tmp_path).fetch(from_card, entry(), 10**9, lambda percent: None)
    assert (tmp_path / "download").read_bytes() == DATA


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "ftp://a/",
        "http:///x",
        "http://u:p@h/",
        "http://a b/",
        "file:///etc",
        "http://h:0/",
        "http://h:99999/",
        "http://h:x/",
    ],
)
def test_a_url_that_is_none_is_refused(text):
    with pytest.raises(Refused):
        Url(text)


@pytest.mark.parametrize(
    ("base", "reference", "expected"),
    [
        ("http://h/a/b", "c", "http://h/a/c"),
        ("http://h:81/a/b?q", "/c", "http://h:81/c"),
        ("https://h/a/", "//other/x", "https://other/x"),
        ("https://h/a/", "https://other/x", "https://other/x"),
        ("http://[::1]:8/a/", "c", "http://[::1]:8/a/c"),
    ],
)
def test_references_are_resolved(base, reference, expected):
    assert Url(base).joined(reference).text() == expected
