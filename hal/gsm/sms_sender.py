"""Text messages handed to a modem: PDU mode, and text mode for modems that have no other (3GPP TS 27.005)."""

import asyncio

from hal.contracts import ModemFailed
from hal.gsm.at import AtError, AtPort, AtSilent
from hal.gsm.sms import utf16

SUBMIT_SEC = 60.0  # for the network to take a part

_SENT = r"\+CMGS: ?\d+"
BUSY_TRIES = 10
BUSY_PAUSE = 0.5  # seconds between tries where the SIM card is busy

_TEMPORARY = (38, 41, 42, 47, 331)  # the network has refused for now (section 3.2.5). After others it may have taken it
_UCS2_MAX = 140  # octets of a message of one part
_ASCII_IN_GSM = set(  # the same codes in ASCII and in the GSM alphabet
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !\"#%&'()*+,-./:;<=>?"
)


async def send_pdus(port: AtPort, phone: str, text: str, pdus: list[tuple[int, str]]) -> None:
    """Send a message whose parts are `pdus` (hal.gsm.sms). ModemFailed with the network's reason; NoModem."""
    try:
        await port.command("AT+CMGF=0")
    except AtError:
        await _send_in_text_mode(port, phone, text, len(pdus))
        return
    for number, (length, pdu) in enumerate(pdus, 1):
        where = f"part {number} of {len(pdus)}: " if len(pdus) > 1 else ""
        await _submit(port, f"AT+CMGS={length}", pdu, where)


async def _submit(port: AtPort, command: str, body: str, where: str) -> None:
    try:
        try:
            lines = await _when_ready(port, command, body)
        except AtError as exc:
            if exc.code() not in _TEMPORARY:
                raise
            lines = await _when_ready(port, command, body)
    except AtError as exc:
        raise ModemFailed(f"{where}the message was refused: {exc.result}", exc.result) from exc
    except AtSilent as exc:  # not tried again: it may have been sent
        raise ModemFailed(f"{where}the network does not say whether it has taken the message", "TIMEOUT") from exc
    if not lines:  # the number of the message is the network's word that it has it (section 3.5.1)
        raise ModemFailed(f"{where}the modem does not say that the network has taken the message", "NO REFERENCE")


async def _when_ready(port: AtPort, command: str, body: str) -> list[str]:
    """Submit as soon as the SIM card is not busy."""
    for _ in range(BUSY_TRIES - 1):
        try:
            return await port.submit(command, body, _SENT, SUBMIT_SEC)
        except AtError as exc:
            if not exc.is_busy():
                raise
        await asyncio.sleep(BUSY_PAUSE)
    return await port.submit(command, body, _SENT, SUBMIT_SEC)


async def _send_in_text_mode(port: AtPort, phone: str, text: str, parts: int) -> None:
    if parts > 1:
        raise ModemFailed("the modem has no PDU mode, and a text this long needs it", "NO PDU MODE")
    plain = set(text) <= _ASCII_IN_GSM
    if not plain and len(utf16(text)) > _UCS2_MAX:  # which would have fitted in PDU mode
        raise ModemFailed(f"the modem has no PDU mode, and sends {_UCS2_MAX // 2} of such characters", "NO PDU MODE")
    try:
        await port.command("AT+CMGF=1")
        await port.command(f'AT+CSCS="{"GSM" if plain else "UCS2"}"')
        await port.command(f"AT+CSMP=17,167,0,{0 if plain else 8}")
    except AtError as exc:
        raise ModemFailed(f"the modem takes no message: {exc.result}", exc.result) from exc
    try:
        number, body = (phone, text) if plain else (_hexadecimal(phone), _hexadecimal(text))
        kind = "" if not plain else ",145" if phone[:1] == "+" else ",129"  # 24.008 section 10.5.4.7
        await _submit(port, f'AT+CMGS="{number}"{kind}', body, "")
    finally:
        if not plain:
            await port.command('AT+CSCS="GSM"')  # or the network's name would come in hexadecimal


def _hexadecimal(text: str) -> str:
    return utf16(text).hex().upper()
