"""In what order the values of images and of convolutions' weights lie in memory."""

from typing import Literal

Layout = Literal["by-rule", "contiguous", "channels-last"]
"""by-rule: see `variants.are_faster_channels_last`. All give the same numbers up to rounding."""
