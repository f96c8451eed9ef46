"""What holds for every test: a time limit, so that a hang is a failure with a place and not a night's wait."""

import faulthandler
import os
import signal
import threading

import pytest

TEST_SEC = float(os.environ.get("TEST_SEC", "180"))  # the slowest need a tenth of it on a quiet machine
_AGAIN_SEC = 5  # what swallows the exception once gets it again


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a test that takes longer than TEST_SEC."""
    if threading.current_thread() is not threading.main_thread():
        return (yield)

    def too_long(number, frame):
        faulthandler.dump_traceback()
        pytest.fail(f"takes longer than {TEST_SEC:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, TEST_SEC, _AGAIN_SEC)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
