"""Waiting with a generous deadline and a useful last word, and leaving nothing behind."""

import contextlib
import faulthandler
import os
import signal
import time

PATIENCE = int(os.environ.get("SYNCFLOW_PATIENCE", "120"))  # seconds; a deadline for hangs, not a measure of speed


class Expired(AssertionError):
    """A wait came to its deadline."""


def wait_until(condition, what, seconds=PATIENCE, context=lambda: "", every=0.05):
    """The first true answer of `condition`; `context` tells what to show when none comes."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise Expired(f"waited {seconds} s for {what}\n{context()}")
        time.sleep(every)


def end_on_signals():
    """Ctrl-C, SIGTERM and a closed terminal unwind the stack, so that every `with` cleans up. Before
    the runner ends a test that hangs, every thread says where it stands."""
    if "SYNCFLOW_DEADLINE" in os.environ:
        faulthandler.dump_traceback_later(int(os.environ["SYNCFLOW_DEADLINE"]))
    # Not SystemExit, which unittest takes for one test's failure before it runs the next.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def undisturbed():
    """A second Ctrl-C must not interrupt the cleaning up after the first."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
