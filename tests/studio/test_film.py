"""Films of pictures: APNG has every pixel, MP4 plays."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.studio.gpu_pages import encoded

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_films_keep_every_pixel(rooms: Page) -> None:
    random = np.random.default_rng(7)
    frames = [random.integers(0, 256, (9, 13, 4), dtype=np.uint8)]
    for number in range(6):
        frame = frames[-1].copy()
        if number not in (2, 3):
            frame[number:, 3 : 8 + number] = random.integers(0, 256, 4)
        frames.append(frame)
    make = """async ([files, width, height, options]) => {
        async function* pictures() {
            for (const file of files) {
                const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
                yield { width, height, words: new Uint32Array(bytes.buffer), texts: new Map() };
            }
        }
        const blob = await rooms.film.film(pictures(), options);
        return [blob.type, Array.from(new Uint8Array(await blob.arrayBuffer()))];
    }"""
    words = [encoded(frame.tobytes()) for frame in frames]
    kind, data = rooms.evaluate(make, [words, 13, 9, {"format": "apng", "each": 50}])
    assert kind == "image/apng"
    film = Image.open(io.BytesIO(bytes(data)))
    shown = [
        (np.array(frame.convert("RGBA")), frame.info["duration"])
        for frame in ImageSequence.Iterator(film)
    ]
    assert [time for _, time in shown] == [50, 50, 150, 50, 50]
    for (found, _), frame in zip(shown, [*frames[:3], *frames[5:]], strict=True):
        assert np.array_equal(found, frame)
    kind, data = rooms.evaluate(make, [words, 13, 9, {"format": "mp4"}])
    assert kind == "video/mp4"
    size = rooms.evaluate(
        """async (data) => {
            const video = document.createElement("video");
            const blob = new Blob([new Uint8Array(data)], { type: "video/mp4" });
            video.src = URL.createObjectURL(blob);
            await new Promise((resolve, reject) => {
                video.onloadedmetadata = resolve;
                video.onerror = () => reject(video.error.message);
            });
            return [video.videoWidth, video.videoHeight, video.duration];
        }""",
        data,
    )
    assert size == [508, 352, pytest.approx(0.7)]
