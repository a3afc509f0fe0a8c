"""Holds of readers, by the clock."""

import os
import time

from train.checkpoints.holds import HOLD_EXPIRES_S, HOLDS, held, holding


def test_a_hold_of_before_the_clock_was_set_back_expires(tmp_path):
    with holding(tmp_path, 3):
        assert held(tmp_path) == {3}
        dead = tmp_path / HOLDS / "4.host.1"
        dead.touch()
        ahead = time.time() + 10 * HOLD_EXPIRES_S
        os.utime(dead, (ahead, ahead))
        assert held(tmp_path) == {3} and not dead.exists()
