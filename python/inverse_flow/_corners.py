"""The argument ``corners``: what it may be, and what is said of all else."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Set
from typing import Literal, Union, get_args

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
"""The corner of the image at which a recursion starts."""

CORNERS: tuple[Corner, ...] = get_args(Corner)
"""All four, in the order of FInC Flow's groups."""

Corners = Union[Corner, Iterable[Corner]]
"""One corner for one group of channels, or an iterable of corners, one for each group."""


def parse(function: str, corners: Corners) -> list[str]:
    """The corners as a list of words. A word alone is one corner: it is not taken apart into letters.

    Raises:
        TypeError: neither a word nor words in an order.
        ValueError: no corner, or a word that is none; the message has the nearest.
    """
    if isinstance(corners, str):
        corners = (corners,)
    if isinstance(corners, (bytes, Mapping, Set)) or not isinstance(corners, Iterable):
        hint = "; a set has no order" if isinstance(corners, Set) else ""
        raise TypeError(
            f"{function}: `corners` must be a corner such as 'top_left', or a sequence of corners, one for each group of "
            f"channels, got {_shown(corners)}{hint}"
        )
    words = list(corners)
    if not words:
        raise ValueError(f"{function}: `corners` must have a corner for each group of channels, got none")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"{function}: `corners` must hold words such as 'top_left', got {_shown(word)} in it")
        if word not in CORNERS:
            near = difflib.get_close_matches(word.lower().replace("-", "_").replace(" ", "_"), CORNERS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{function}: `corners` has an unknown corner {word!r}, expected some of {', '.join(CORNERS)}{hint}"
            )
    return words


def _shown(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
