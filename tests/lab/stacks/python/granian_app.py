"""What the granian (rustls) listener serves: one word."""


async def app(scope, protocol):
    protocol.response_str(status=200, headers=[], body="lab")
