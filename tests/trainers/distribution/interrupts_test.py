import signal

import pytest

from trainers.distribution.interrupts import EXIT_TERMINATED, Interrupts


@pytest.fixture(autouse=True)
def python_s_own_handler():
    """Restores Ctrl-C, because tests that run in the background ignore it from the start."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_waits_for_the_check():
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        interrupts.check()
        assert not interrupts.received
        signal.raise_signal(signal.SIGINT)
        assert interrupts.received
        done.append("the step is finished")
        interrupts.check()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_an_ignored_ctrl_c_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_waits_for_the_check_however_often_it_comes():
    with pytest.raises(SystemExit) as caught, Interrupts() as interrupts:
        interrupts.check()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        interrupts.check()
    assert caught.value.code == EXIT_TERMINATED == 75
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_sigterm_handler_is_left_alone():
    received = []
    signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        interrupts.check()
    assert received == [signal.SIGTERM]
