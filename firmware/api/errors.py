"""The API's error codes and their HTTP statuses: one table for services, hardware and the API itself."""

from firmware.http.answers import JsonResponse

STATUS = {
    "BAD_REQUEST": 400,
    "BAD_JSON": 400,
    "BAD_FIELD": 400,
    "UNKNOWN_KEY": 400,
    "BAD_PATH": 400,
    "BAD_TEMPLATE": 400,
    "BAD_LICENCE": 400,
    "NO_SMS_NUMBER": 400,
    "IS_DIRECTORY": 400,
    "NOT_DIRECTORY": 400,
    "UNAUTHORIZED": 401,
    "BAD_CREDENTIALS": 401,
    "FORBIDDEN": 403,
    "CROSS_SITE": 403,
    "NOT_FOUND": 404,
    "UNKNOWN_TID": 404,
    "METHOD_NOT_ALLOWED": 405,
    "TIMEOUT": 408,
    "NOT_EMPTY": 409,
    "BAD_BLOCK": 409,
    "TOO_LARGE": 413,
    "URI_TOO_LONG": 414,
    "TOO_MANY_ATTEMPTS": 429,
    "HEADERS_TOO_LARGE": 431,
    "INTERNAL": 500,
    "NOT_IMPLEMENTED": 501,
    "BUSY": 503,
    "BUS_BUSY": 503,
    "NO_PORT": 503,
    "NO_CARD": 503,
    "CARD_BUSY": 503,
    "CARD_FULL": 503,
    "CARD_READ_ONLY": 503,
    "CARD_FAILED": 503,
    "NO_CLOCK": 503,
    "NO_MODEM": 503,
    "MODEM_FAILED": 503,
    "NOT_PERMITTED": 503,
    "PART_FAILED": 503,
    "STORAGE_FAILED": 503,
    "HTTP_VERSION": 505,
}


def error_answer(code: str, message: str, headers: "dict | None" = None) -> JsonResponse:
    """The answer of every request that is not a success."""
    return JsonResponse({"error": code, "message": message}, STATUS[code], headers)
