"""What goes over an HTTP connection: requests, answers, bodies."""
