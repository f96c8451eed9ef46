"""What a search for devices says of a unit id, and which unit ids there are."""

FIRST_UID, LAST_UID = 1, 247  # unit ids of devices: serial line specification, section 2.2

ANSWER, EXCEPTION, ODD, BAD_LINK, COLLISION = "answer", "exception", "odd", "badLink", "collision"
