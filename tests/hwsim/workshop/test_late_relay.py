"""flash.sh and a relay that is away when the drill is raised; beside the other boards, because it mostly waits."""

from __future__ import annotations

from typing import Any

import pytest

from hwsim.workshop import rehearse
from hwsim.workshop.rehearse import SimBoard, flash

pytestmark = pytest.mark.xdist_group("cable")  # with others it begins early: it mostly waits


@pytest.mark.long
@pytest.mark.timeout(600)  # whole lives in real time, on a machine that has much else to do
def test_a_relay_that_ends_before_the_drill(tmp_path):
    """No receipt, so no bracelet; when the relay runs again, the same command goes on with the drill. And an acceptance
    that nobody saw arrive is none: another drill has to show it."""
    with rehearse.box(tmp_path) as relay:
        picture = rehearse.stand_in(tmp_path / "image.bin", "devkit")
        board = SimBoard(tmp_path, "ttyUSB0", "devkit", 1, relay.port)
        options = ["--board", "devkit", "--port", str(board.name), *rehearse.options(tmp_path, relay.folder, picture)]

        def ends(told: dict[str, Any]) -> bool:
            if told.get("do") == "drill":
                relay.stop()
            return False

        try:
            status, said = flash(board, *options, "--patience", "2", hear=ends)
            (trouble,) = [told["trouble"] for told in said if "trouble" in told]
            assert status == 1
            assert trouble.startswith("the drill was raised, and no receipt of the relay came within 2 s: does it run")
            assert list((tmp_path / "records").glob("*")) == []
            status, said = flash(board, *options)
            assert status == 1 and "no relay is running on" in said[-1]["trouble"]
            relay.start()

            def asked(told: dict[str, Any]) -> bool:
                if told.get("ask") == "accept":
                    relay.stop()
                return False

            status, said = flash(board, *options, "--patience", "10", hear=asked)
            assert status == 1 and "nobody's acceptance reached the bracelet within 10 s" in said[-1]["trouble"]
            relay.start()
            board.world.expect("firmware", "accept", within=90)  # and nobody listens
            status, said = flash(board, *options)
            assert status == 0, said
            assert [told["step"] for told in said if "verdict" in told] == ["drill", "sms", "record"]
            assert any("another is needed" in str(told.get("tell")) for told in said)
            assert [told["do"] for told in said if "do" in told] == ["drill"]
        finally:
            board.close()
