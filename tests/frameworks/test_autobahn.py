"""Autobahn's cases through Crossfade end as they do without it: all but those that take minutes (tests/autobahn)."""

from autobahn import compare

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closes; messages up to 128 KiB.
QUICK = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.7.*", "9.8.*", "10.*", "12.1.1", "13.1.1"]


def test_the_verdicts_are_the_same():
    straight, through, different = compare(QUICK)
    assert len(straight) == len(through) > 200
    assert different == set()
