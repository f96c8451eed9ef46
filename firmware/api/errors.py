"""The API's errors: one table for services, hardware, the HTTP server and the API itself."""

from firmware.http.messages.answers import JsonResponse

# code -> (HTTP status, seconds after which another try may help or None); error_meanings.py says when it is given
ERRORS = {
    "BAD_REQUEST": (400, None),
    "BAD_JSON": (400, None),
    "BAD_FIELD": (400, None),
    "UNKNOWN_KEY": (400, None),
    "BAD_PATH": (400, None),
    "BAD_TEMPLATE": (400, None),
    "BAD_LICENCE": (400, None),
    "UPDATE_DISABLED": (400, None),
    "UPDATE_BAD_URL": (400, None),
    "UPDATE_SERVER": (503, 60),
    "UPDATE_BAD_INDEX": (400, None),
    "UPDATE_REPLAYED": (400, None),
    "UPDATE_BAD_BUNDLE": (400, None),
    "UPDATE_BAD_PATH": (400, None),
    "UPDATE_UNSIGNED": (400, None),
    "UPDATE_WRONG_KEY": (400, None),
    "UPDATE_REVOKED": (400, None),
    "UPDATE_CHANGED": (400, None),
    "UPDATE_CUT_SHORT": (400, None),
    "UPDATE_EXPIRED": (400, None),
    "UPDATE_NOT_YET_VALID": (400, None),
    "UPDATE_WRONG_BOARD": (400, None),
    "UPDATE_WRONG_ARCH": (400, None),
    "UPDATE_TOO_OLD": (400, None),
    "UPDATE_NEEDS_STEP": (400, None),
    "UPDATE_TOO_LARGE": (400, None),
    "UPDATE_NONE": (409, None),
    "UPDATE_ON_TRIAL": (409, 60),
    "NO_SMS_NUMBER": (400, None),
    "IS_DIRECTORY": (400, None),
    "NOT_DIRECTORY": (400, None),
    "UNAUTHORIZED": (401, None),
    "BAD_CREDENTIALS": (401, None),
    "FORBIDDEN": (403, None),
    "CROSS_SITE": (403, None),
    "NOT_FOUND": (404, None),
    "UNKNOWN_TID": (404, None),
    "METHOD_NOT_ALLOWED": (405, None),
    "TIMEOUT": (408, None),
    "NOT_EMPTY": (409, None),
    "BAD_BLOCK": (409, None),
    "RECORDING": (409, None),
    "TOO_LARGE": (413, None),
    "URI_TOO_LONG": (414, None),
    "SMS_LIMIT": (429, 3600),
    "TOO_MANY_ATTEMPTS": (429, 1),
    "HEADERS_TOO_LARGE": (431, None),
    "INTERNAL": (500, None),
    "NOT_IMPLEMENTED": (501, None),
    "NOT_BUILT": (501, None),
    "NOT_ON_THIS_BOARD": (501, None),
    "BUSY": (503, 1),
    "BUS_BUSY": (503, 1),
    "NO_MEMORY": (503, 1),
    "NO_PORT": (503, None),
    "LISTEN_ONLY": (503, None),
    "NO_CARD": (503, None),
    "CARD_BUSY": (503, 10),
    "CARD_FULL": (503, None),
    "CARD_READ_ONLY": (503, None),
    "CARD_FAILED": (503, None),
    "NO_CLOCK": (503, None),
    "NO_MODEM": (503, None),
    "MODEM_FAILED": (503, None),
    "NOT_PERMITTED": (503, None),
    "PART_FAILED": (503, None),
    "STORAGE_FAILED": (503, None),
    "HTTP_VERSION": (505, None),
}


def error_answer(code: str, message: str, headers: dict | None = None, retry_after: int | None = None) -> JsonResponse:
    """The answer of every request that is not a success; `retry_after` in place of the table's seconds."""
    status, retry_sec = ERRORS[code]
    headers = dict(headers or {})
    if retry_after is not None or retry_sec is not None:
        headers["Retry-After"] = str(retry_sec if retry_after is None else retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JsonResponse({"error": code, "message": message}, status, headers)
