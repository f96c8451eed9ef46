"""What holds for every test: a time limit, so that a hang is a failure with a place, and a log of its own."""

import faulthandler
import os
import signal
import threading

import pytest

from hal.runtime.logs import LOG

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


@pytest.fixture(autouse=True)
def fresh_log():
    """Each test finds the log as a new process does: what others have written silences nothing."""
    LOG.forget()
