"""Progress outside a terminal: lines that a log can hold."""

import io
import re
import time

from reid_aug.runtime import progress
from reid_aug.runtime.progress import track

LINE = r"\d\d:\d\d:\d\d measure: {n} of 5, \d\d:\d\d so far, .* left\n"


def test_a_log_gets_whole_lines_with_the_time(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)

    for _ in track(iter(range(5)), "measure", 5):
        pass

    assert re.fullmatch("".join(LINE.format(n=n) for n in (*range(6), 5)), log.getvalue())


def test_a_fast_loop_writes_nothing_and_a_slow_one_its_end(monkeypatch):
    for every in (10.0, 0.04):
        log = io.StringIO()
        monkeypatch.setattr("sys.stderr", log)
        monkeypatch.setattr(progress, "LINE_EVERY", every)

        with track(range(5), "measure") as bar:
            for _ in bar:
                bar.set_postfix_str("loss 1.0", refresh=False)
                time.sleep(0.01)

        lines = log.getvalue().splitlines()
        assert {line.split()[2] for line in lines} & {"0", "5"} == ({"5"} if every < 1 else set())
        assert all(line.endswith("left, loss 1.0") for line in lines)
