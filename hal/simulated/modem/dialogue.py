"""What goes over the fake modem's tty: echo, command lines and their answers, messages typed at a prompt, noise."""

import asyncio
import re
from collections.abc import Callable

from hal.runtime import log_exception
from hal.simulated.modem.commands import is_slow, run
from hal.simulated.modem.line import AtError, commands_of, masked, without_blanks
from hal.simulated.modem.sim import CmeError
from hal.simulated.modem.sms import CmsError
from hal.simulated.modem.state import ModemState, Prompt

_LINE_LIMIT = 560  # characters of a command line
_MESSAGE_LIMIT = 1024  # characters typed at a prompt
_INPUT_LIMIT = 16384  # bytes that wait to be read
_COMMANDS_KEPT = 256
_CR, _LF, _BACKSPACE, _CTRL_Z, _ESC = 0x0D, 0x0A, 0x08, 0x1A, 0x1B


class Dialogue:
    """Reads command lines and answers them; `write` sends bytes, `done` is called after each line.

    `delay` is how long the commands take that ask the SIM card or the network, `late` by how much the next line is
    answered later, in seconds. While `silent` nothing is heard nor said. `chatter` puts unsolicited lines into answers.
    """

    def __init__(
        self,
        modem: ModemState,
        write: Callable[[bytes], None],
        done: Callable[[], None],
        log: Callable[[str], None] | None,
    ):
        self.commands: list[str] = []
        self.delay = 0.0
        self.late = 0.0
        self.silent = False
        self.chatter = False
        self._modem = modem
        self._send = write
        self._done = done
        self._log = log
        self._input = bytearray()
        self._arrived = asyncio.Event()

    def drop_input(self) -> None:
        """Forget what was not read yet."""
        self._input.clear()

    def received(self, data: bytes) -> None:
        """Take bytes from the tty; more than fit are lost."""
        if not self.silent:
            self._input += data[: _INPUT_LIMIT - len(self._input)]
            self._arrived.set()

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if not self.silent:
            self._send(data)

    def say(self, line: str) -> None:
        """Send a line that nobody asked for."""
        self.write(f"\r\n{line}\r\n".encode("latin-1", "replace"))

    def _answer(self, line: str) -> None:
        if self.chatter:
            self.say(self._modem.chatter_line())
        self.write(f"\r\n{line}\r\n".encode("latin-1", "replace"))

    def _echo(self, byte: int) -> None:
        if self._modem.settings.echo:
            self.write(bytes([byte]))

    async def _next_byte(self) -> int:
        while not self._input:
            self._arrived.clear()
            await self._arrived.wait()
        return self._input.pop(0)

    async def _read_line(self) -> str | None:
        """The next command line; None for one that is too long."""
        line = bytearray()
        while True:
            byte = await self._next_byte()
            self._echo(byte)
            if byte == _CR:
                return line.decode("latin-1") if len(line) <= _LINE_LIMIT else None
            if byte == _BACKSPACE:
                del line[-1:]
            elif byte != _LF and len(line) <= _LINE_LIMIT:
                line.append(byte)

    async def _read_message(self, text_mode: bool) -> bytes | None:
        """What is typed at a prompt until Ctrl-Z; None where ESC cancels it (27.005 section 3.5.1)."""
        message = bytearray()
        while True:
            byte = await self._next_byte()
            if byte == _ESC:
                return None
            if byte == _CTRL_Z:
                return bytes(message)
            if byte == _LF and not message:
                continue  # of the command's line end
            self._echo(byte)
            if byte == _CR and text_mode:
                self.write(b"\r\n> ")
            if len(message) <= _MESSAGE_LIMIT:
                message.append(byte)

    async def serve(self) -> None:
        """Answer command lines until cancelled."""
        while True:
            try:
                line = await self._read_line()
                if line is None:
                    self._answer("ERROR")
                else:
                    await self._take_line(line)
            except Exception as exc:
                log_exception(exc)
                self._answer("ERROR")

    async def _take_line(self, line: str) -> None:
        prefix = re.search("AT|at", line)
        if not prefix:
            return
        body = without_blanks(line[prefix.end() :])
        kept = masked("AT" + body)
        self.commands.append(kept)
        del self.commands[:-_COMMANDS_KEPT]
        if self._log is not None:
            self._log(kept)
        late, self.late = self.late, 0.0
        if late:
            await asyncio.sleep(late)
        result = await self._result_of(body)
        if result is not None:
            self._answer(result)
        self._done()

    async def _result_of(self, body: str) -> str | None:
        """Carry a line out; its final result, None where there is to be none."""
        try:
            prompt: Prompt | None = None
            for command in commands_of(body):
                if prompt is not None:
                    raise AtError  # a prompt ends its line
                if is_slow(command):
                    await asyncio.sleep(self.delay)
                answer = run(self._modem, command)
                if isinstance(answer, Prompt):
                    prompt = answer
                    continue
                for line in answer:
                    self._answer(line)
            return "OK" if prompt is None else await self._send_message(prompt)
        except AtError:
            return "ERROR"
        except CmeError as exc:
            return self._error("+CME ERROR", exc.number, str(exc))
        except CmsError as exc:
            return self._error("+CMS ERROR", exc.number, str(exc))

    def _error(self, kind: str, number: int, text: str) -> str:
        """A result by +CMEE (27.007 section 9.1)."""
        return ("ERROR", f"{kind}: {number}", f"{kind}: {text}")[self._modem.settings.errors]

    async def _send_message(self, prompt: Prompt) -> str | None:
        if self.chatter:
            self.say(self._modem.chatter_line())
        self._input.clear()  # what was typed before the prompt is lost, as on a real modem
        self.write(b"\r\n> ")
        body = await self._read_message(self._modem.settings.text_mode)
        if body is None:
            return "OK"
        if self._modem.sms_silent:
            self._modem.sms_silent = False
            return None
        await asyncio.sleep(self.delay)
        self._answer(f"+CMGS: {self._modem.submit(prompt, body)}")
        return "OK"
