"""One handler for each endpoint: from a Call to a service and back. The table of endpoints names them."""

from firmware.api.call import Call


async def version(call: Call) -> dict:
    """GET /api/version/"""
    return call.device.identity.version()


async def identify(call: Call) -> dict:
    """GET /api/identify/"""
    return call.device.identity.full()


async def login_salt(call: Call) -> dict:
    """GET /api/login/salt/"""
    return {"salt": call.device.login.salt(call.address)}


async def login(call: Call) -> dict:
    """POST /api/login/"""
    return call.device.login.login(call.address, call.body["username"], call.body["password"])


async def logout(call: Call) -> dict:
    """POST /api/cmd/logout/"""
    if call.token:
        call.device.sessions.close(call.token)
    return {}


async def state_get(call: Call) -> dict:
    """GET /api/state/get/"""
    return await call.device.state.get(call.query)


async def modbus_req(call: Call) -> dict:
    """POST /api/modbus/req/"""
    return call.device.modbus_requests.submit(call.body, call.token or call.address)


async def modbus_resp(call: Call) -> dict:
    """GET /api/modbus/resp/"""
    return await call.device.modbus_requests.result(call.query["tid"], call.query["wait"])
