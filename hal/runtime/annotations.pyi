"""What the names are."""

import socket
from collections.abc import AsyncIterator as AsyncIterator
from collections.abc import Awaitable as Awaitable
from collections.abc import Callable as Callable
from collections.abc import Coroutine as Coroutine
from collections.abc import Iterable as Iterable
from collections.abc import Iterator as Iterator
from typing import IO as IO
from typing import Any as Any
from typing import BinaryIO as BinaryIO
from typing import TextIO as TextIO
from typing import TypeVar, TypeVarTuple
from typing import Unpack as Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Socket = socket.socket
