"""The SD card: files in and out, whole, over a connection that breaks; names as text."""

import os
import re

from playwright.sync_api import expect

EVIL = "&lt;b&gt;&amp;.txt"  # FAT has no names with < in them


def test_a_megabyte_arrives_whole_though_the_connection_is_cut(console, device, tmp_path):
    content = os.urandom(1 << 20)
    (tmp_path / "big.bin").write_bytes(content)
    one = console().enter()
    one.go("SD card")
    one.page.locator("input[type=file]").set_input_files(tmp_path / "big.bin")
    bar = one.page.get_by_role("progressbar", name="big.bin", exact=True)
    expect(bar).to_be_visible()
    expect(one.page.locator(".transfer")).to_contain_text(re.compile("[1-9][0-9] %"))
    one.context.set_offline(True)
    expect(one.page.get_by_text("goes on by itself")).to_be_visible()
    assert not (device.state / "card" / "big.bin").exists()
    one.context.set_offline(False)
    expect(one.page.get_by_role("button", name="big.bin", exact=True)).to_be_visible(timeout=60000)
    assert (device.state / "card" / "big.bin").read_bytes() == content
    assert all("ERR_INTERNET_DISCONNECTED" in text for text in one.said)
    one.said.clear()


def test_files_are_shown_fetched_and_deleted_whatever_they_are_called(console, device):
    folder = device.state / "card" / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EVIL).write_bytes(b"hello" * 500)
    one = console(width=360).enter("card")
    one.page.get_by_role("button", name="logs/", exact=True).click()
    with one.page.expect_download() as arriving:
        one.page.get_by_role("button", name=EVIL, exact=True).click()
    assert arriving.value.path().read_bytes() == b"hello" * 500
    assert one.page.locator("main b").count() == 0
    assert not one.is_too_wide()
    one.page.get_by_role("button", name="Delete", exact=True).click()
    one.page.get_by_role("button", name="Yes", exact=True).click()
    expect(one.page.get_by_text("Nothing is in this folder")).to_be_visible()
    assert not (folder / EVIL).exists()


def test_a_dropped_file_is_uploaded(console, device):
    one = console().enter("card")
    expect(one.page.locator(".drop")).to_be_visible()
    one.page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.items.add(new File(["dropped"], "dropped.txt"));
            document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }"""
    )
    expect(one.page.get_by_role("button", name="dropped.txt", exact=True)).to_be_visible()
    assert (device.state / "card" / "dropped.txt").read_text() == "dropped"


def test_an_ejected_card_is_said_to_be_gone(own_device, console):
    one = console(own_device).enter("card")
    one.page.get_by_role("button", name="Eject", exact=True).click()
    one.page.get_by_role("button", name="Yes", exact=True).click()
    expect(one.page.get_by_text("It can be taken out")).to_be_visible()
    one.page.get_by_role("button", name="Reload", exact=True).click()
    expect(one.page.get_by_text("No SD card is in the slot")).to_be_visible()
    assert all("503" in text for text in one.said)
    one.said.clear()


def test_an_upload_goes_on_after_the_page_was_loaded_anew(console, device, tmp_path):
    content = os.urandom(150 * 1024)
    (tmp_path / "firm.bin").write_bytes(content)
    one = console(width=360).enter("card")
    blocks: list[int] = []
    one.page.on("request", lambda request: blocks.append(block_of(request)) if "file/write" in request.url else None)
    one.page.locator("input[type=file]").set_input_files(tmp_path / "firm.bin")
    expect(one.page.locator(".transfer")).to_contain_text(re.compile("[3-9][0-9] %"))
    one.page.reload()
    expect(one.page.get_by_text("/firm.bin (150 KB) is not whole yet")).to_be_visible()
    assert not one.is_too_wide()
    sent = max(blocks)
    blocks.clear()
    one.page.locator("input[type=file]").set_input_files(tmp_path / "firm.bin")
    expect(one.page.get_by_role("button", name="firm.bin", exact=True)).to_be_visible(timeout=30000)
    assert (device.state / "card" / "firm.bin").read_bytes() == content
    assert blocks[0] == 1 and min(blocks[1:]) >= sent > 40  # the first one asks where to go on
    expect(one.page.get_by_text("is not whole yet")).not_to_be_visible()
    one.forgive("409")


def block_of(request):
    return request.post_data_json["blockIdx"]


def test_another_file_of_the_same_name_begins_anew(console, device, tmp_path):
    one = console().enter("card")
    (tmp_path / "a.bin").write_bytes(b"old" * 50000)
    one.page.locator("input[type=file]").set_input_files(tmp_path / "a.bin")
    expect(one.page.locator(".transfer")).to_contain_text(re.compile("[1-9][0-9] %"))
    one.page.reload()
    expect(one.page.get_by_text("is not whole yet")).to_be_visible()
    (tmp_path / "a.bin").write_bytes(b"new" * 10000)
    one.page.locator("input[type=file]").set_input_files(tmp_path / "a.bin")
    expect(one.page.get_by_role("button", name="a.bin", exact=True)).to_be_visible(timeout=30000)
    assert (device.state / "card" / "a.bin").read_bytes() == b"new" * 10000
