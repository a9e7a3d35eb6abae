"""A new program over the air: the relay's command, its own broker, and a bracelet that fetches, tries and keeps it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hwsim import bundle
from hwsim.powercut import release
from relay.demo.stack import Happened, Stack
from tests.end_to_end.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Stack(tmp_path, sms=False, files={"/update.key": bytes(release.KEY.verify_key)}) as stack:
        stack.world.net.delay_us = 0  # each of some 240 pieces goes there and back
        yield Scene(stack)


def relay(scene: Scene, *words: object) -> Any:
    command = [sys.executable, "-m", "relay", *map(str, words), "--data", str(scene.stack.data.path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return json.loads(done.stdout)


def state(event: Happened) -> str | None:
    return event.detail["state"] if (event.source, event.what) == ("firmware", "firmware") else None


@pytest.mark.long
def test_a_bundle_is_ordered_fetched_tried_and_kept(scene: Scene, tmp_path: Path) -> None:
    stack = scene.stack
    file = tmp_path / "bundle"
    file.write_bytes(release.bundle(stack.bracelet.firmware))
    version = bundle.version_of(stack.bracelet.firmware) + 1
    said = relay(scene, "bracelet", "update", stack.kid, file)
    assert (said["version"], said["relay_running"]) == (version, True)
    scene.wait(lambda event: state(event) == "kept" and event.detail["version"] == version)

    seen = [state(event) for event in scene.heard if state(event)]
    assert seen == ["fetched", "installed", "trial", "kept"]
    (drill,) = scene.wait_documents(1)
    assert (drill["status"], drill["cause"]) == ("Exercise", "trial")
    assert not [event for event in scene.heard if event.source == "haptic"]

    again = relay(scene, "bracelet", "update", stack.kid, file)  # it runs it by now, and says so
    assert (again["sha256"], again["removed"]) == (said["sha256"], [])
    last = relay(scene, "bracelet", "withdraw", file)
    assert last == {"kids": [stack.kid], "version": version, "removed": [said["sha256"]]}
