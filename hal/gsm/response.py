"""Lines of a modem's answers taken apart (ITU-T V.250 section 5.4.2)."""


def values_of(line: str) -> list[str]:
    """The values after the colon of a line such as `+COPS: 0,0,"name"`, or of the whole line without one; strings
    without their quotation marks."""
    values = [""]
    quoted = False
    for character in line.partition(":")[2] if line[:1] in "+^#" else line:
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]


def number_at(values: list[str], index: int) -> int | None:
    """A value as a number; None where it is none or not there."""
    return int(values[index]) if index < len(values) and is_number(values[index]) else None


def is_number(text: str) -> bool:
    """Whether a text is decimal digits and nothing else; str.isdigit takes a garbled byte for one."""
    return text != "" and all("0" <= character <= "9" for character in text)
