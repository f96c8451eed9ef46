"""Who may: login, sessions, the button."""
