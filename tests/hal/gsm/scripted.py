"""A modem that answers by a script: what modems of several makers have said, byte for byte, on a pty."""

import asyncio
import os
import tty

_CTRL_Z = b"\x1a"

# What a modem of no particular maker says when all is well; scripts change what theirs says otherwise.
COMMON = {
    "AT+CGSN": "001015000000015",
    "AT+CPIN?": "+CPIN: READY",
    "AT+CCID": "+CCID: 89999010000000000017",
    "AT+CSQ": "+CSQ: 18,99",
    "AT+CREG?": "+CREG: 1,1",
    "AT+CEREG?": "+CEREG: 1,1",
    "AT+CGREG?": "+CGREG: 0,1",
    "AT+COPS?": '+COPS: 0,0,"Somewhere",7',
    "AT+CGPADDR=1": "+CGPADDR: 1,10.20.30.40",
    "AT+CMEE?": "+CMEE: 1",
}


class ScriptedModem:
    """`answers` is command -> what is said: a text of lines before OK, bytes as they are on the wire, or a list of
    such, one after another, the last one again and again. A command that is not in it is answered by OK alone.

    `heard` lists the command lines and the texts typed at a prompt.
    """

    def __init__(self, **answers):
        self.answers = COMMON | answers
        self.heard = []
        self.dead = False  # whether nothing is answered
        self._counts = {}
        self._buffer = b""
        self._prompted = None
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def set(self, command, *answers):
        """From now on say this to a command."""
        self.answers[command] = list(answers)
        self._counts.pop(command, None)

    def say(self, data):
        os.write(self.master, data)

    def count(self, command):
        return self.heard.count(command)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)

    def _read(self):
        self._buffer += os.read(self.master, 4096)
        while True:
            end = _CTRL_Z if self._prompted is not None else b"\r"
            line, found, rest = self._buffer.partition(end)
            if not found:
                return
            self._buffer = rest
            text = line.decode("latin-1").replace("\x1b", "")
            if text:
                self.heard.append(text)
                self._answer(text)

    def _answer(self, text):
        if self._prompted is not None:
            answer, self._prompted = self._prompted, None
            self.say(answer)
            return
        if self.dead:
            return
        key = "AT+CMGS" if text.startswith("AT+CMGS=") else "AT+CPIN=" if text.startswith("AT+CPIN=") else text
        answer = self._next(key)
        if key == "AT+CMGS" and not answer.startswith(b"!"):
            self._prompted = answer
            self.say(b"\r\n> ")
            return
        self.say(answer.removeprefix(b"!"))

    def _next(self, key):
        said = self.answers.get(key, b"\r\n+CMGS: 7\r\n\r\nOK\r\n" if key == "AT+CMGS" else "")
        if isinstance(said, list):
            count = self._counts.get(key, 0)
            self._counts[key] = count + 1
            said = said[min(count, len(said) - 1)]
        if isinstance(said, bytes):
            return said
        lines = "".join(f"\r\n{line}\r\n" for line in said.splitlines())
        return f"{lines}\r\nOK\r\n".encode()
