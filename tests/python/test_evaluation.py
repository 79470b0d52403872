"""The lines of docs/evaluation.md draw the noise that the program adds to images, without anything of ours."""

import pathlib
import re
import unittest

import torch

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/evaluation.md"


def evaluation_noise():
    """The function on the page."""
    block = re.search(r"```python\n(import math.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    names = {}
    exec(block, names)
    return names["evaluation_noise"]


class Noise(unittest.TestCase):
    def words(self, noise, places):
        self.assertEqual(noise.dtype, torch.float32)
        return [int(noise.flatten()[i] * 2**24) for i in places]

    def test_the_lines_of_the_page_draw_the_numbers_that_rust_pins(self):
        # tests/data/random.rs
        draw = evaluation_noise()
        noise = draw(7, 12, (3, 5, 4))
        self.assertEqual(noise.shape, (3, 5, 4))
        self.assertEqual(self.words(noise, (0, 1, 16, 59)), [2472355, 14971697, 13913028, 11228545])
        noise = draw(2**64 - 1, 2**33 + 1, (1, 2, 3), sample=2**40 + 5)
        self.assertEqual(self.words(noise, (0, 5)), [3192192, 9296757])


if __name__ == "__main__":
    unittest.main()
