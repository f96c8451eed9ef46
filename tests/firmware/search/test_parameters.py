"""Reading a device's parameters from devices that give little at a time."""

import asyncio

import pytest

from firmware.services.bus.transaction import SEARCH, Transaction
from firmware.services.search.parameters import Parameters
from firmware.services.search.templates import parse
from tests.firmware.search.test_templates import PARAM, template


class Device:
    """What a device has and how it refuses the rest: an exception's number, or silence ("TIMEOUT")."""

    def __init__(self, registers, most=125, refusal=2, gaps=True):
        self.registers = registers
        self.most = most
        self.refusal = refusal
        self.gaps = gaps  # whether it gives 0 for registers that it lacks between others
        self.asked = []
        self.lost = 0  # answers that get lost from now on

    async def fetch(self, func, addr, count):
        self.asked.append((addr, count))
        transaction = Transaction(1, bytes([func, addr >> 8, addr & 0xFF, 0, count]), SEARCH, self)
        wanted = range(addr, addr + count)
        lacks = [register for register in wanted if register not in self.registers]
        refused = count > self.most or (lacks and (not self.gaps or len(lacks) == count))
        if self.lost:
            self.lost -= 1
            transaction.finish("TIMEOUT", 0.0)
        elif not refused:
            words = b"".join(self.registers.get(register, 0).to_bytes(2, "big") for register in wanted)
            transaction.answered(bytes([func, 2 * count]) + words, 0.0)
        elif self.refusal == "TIMEOUT":
            transaction.finish("TIMEOUT", 0.0)
        else:
            transaction.answered(bytes([func | 0x80, self.refusal]), 0.0)
        return transaction


def read(device, addresses):
    rows = [dict(PARAM, name=f"p{addr}", addr=addr) for addr in addresses]
    parameters = Parameters(parse(template(params=rows))["params"], device.fetch)
    asyncio.run(parameters.read())
    return parameters


EVERY = range(40)
FULL = {addr: addr + 100 for addr in range(200)}


@pytest.mark.parametrize("refusal", [1, 2, 3, 4, 10, "TIMEOUT"])
@pytest.mark.parametrize("most", [1, 2, 5, 10])
def test_a_device_that_gives_few_registers_at_a_time_gives_all(most, refusal):
    device = Device(FULL, most, refusal)
    parameters = read(device, EVERY)
    assert parameters.values == {f"p{addr}": addr + 100 for addr in EVERY}
    assert parameters.missing == {}
    assert len(device.asked) <= 8 + len(EVERY) // max(1, most // 2) + 8


@pytest.mark.parametrize("refusal", [1, 2, 3, 4, 10, "TIMEOUT"])
def test_a_device_that_refuses_gaps_is_asked_without_them(refusal):
    places = [0, 1, 5, 6, 20, 21, 30]
    device = Device({addr: FULL[addr] for addr in places}, refusal=refusal, gaps=False)
    parameters = read(device, places)
    assert parameters.values == {f"p{addr}": addr + 100 for addr in places}
    assert device.asked == [(0, 31), (0, 2), (5, 2), (20, 2), (30, 1)]


def test_what_has_worked_is_kept_for_the_rest():
    device = Device(FULL, most=10)
    read(device, range(125))
    sizes = [count for _, count in device.asked]
    assert sizes[:5] == [125, 62, 31, 15, 7]
    assert max(sizes[5:]) <= 10


@pytest.mark.parametrize(("refusal", "why"), [(2, "EXCEPTION 2"), (4, "EXCEPTION 4"), ("TIMEOUT", "TIMEOUT")])
def test_a_register_that_is_not_there_costs_no_other_one_its_value(refusal, why):
    device = Device({addr: FULL[addr] for addr in EVERY if addr != 13}, refusal=refusal, gaps=False)
    parameters = read(device, EVERY)
    assert parameters.missing == {"p13": why}
    assert [name for name, value in parameters.values.items() if value is None] == ["p13"]


def test_a_lost_answer_is_asked_for_again():
    device = Device(FULL)
    device.lost = 1
    assert read(device, [7]).values == {"p7": 107}


def test_a_device_that_has_gone_is_not_waited_for_at_each_parameter():
    device = Device({}, refusal="TIMEOUT")
    parameters = read(device, EVERY)
    assert set(parameters.missing.values()) == {"TIMEOUT"}
    assert len(parameters.missing) == len(EVERY)
    assert len(device.asked) < 15


def test_a_float_that_is_no_number_is_said():
    rows = [dict(PARAM, name="nan", addr=0, type="float32")]
    parameters = Parameters(parse(template(params=rows))["params"], Device({0: 0x7FC0, 1: 0}).fetch)
    asyncio.run(parameters.read())
    assert (parameters.values, parameters.missing) == ({"nan": None}, {"nan": "NOT_A_NUMBER"})
