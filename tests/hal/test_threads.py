"""Calls in threads whose caller does not wait for their end."""

import asyncio
import threading

import pytest

from hal.runtime.cpython.threads import Threads


class File:
    """Open until it is closed."""

    is_open = True

    def close(self) -> None:
        self.is_open = False


async def test_a_file_that_is_opened_for_a_caller_who_is_gone_is_closed():
    threads, file = Threads(1), File()
    begun, go_on = threading.Event(), threading.Event()

    def opened() -> File:
        begun.set()
        go_on.wait()
        return file

    caller = asyncio.create_task(threads.call(opened))
    while not begun.is_set():
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await threads.call(int)  # begins when the other has ended
    assert not file.is_open


async def test_a_file_that_is_there_in_the_turn_in_which_its_caller_goes_is_closed():
    threads, file = Threads(1), File()
    ended = threading.Event()
    caller = asyncio.create_task(threads.call(lambda: file))
    next_one = asyncio.create_task(threads.call(ended.set))
    await asyncio.sleep(0)
    ended.wait()  # the file waits for its caller in the loop
    asyncio.get_running_loop().call_soon(caller.cancel)
    with pytest.raises(asyncio.CancelledError):
        await caller
    await next_one
    assert not file.is_open


async def test_a_file_that_its_caller_has_got_stays_open():
    file = File()
    assert await Threads(1).call(lambda: file) is file and file.is_open
