"""The bus page: requests and their answers, causes in words, a table of registers."""

import re

import pytest
from playwright.sync_api import expect

from tests.console.conftest import WIDTHS


@pytest.mark.parametrize("width", WIDTHS)
def test_registers_are_read_and_shown_in_every_reading(console, width):
    one = console(width=width).enter()
    one.go("Bus")
    one.page.get_by_role("button", name="Send", exact=True).click()
    values = one.page.get_by_role("region", name="Values", exact=True)
    expect(values.get_by_role("row").nth(3)).to_contain_text("2300")  # the meter's voltage, in 0.1 V
    one.page.get_by_role("button", name="32 bit", exact=True).click()
    rows = values.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("ABCD")
    expect(rows.nth(1)).to_contain_text(str(252 << 16 | 104))
    expect(rows.nth(2)).to_contain_text("CDAB")
    expect(rows.nth(2)).to_contain_text(str(104 << 16 | 252))
    assert not one.is_too_wide()


def test_readings_are_those_of_the_type_and_order(console):
    one = console().open()
    found = one.page.evaluate(
        """async () => {
            const base = document.querySelector("script[type=module]").src;
            const { read, ordersOf } = await import(new URL("parts/values.js", base).href);
            const bytes = (...given) => Uint8Array.from(given);
            return [
                read("float32", bytes(0x43, 0x66, 0x80, 0x00), "ABCD"),
                read("float32", bytes(0x80, 0x00, 0x43, 0x66), "CDAB"),
                read("float32", bytes(0x66, 0x43, 0x00, 0x80), "BADC"),
                read("float32", bytes(0x00, 0x80, 0x66, 0x43), "DCBA"),
                read("int16", bytes(0xff, 0xcb)),
                read("int32", bytes(0xff, 0xff, 0xff, 0xfe), "ABCD"),
                String(read("uint64", bytes(0, 1, 0, 0, 0, 0, 0, 0), "GHEFCDAB")),
                String(read("uint64", bytes(0, 0, 0, 0, 0, 0, 1, 2), "ABCDEFGH")),
                read("float64", bytes(0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18), "ABCDEFGH"),
            ];
        }"""
    )
    assert found == [230.5, 230.5, 230.5, 230.5, -53, -2, "1", "258", 3.141592653589793]


def test_a_raw_request_goes_out_as_it_is(console):
    one = console().enter()
    one.go("Bus")
    one.page.get_by_role("button", name="Raw", exact=True).click()
    one.page.get_by_label("Function", exact=True).fill("0x03")
    one.page.get_by_label("Data after the function code", exact=True).fill("00 00 00 0")
    one.page.get_by_role("button", name="Send", exact=True).click()
    expect(one.page.get_by_text("pairs of hexadecimal digits")).to_be_visible()
    one.page.get_by_label("Data after the function code", exact=True).fill("00 00 00 02")
    one.page.get_by_role("button", name="Send", exact=True).click()
    expect(one.page.get_by_text("04 00 FC 00 68")).to_be_visible()


def test_why_a_unit_does_not_answer_is_said_with_what_to_look_at(console):
    one = console().enter("bus/request/99")
    one.page.get_by_role("button", name="Send", exact=True).click()
    expect(one.page.get_by_text("Nothing came. Check supply, wiring")).to_be_visible()
    one.page.get_by_label("Unit", exact=True).fill("1")
    one.page.get_by_label("Address", exact=True).fill("500")
    one.page.get_by_role("button", name="Send", exact=True).click()
    expect(one.page.get_by_text("exception 2", exact=True)).to_be_visible()
    expect(one.page.get_by_text("The unit has no such address")).to_be_visible()


def test_what_the_device_refuses_stands_at_its_field(console):
    one = console().enter("bus")
    one.page.get_by_label("Count", exact=True).fill("126")
    one.page.get_by_role("button", name="Send", exact=True).click()
    expect(one.page.get_by_label("Count", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(one.page.locator(".field.bad")).to_contain_text("1..125")
    assert all("400" in text for text in one.said)
    one.said.clear()  # the browser notes each 400 by itself


def test_a_table_of_registers_polls_and_plots(console):
    one = console().enter("bus/registers")
    one.page.get_by_label("Name", exact=True).fill("seconds")
    one.page.get_by_label("Function", exact=True).select_option("4")
    one.page.get_by_label("Address", exact=True).fill("18")
    one.page.get_by_label("Type", exact=True).select_option("uint32")
    one.page.get_by_role("button", name="Add", exact=True).click()
    one.page.get_by_label("Plot seconds", exact=True).check()
    one.page.get_by_label("How often", exact=True).select_option("0.5")
    one.page.get_by_role("button", name="Start", exact=True).click()
    cell = one.page.locator("tbody strong")
    expect(cell).to_have_text(re.compile("[0-9]+"))
    earlier = cell.inner_text()
    expect(cell).not_to_have_text(earlier)  # it counts, and the table with it
    drawn = one.page.get_by_role("img", name="Values over time", exact=True).locator("path.series")
    expect(drawn).to_have_attribute("d", re.compile("M.*L"))
