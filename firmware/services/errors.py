"""How a service says no."""


class Refused(Exception):
    """The device will not or cannot do what was asked.

    `code` is the API's error code (firmware/api/errors.py maps it to an HTTP status), the text says what was wrong
    and what to do, `retry_after` is after how many seconds it may be worth another try; None: as its code has it.
    """

    def __init__(self, code: str, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after
