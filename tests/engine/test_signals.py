"""Signals that ask a program to end."""

import os
import signal

import pytest

from deepinternal.engine.signals import StopSignal


@pytest.fixture(autouse=True)
def _handlers():
    before = {n: signal.getsignal(n) for n in (signal.SIGHUP, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_several_hangups_of_a_terminal():
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with StopSignal() as stop:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signum == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_hangups_stay_ignored_under_nohup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signum == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signum == signal.SIGTERM
