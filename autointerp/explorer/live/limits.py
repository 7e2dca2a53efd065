"""Limits of visitors: how much of a model's time one request, one visitor and all together take."""

CHARACTERS = 4_000
"""Characters of a text."""
TOKENS = 256
"""Tokens of a text. More are not read, and a longer text is not continued."""
NEW_TOKENS = 100
"""Tokens of a continuation."""
UNITS = 8
"""Units that are set at once."""
FACTOR = 10.0
"""Largest multiple of its maximum that a unit is set to, in both directions."""
TEMPERATURE = 2.0
"""Highest temperature of a continuation."""
READ_S, CONTINUE_S = 30.0, 60.0
"""Wall time of a reading and of a continuation, in seconds, once the model is open."""
OF_VISITOR, OF_ALL = 6, 24
"""Requests in flight of one network address, and of all."""
ACTIVE = 256
"""Features that are reported at a token, the strongest."""
IDLE_S = 1_800.0
"""Seconds without a request after which the model is closed."""
