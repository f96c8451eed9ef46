"""The session table, on an injected clock."""

from firmware.services.access.sessions import Sessions


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return round(self.now * 1000)


def test_a_token_lives_as_long_as_it_is_used():
    clock = Clock()
    sessions = Sessions(600, clock)
    token = sessions.open()
    for _ in range(5):
        clock.now += 599
        assert sessions.use(token)
    clock.now += 600
    assert not sessions.use(token)
    assert sessions.count() == 0


def test_closing_ends_a_session_at_once():
    sessions = Sessions(600, Clock())
    token, other = sessions.open(), sessions.open()
    sessions.close(token)
    assert not sessions.use(token)
    assert sessions.use(other)
    sessions.close("never opened")


def test_when_the_table_is_full_the_one_longest_unused_goes():
    clock = Clock()
    sessions = Sessions(600, clock)
    tokens = []
    for _ in range(32):
        tokens.append(sessions.open())
        clock.now += 1
    assert sessions.use(tokens[0])
    newest = sessions.open()
    assert sessions.count() == 32
    assert not sessions.use(tokens[1])
    assert sessions.use(tokens[0])
    assert sessions.use(newest)


def test_ended_sessions_make_room_first():
    clock = Clock()
    sessions = Sessions(600, clock)
    for _ in range(31):
        sessions.open()
    clock.now += 300
    kept = sessions.open()
    clock.now += 300
    sessions.open()
    assert sessions.count() == 2
    assert sessions.use(kept)


def test_tokens_are_not_kept_in_clear():
    sessions = Sessions(600, Clock())
    token = sessions.open()
    assert token.encode() not in repr(vars(sessions)).encode()
    assert not sessions.use(token[:-1])
    assert not sessions.use(token.swapcase())


def test_a_client_that_logs_in_again_and_again_ends_its_own_sessions_and_no_others():
    clock = Clock()
    sessions = Sessions(600, clock)
    other = sessions.open("10.0.0.2")
    clock.now += 1
    for _ in range(320):
        newest = sessions.open("10.0.0.1")
        clock.now += 0.1
    assert sessions.count() == len(sessions._addresses) == 32
    assert sessions.use(other)
    assert sessions.use(newest)


def test_all_sessions_but_one_end_together():
    sessions = Sessions(600, Clock())
    mine, others = sessions.open(), [sessions.open() for _ in range(3)]
    sessions.close_others(mine)
    assert sessions.use(mine)
    assert not any(sessions.use(other) for other in others)
    sessions.close_others(None)
    assert sessions.count() == 0


def test_a_token_is_48_letters_and_digits():
    token = Sessions(600, Clock()).open()
    assert len(token) == 48 and token.isascii() and token.isalnum()


def test_asking_whether_a_session_lives_does_not_renew_it():
    clock = Clock()
    sessions = Sessions(600, clock)
    token = sessions.open()
    assert not sessions.is_alive("never opened")
    clock.now += 599.999
    assert sessions.is_alive(token)
    clock.now += 0.001
    assert not sessions.is_alive(token)
