"""The API's errors: one table for services, hardware, the HTTP server and the API itself."""

from firmware.http.answers import JsonResponse

# code -> (HTTP status, seconds after which another try may help or None, when it is given)
ERRORS = {
    "BAD_REQUEST": (400, None, "the request is not HTTP as it should be"),
    "BAD_JSON": (400, None, "the body, or a file that is read, is not JSON"),
    "BAD_FIELD": (400, None, "a field is missing, unknown, mistyped or out of its limits; the message names it"),
    "UNKNOWN_KEY": (400, None, "the query names what the endpoint does not know"),
    "BAD_PATH": (400, None, "the path on the card is none that may be used"),
    "BAD_TEMPLATE": (400, None, "the template file is none; the message says where"),
    "BAD_LICENCE": (400, None, "the licence is none, is for another device, or is over"),
    "UPDATE_DISABLED": (400, None, "setting download does not allow updates, or names no place"),
    "UPDATE_BAD_URL": (400, None, "the place that updates come from is none"),
    "UPDATE_SERVER": (503, 60, "the place that updates come from does not answer as it should"),
    "UPDATE_BAD_INDEX": (400, None, "the index of updates is none"),
    "UPDATE_REPLAYED": (400, None, "the index of updates is older than one that was seen"),
    "UPDATE_BAD_BUNDLE": (400, None, "the file is no update bundle"),
    "UPDATE_BAD_PATH": (400, None, "the update would write outside its folder"),
    "UPDATE_UNSIGNED": (400, None, "there is no signature"),
    "UPDATE_WRONG_KEY": (400, None, "the signature is of a key that is not trusted"),
    "UPDATE_REVOKED": (400, None, "the signature is of a key that is trusted no longer"),
    "UPDATE_CHANGED": (400, None, "something was changed after it was signed"),
    "UPDATE_CUT_SHORT": (400, None, "the end is missing"),
    "UPDATE_EXPIRED": (400, None, "the index or the certificate is over"),
    "UPDATE_NOT_YET_VALID": (400, None, "the certificate is not valid yet"),
    "UPDATE_WRONG_BOARD": (400, None, "the update is for another board"),
    "UPDATE_WRONG_ARCH": (400, None, "the update is for another system, processor or Python"),
    "UPDATE_TOO_OLD": (400, None, "the update is older than what runs"),
    "UPDATE_NEEDS_STEP": (400, None, "a version between must be installed first"),
    "UPDATE_TOO_LARGE": (400, None, "there is no room for the update"),
    "UPDATE_NONE": (409, None, "no update is ready to be installed"),
    "NO_SMS_NUMBER": (400, None, "neither the request nor the setting gsm.smsPhone has a phone number"),
    "IS_DIRECTORY": (400, None, "the path is a folder where a file is meant"),
    "NOT_DIRECTORY": (400, None, "the path is a file where a folder is meant"),
    "UNAUTHORIZED": (401, None, "log in first, or press the button"),
    "BAD_CREDENTIALS": (401, None, "the user name, the password or the salt is wrong"),
    "FORBIDDEN": (403, None, "the access level does not suffice"),
    "CROSS_SITE": (403, None, "without a token, a request must not come from another site's page"),
    "NOT_FOUND": (404, None, "there is no such path in the API, or on the card"),
    "UNKNOWN_TID": (404, None, "no result of this tid is kept"),
    "METHOD_NOT_ALLOWED": (405, None, "the path has other methods; header Allow names them"),
    "TIMEOUT": (408, None, "the request did not arrive in time"),
    "NOT_EMPTY": (409, None, "the folder is not empty"),
    "BAD_BLOCK": (409, None, "another block of the file is expected; the message says which"),
    "TOO_LARGE": (413, None, "the body, or a file, is longer than its limit"),
    "URI_TOO_LONG": (414, None, "the request line is longer than its limit"),
    "SMS_LIMIT": (429, 3600, "as many messages as setting gsm.smsPerDay allows were sent today"),
    "TOO_MANY_ATTEMPTS": (429, 1, "too many wrong logins from this address"),
    "HEADERS_TOO_LARGE": (431, None, "the headers are longer than their limit"),
    "INTERNAL": (500, None, "an unexpected error, written to the device's log"),
    "NOT_IMPLEMENTED": (501, None, "the request asks of HTTP what is not spoken here"),
    "NOT_ON_THIS_BOARD": (501, None, "this board lacks what it takes"),
    "BUSY": (503, 1, "too many connections"),
    "BUS_BUSY": (503, 1, "the queue of the RS-485 line is full"),
    "NO_PORT": (503, None, "there is no RS-485 port, or it has vanished"),
    "NO_CARD": (503, None, "no SD card is in the slot"),
    "CARD_BUSY": (503, 10, "the SD card is in use or being checked, or too many uploads are under way"),
    "CARD_FULL": (503, None, "the SD card has no room left"),
    "CARD_READ_ONLY": (503, None, "the SD card is write-protected"),
    "CARD_FAILED": (503, None, "the SD card failed"),
    "NO_CLOCK": (503, None, "this board has no clock"),
    "NO_MODEM": (503, None, "there is no GSM modem, it is switched off, or it does not answer"),
    "MODEM_FAILED": (503, None, "the GSM modem refused"),
    "NOT_PERMITTED": (503, None, "the firmware may not do this on this board"),
    "PART_FAILED": (503, None, "a part of the board failed"),
    "STORAGE_FAILED": (503, None, "the settings could not be stored; nothing has changed"),
    "HTTP_VERSION": (505, None, "only HTTP/1.1 and HTTP/1.0 are spoken here"),
}


def error_answer(
    code: str, message: str, headers: "dict | None" = None, retry_after: "int | None" = None
) -> JsonResponse:
    """The answer of every request that is not a success; `retry_after` in place of the table's seconds."""
    status, retry_sec, _ = ERRORS[code]
    headers = dict(headers or {})
    if retry_after is not None or retry_sec is not None:
        headers["Retry-After"] = str(retry_sec if retry_after is None else retry_after)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JsonResponse({"error": code, "message": message}, status, headers)
