"""One handler for each endpoint: from a Call to a service and back. The table of endpoints names them."""

from firmware.api.call import Call
from firmware.http.server import JsonResponse


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
    state = await call.device.state.get(call.query)
    if "access" in state:
        state["access"]["level"] = call.level
    return state


async def modbus_req(call: Call) -> dict:
    """POST /api/modbus/req/"""
    return call.device.modbus_requests.submit(call.body, call.token or call.address)


async def modbus_resp(call: Call) -> dict:
    """GET /api/modbus/resp/"""
    return await call.device.modbus_requests.result(call.query["tid"], call.query["wait"])


async def modbus_find_start(call: Call) -> dict:
    """POST /api/modbus/find/start/"""
    return call.device.discovery.start(call.body)


async def modbus_find_stop(call: Call) -> dict:
    """POST /api/modbus/find/stop/"""
    return await call.device.discovery.stop()


async def modbus_find_result(call: Call) -> dict:
    """GET /api/modbus/find/result/"""
    return call.device.discovery.result(call.query["list"])


async def class_find_meta_info(call: Call) -> dict:
    """POST /api/modbus/class-find/search-meta-info/"""
    return await call.device.template_search.meta_info(call.body["filePath"])


async def class_find_start(call: Call) -> dict:
    """POST /api/modbus/class-find/start/"""
    return await call.device.template_search.start(call.body, call.query["search-meta-info"])


async def class_find_stop(call: Call) -> dict:
    """POST /api/modbus/class-find/stop/"""
    return await call.device.template_search.stop()


async def class_find_result(call: Call) -> dict:
    """GET /api/modbus/class-find/result/"""
    return call.device.template_search.result()


async def settings_active_get(call: Call) -> dict:
    """GET /api/settings/active/get/"""
    return call.device.settings.get("active", call.query)


async def settings_saved_get(call: Call) -> dict:
    """GET /api/settings/saved/get/"""
    return call.device.settings.get("saved", call.query)


async def settings_saved_set(call: Call) -> dict:
    """POST /api/settings/saved/set/"""
    await call.device.settings.set(call.body)
    return {}


async def settings_reset(call: Call) -> dict:
    """POST /api/cmd/settings/reset/"""
    await call.device.settings.reset()
    return {}


async def settings_export(call: Call) -> dict:
    """POST /api/cmd/settings/export/"""
    return await call.device.settings_files.export(call.body["filePath"])


async def settings_import(call: Call) -> dict:
    """POST /api/cmd/settings/import/"""
    await call.device.settings_files.import_(call.body["filePath"], call.body["settings"])
    return {}


async def callback_reconnect(call: Call) -> dict:
    """POST /api/cmd/callback/reconnect/"""
    return await call.device.cloud.reconnect()


async def reboot(call: Call) -> JsonResponse:
    """POST /api/cmd/reboot/"""
    answer = JsonResponse({})
    answer.after_sent = lambda: call.device.request_restart("REBOOT")
    return answer


async def gsm_sms_test(call: Call) -> dict:
    """POST /api/cmd/gsm/sms-test/"""
    return await call.device.gsm.sms_test(call.body["phone"], call.body["text"])


async def time_set(call: Call) -> dict:
    """POST /api/cmd/time/set/"""
    call.device.clock.set(call.body["datetime"])
    return {}


async def time_sync(call: Call) -> dict:
    """POST /api/cmd/time/sync/"""
    return await call.device.clock.sync()


async def card_dir(call: Call) -> dict:
    """POST /api/card/dir/"""
    body = call.body
    return await call.device.card_files.dir(body["path"], body["fromIdx"], body["toIdx"])


async def card_file_info(call: Call) -> dict:
    """POST /api/card/file/info/"""
    return await call.device.card_files.info(call.body["path"])


async def card_file_read(call: Call) -> dict:
    """POST /api/card/file/read/"""
    return await call.device.card_files.read(call.body["path"], call.body["blockIdx"])


async def card_file_write(call: Call) -> dict:
    """POST /api/card/file/write/"""
    body, owner = call.body, call.token or call.address
    return await call.device.card_files.write(body["path"], body["blockIdx"], body["blockCount"], body["data"], owner)


async def card_remove(call: Call) -> dict:
    """POST /api/card/remove/"""
    await call.device.card_files.remove(call.body["path"], call.body["recursive"])
    return {}


async def card_eject(call: Call) -> dict:
    """POST /api/cmd/memory/card_eject"""
    await call.device.card_files.eject()
    return {}
