"""The transcript: challenges bind all that was absorbed before them."""

from jaxzoo.robustness.m61 import P
from jaxzoo.robustness.transcript import Transcript


def after(*said, name="test"):
    transcript = Transcript(name)
    for label, values in said:
        transcript.absorb(label, values)
    return transcript.challenge("c")


def test_the_same_words_give_the_same_challenge_and_any_others_another():
    said = [("a", [1, 2]), ("b", [3])]
    assert after(*said) == after(*said)
    others = [
        after(*said, name="other"),
        after(("a", [1, 2])),
        after(("a", [2, 1]), ("b", [3])),
        after(("a", [1]), ("b", [2, 3])),
        after(("a", [1, 2, 3])),
        after(("a", [1 + (2 << 8)]), ("b", [3])),
        after(("b", [1, 2]), ("a", [3])),
        after(("a", [1, 2]), ("b", [])),
    ]
    assert len({after(*said), *others}) == 9


def test_challenges_differ_are_in_range_and_look_uniform():
    drawn = Transcript("test").challenges("c", 2000)
    assert len(set(drawn)) == 2000
    assert all(0 <= c < P for c in drawn)
    assert abs(sum(drawn) / 2000 / P - 0.5) < 0.03
    assert all(0.4 < sum(c >> bit & 1 for c in drawn) / 2000 < 0.6 for bit in range(61))
