"""The GSM modem: its state, and test messages."""

from firmware.services import shapes
from firmware.services.errors import Refused
from firmware.services.network.sms_limits import SmsBudget, require_ordinary
from firmware.services.system.absent import NoGsm
from hal.contracts import Modem, ModemFailed
from hal.fields import BadField

TEST_TEXT = "MC252 test message"


class Gsm(NoGsm):
    """The modem as the settings want it. `settings` is the active value of gsm."""

    def __init__(self, modem: Modem, settings: shapes.Gsm, budget: SmsBudget):
        self._modem = modem
        self._sms_phone = settings["smsPhone"]
        self._sms_allow = settings["smsAllow"]
        self._budget = budget
        modem.configure(settings["apn"], settings["user"], settings["password"], settings["pin"])

    async def state(self) -> dict | None:
        """As hal.contracts.Modem.status. NoModem."""
        return await self._modem.status()

    async def sms_test(self, phone: str | None, text: str | None) -> tuple[str, str] | None:
        """Send a message and wait until the network has taken it: None, or (error's code, why) where it has not.

        Refused NO_SMS_NUMBER, SMS_LIMIT; NoModem; BadField where the text is too long or the number is dear.
        """
        phone = phone or self._sms_phone
        if not phone:
            raise Refused("NO_SMS_NUMBER", "phone: is missing, and the setting gsm.smsPhone is empty")
        require_ordinary(phone, self._sms_allow)
        self._budget.require()
        try:
            self._budget.spend(await self._modem.send_sms(phone, text or TEST_TEXT))
        except ModemFailed as exc:
            self._budget.spend(1)  # it may have gone
            return exc.code, str(exc)
        except ValueError as exc:
            raise BadField(f"text: {exc}") from exc
        return None
