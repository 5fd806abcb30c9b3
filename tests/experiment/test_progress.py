"""Progress: times that follow from what the runner tells, and the three ways of showing them."""

import io

import pytest

from jaxzoo.experiment.progress import Live, Plain, Silent, Stage, duration, for_stream


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def stage(clock, total=100, unit="steps"):
    return Stage("group/arm", total, unit, lambda stage: None, lambda text: None, clock)


def test_rate_and_time_left_leave_the_compile_phase_out(clock):
    s = stage(clock)
    s.compiling()
    clock.now = 7.0
    assert s.status() == "compiling 7.0 s"
    s.running(1, {"loss": 2.0})
    clock.now = 9.0
    s.running(21, {"loss": 0.123456})
    assert (s.compile_seconds, s.rate, s.seconds_left) == (7.0, 10.0, 7.9)
    assert s.status() == "21/100  10 steps/s  7.9 s left  loss 0.1235"
    clock.now = 10.0
    assert s.seconds_left == pytest.approx(6.9)


def test_rate_of_a_resumed_stage_counts_from_where_it_resumed(clock):
    s = stage(clock)
    s.running(51)
    clock.now = 1.0
    s.running(61)
    assert s.rate == 10.0
    assert s.seconds_left == 3.9


def test_a_stage_that_is_over_says_what_it_took(clock):
    s = stage(clock)
    s.compiling()
    clock.now = 3.0
    s.running(1)
    clock.now = 63.0
    s.running(100)
    s.finished()
    assert s.summary() == "100 steps in 1 min 00 s, 1.65 steps/s, compiled in 3.0 s"


def test_fast_steps_are_counted_in_whole_numbers(clock):
    s = stage(clock, total=10_000)
    s.running(0)
    clock.now = 2.0
    s.running(5001)
    assert s.status() == "5001/10000  2,500 steps/s  2.0 s left"


def test_slow_steps_are_told_by_the_step(clock):
    s = stage(clock, total=4, unit="seeds")
    s.running(0)
    clock.now = 30.0
    s.running(2)
    assert s.status() == "2/4  15 s a seed  30 s left"


@pytest.mark.parametrize("total", [None, 1])
def test_a_stage_without_steps_to_count_shows_its_time(clock, total):
    s = stage(clock, total)
    s.running(0)
    clock.now = 2.0
    assert s.status() == "running 2.0 s"
    s.finished()
    assert s.summary() == "done in 2.0 s"


def test_a_stage_that_never_ran_came_from_its_checkpoint(clock):
    with stage(clock) as s:
        pass
    assert (s.phase, s.summary()) == ("finished", "done before, taken from its checkpoint")


def stop_at(s, step):
    with s:
        s.running(step)
        raise KeyboardInterrupt


def test_an_exception_stops_the_stage_and_passes_on(clock):
    s = stage(clock)
    with pytest.raises(KeyboardInterrupt):
        stop_at(s, 40)
    assert (s.phase, s.summary()) == ("stopped", "stopped at step 40 of 100")


def test_plain_lines_name_compile_and_end_and_are_few():
    stream = io.StringIO()
    with Plain(stream, line_seconds=1e9) as progress, progress.stage("recall/full", 1000) as s:
        s.compiling()
        for step in range(1, 1001):
            s.running(step, {"loss": 1.0})
        s.note("seed 3 left the finite numbers")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "recall/full: compiling"
    assert lines[1].startswith("recall/full: compiled in 0.")
    assert lines[1].endswith("1/1000  loss 1")
    assert lines[2] == "recall/full: seed 3 left the finite numbers"
    assert lines[3].startswith("recall/full: 1000 steps in ")
    assert len(lines) == 4


def test_plain_lines_come_again_after_a_while():
    stream = io.StringIO()
    with Plain(stream, line_seconds=0.0) as progress, progress.stage("arm", 3) as s:
        for step in (1, 2, 3):
            s.running(step)
    steps = [line.split()[1] for line in stream.getvalue().splitlines()[:3]]
    assert steps == ["1/3", "2/3", "3/3"]


def test_live_bar_shows_each_phase_and_leaves_one_line():
    stream = Terminal()
    with Live(stream) as progress:
        with progress.stage("recall/full", 10) as s:
            s.compiling()
            progress._bar.refresh()
            assert "compiling 0.0 s" in stream.getvalue()
            s.running(4, {"loss": 0.5})
            progress._bar.refresh()
            assert "4/10  loss 0.5" in stream.getvalue()
        assert progress._tasks == {}
    assert "recall/full: 10 steps in 0.0 s" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[?25h"), "the cursor comes back"


def test_silent_shows_nothing(capsys):
    with Silent() as progress, progress.stage("arm", 2) as s:
        s.compiling()
        s.running(1, {"loss": 1.0})
        s.note("a note")
        progress.note("another")
    assert capsys.readouterr() == ("", "")


def test_the_stream_decides():
    assert type(for_stream(io.StringIO())) is Plain
    assert type(for_stream(Terminal())) is Live


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_are_made_to_be_read(seconds, text):
    assert duration(seconds) == text
