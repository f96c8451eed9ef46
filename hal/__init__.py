"""What a board offers, and the boards that offer it."""
