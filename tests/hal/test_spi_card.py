"""The driver for SD cards on an SPI bus, on MicroPython, against a card that speaks the protocol byte by byte."""

import pytest

from hal import contracts
from tests.machine.remote import Interpreter, RemotePart
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

PINS = {"spi": 1, "sck": 10, "mosi": 11, "miso": 12, "cs": 13}


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    running = Interpreter(tmp_path_factory.mktemp("board"))
    yield running
    running.end()


class Slot:
    """A card in its slot, and what is wrong with it."""

    def __init__(self, interpreter, folder):
        self._interpreter = interpreter
        self.fault_file = folder / "card-fault"
        self.file = folder / "card"
        interpreter.ask("machine.make_card(2048)")
        self.fault("")
        self.part = RemotePart(interpreter, contracts.Card, "card", "sd", PINS)

    def fault(self, text):
        self.fault_file.write_text(text)

    def take(self):
        """The block device, begun anew."""
        self._interpreter.ask("here.take_card()")

    def ask(self, call):
        return self._interpreter.ask("part._device." + call)


@pytest.fixture
def slot(interpreter, tmp_path):
    import pathlib

    yield Slot(interpreter, pathlib.Path(interpreter.folder))
    interpreter.ask("here.part._let_go()")


@pytest.mark.parametrize("kind", ["", "old"])
def test_a_card_is_read_and_written_block_by_block(slot, kind):
    slot.fault(kind)
    slot.take()
    assert slot.ask("ioctl(4, 0)") == 2048
    data = bytes(range(256)) * 4
    slot.ask(f"writeblocks(2046, {data!r})")
    assert slot.file.read_bytes()[2046 * 512 :] == data
    assert slot._interpreter.ask("here.read_blocks(2046, 2)") == data


def test_no_card_is_no_such_device(slot):
    slot.file.unlink()
    with pytest.raises(OSError, match="19"):
        slot.take()


@pytest.mark.parametrize("fault", ["never ready", "bad echo"])
def test_a_card_that_does_not_begin_as_it_should_is_said_so_in_time(slot, fault):
    slot.fault(fault)
    with pytest.raises(OSError, match="5"):
        slot.take()


@pytest.mark.parametrize("fault", ["bad crc", "no data", "read error", "pulled 300"])
def test_a_read_that_goes_wrong_is_an_error_and_the_next_one_works(slot, fault):
    slot.take()
    slot.fault(fault)
    with pytest.raises(OSError, match="5"):
        slot._interpreter.ask("here.read_blocks(0, 1)")
    slot.fault("")
    if fault.startswith("pulled"):
        slot.take()  # it was put in again
    assert slot._interpreter.ask("here.read_blocks(0, 1)") == slot.file.read_bytes()[:512]


@pytest.mark.parametrize("fault", ["write refused", "busy", "pulled 300"])
def test_a_write_that_goes_wrong_is_an_error(slot, fault):
    slot.take()
    before = slot.file.read_bytes()
    slot.fault(fault)
    with pytest.raises(OSError, match="5"):
        slot.ask(f"writeblocks(7, {bytes(512)!r})")
    if fault != "busy":
        assert slot.file.read_bytes() == before


def test_a_block_beyond_its_end_is_an_error(slot):
    slot.take()
    with pytest.raises(OSError, match="5"):
        slot._interpreter.ask("here.read_blocks(2048, 1)")


def test_pins_that_lack_are_named(interpreter):
    with pytest.raises(Exception, match="spi: needs the pins"):
        RemotePart(interpreter, contracts.Card, "card", "sd", {"spi": 1})
