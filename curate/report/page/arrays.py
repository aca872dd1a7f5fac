"""Arrays as text that a page unpacks into typed arrays."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt


def base64_of(values: npt.NDArray[Any]) -> str:
    """Little-endian, in base64."""
    return base64.b64encode(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes()).decode()
