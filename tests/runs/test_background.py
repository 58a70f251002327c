"""Tasks beside the main thread: all end, few wait, and errors come back."""

import threading

import pytest

from deepinternal.runs.background import Background


def test_all_tasks_have_ended_in_order_after_the_block():
    ended = []
    with Background() as background:
        for number in range(20):
            background.add(lambda number=number: ended.append(number), most=2)
    assert ended == list(range(20))


def test_few_tasks_are_unfinished_at_once():
    """`add` returns only once an earlier task has ended."""
    go, begun, added = threading.Event(), threading.Semaphore(0), []
    seen = []

    def task(number):
        begun.release()
        go.wait(30)
        seen.append(len(added))

    def add():
        with Background() as background:
            for number in range(5):
                background.add(lambda number=number: task(number), most=2)
                added.append(number)

    thread = threading.Thread(target=add)
    thread.start()
    assert begun.acquire(timeout=30)
    thread.join(0.2)
    assert len(added) == 2
    go.set()
    thread.join(30)
    assert len(seen) == len(added) == 5


def test_an_error_of_a_task_is_raised_once_all_have_ended():
    ended, added = [], threading.Event()

    def fail():
        assert added.wait(30)
        raise RuntimeError("a defect")

    def work():
        with Background() as background:
            background.add(fail, most=3)
            background.add(lambda: ended.append(True), most=3)
            added.set()

    with pytest.raises(RuntimeError, match="a defect"):
        work()
    assert ended
