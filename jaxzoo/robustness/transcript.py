"""The transcript of a proof, and the challenges that are drawn from it (Fiat-Shamir)."""

import hashlib

from jaxzoo.robustness.m61 import P


class Transcript:
    """All that was said so far, as one SHA-256 state.

    A challenge binds what was absorbed before it and nothing else: statement, commitments and claimed values have to
    be absorbed before the challenge that they must not depend on.
    """

    def __init__(self, name: str):
        """Begins a transcript; proofs of another name have other challenges."""
        self._state = hashlib.sha256(name.encode()).digest()

    def absorb(self, label: str, values) -> None:
        """Takes in integers from 0 up. Their number and their lengths are hashed too, so that no two lists of values,
        however cut, leave the same state."""
        parts = [label.encode(), *(int(v).to_bytes((int(v).bit_length() + 7) // 8, "big") for v in values)]
        self._mix(b"absorb", parts)

    def challenge(self, label: str) -> int:
        """A number that is uniform below p, and hard to foresee for who doesn't know all that was absorbed."""
        while True:
            self._mix(b"challenge", [label.encode()])
            value = int.from_bytes(self._state[:8], "big") >> 3  # 61 bits; all but p itself are taken
            if value < P:
                return value

    def challenges(self, label: str, count: int) -> list[int]:
        """So many challenges."""
        return [self.challenge(label) for _ in range(count)]

    def _mix(self, kind, parts):
        digest = hashlib.sha256(self._state + kind + len(parts).to_bytes(8, "big"))
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)
        self._state = digest.digest()
