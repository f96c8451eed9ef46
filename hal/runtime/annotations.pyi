"""What the names are."""

from collections.abc import Callable as Callable
from collections.abc import Coroutine as Coroutine
from typing import Any as Any
