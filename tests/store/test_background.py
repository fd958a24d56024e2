import threading
import time

import pytest

from culture_neurons.store.background import in_background


def names():
    return [t.name for t in threading.enumerate() if t.name.startswith("culture_neurons")]


def test_calls_are_worked_on_in_order_on_another_thread():
    done = []
    with in_background(lambda *words: done.append((*words, threading.current_thread().name))) as call:
        for i in range(50):
            call(i, "x")
    assert [(i, "x") for i in range(50)] == [entry[:2] for entry in done]
    assert len({entry[2] for entry in done} | {threading.current_thread().name}) == 2
    assert names() == []


def test_at_most_two_calls_wait():
    gate, handed_over = threading.Event(), []

    def hand_over(call):
        for i in range(10):
            call(i)
            handed_over.append(i)

    with in_background(lambda i: gate.wait(10)) as call:
        other = threading.Thread(target=hand_over, args=(call,))
        other.start()
        other.join(0.2)
        # One is at work and two wait; the fourth blocks.
        assert handed_over == [0, 1, 2]
        gate.set()
        other.join(10)
    assert handed_over == list(range(10))


def fail_at(number, done):
    def work(i):
        done.append(i)
        if i == number:
            raise OSError(f"call {i}")

    return work


def test_error_comes_up_at_the_next_call():
    done, calls = [], []

    def caller():
        with in_background(fail_at(0, done)) as call:
            for i in range(100):
                call(i)
                calls.append(i)
                time.sleep(0.01)

    with pytest.raises(OSError, match="call 0"):
        caller()
    assert 0 < len(calls) < 100
    assert names() == []


def test_error_comes_up_at_the_end():
    def caller():
        with in_background(fail_at(2, [])) as call:
            for i in range(3):
                call(i)

    with pytest.raises(OSError, match="call 2"):
        caller()
    assert names() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_thread_ends_and_drops_what_waits_when_the_caller_fails(error):
    done = []

    def work(i):
        time.sleep(0.05)
        done.append(i)

    def caller():
        with in_background(work) as call:
            for i in range(3):
                call(i)
            raise error

    with pytest.raises(error):
        caller()
    assert names() == []
    assert done in ([], [0])
