"""Server-sent events as text."""


def event(name: str, data: str, number: str = "") -> str:
    """An event of a stream of server-sent events (HTML standard, section 9.2)."""
    told = f"id: {number}\n" if number else ""
    return f"{told}event: {name}\ndata: {data}\n\n"
