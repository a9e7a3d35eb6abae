"""The label: its code is whole, and people can read it too."""

from __future__ import annotations

import segno
from PIL import Image

from hwsim.workshop import record

MADE = {"kid": "0badcafe", "board": "lilygo-t-sim7670g-s3", "firmware": {"version": 1}, "date": "2026-11-21"}


def test_the_label_holds_the_code_and_words_beneath_it(tmp_path):
    file, label, code = record.write(tmp_path, MADE)
    assert (file.name, label.name) == ("0badcafe.json", "0badcafe.png")
    expected = [list(row) for row in segno.make(record.text(MADE), error="m", micro=False).matrix]
    assert [list(row) for row in code.matrix] == expected
    picture = Image.open(label)
    size = 8 * (len(expected) + 8)  # of the code with its margin, in pixels
    left = (picture.width - size) // 2
    middle = [8 * (4 + at) + 4 for at in range(len(expected))]
    assert [[int(picture.getpixel((left + x, y)) < 128) for x in middle] for y in middle] == expected
    dark = [y for y in range(picture.height) if picture.crop((0, y, picture.width, y + 1)).getextrema()[0] < 64]
    assert max(dark) > size and max(dark) < picture.height - 2  # words, and none of them cut off
    words = picture.crop((0, size, picture.width, picture.height))
    sides = [words.crop((x, 0, x + 4, words.height)).getextrema()[0] for x in (0, words.width - 4)]
    assert sides == [255, 255]
