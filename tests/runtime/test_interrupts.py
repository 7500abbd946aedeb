"""Ctrl-C reaches the command wherever Python is when it comes."""

import os
import signal
import sys
import time
import weakref

import pytest

from reid_aug.runtime.interrupts import record_interrupts, was_interrupted


@pytest.fixture(autouse=True)
def default_ctrl_c(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Something:
    pass


def press_ctrl_c(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def work():
    thing = Something()
    callback = weakref.ref(thing, press_ctrl_c)
    del thing
    assert callback() is None
    time.sleep(10)


def test_ctrl_c_in_a_callback_is_raised_again(capsys):
    record_interrupts()

    with pytest.raises(KeyboardInterrupt):
        work()

    assert was_interrupted()
    assert capsys.readouterr().err == ""


def test_another_error_in_a_callback_is_printed_once(capsys):
    record_interrupts()
    record_interrupts()
    thing = Something()
    callback = weakref.ref(thing, lambda _: 1 / 0)

    del thing

    assert callback() is None
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1
    assert not was_interrupted()


def test_a_process_that_ignores_ctrl_c_is_left_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    record_interrupts()

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert sys.unraisablehook is sys.__unraisablehook__
