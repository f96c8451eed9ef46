"""What modems say, line for line, as their users have shown it in public; names and numbers of theirs replaced.

A model has the answers that differ from those of scripted.COMMON, what it says by itself when it starts, and what the
device then knows of it.
"""

ERROR = b"\r\nERROR\r\n"


def said(*lines: str) -> bytes:
    """Lines as they are on the wire."""
    return "".join(f"\r\n{line}\r\n" for line in lines).encode()


def cme(what: "int | str") -> bytes:
    return said(f"+CME ERROR: {what}")


MODELS = {
    # The network's time and name come while the data connection is made.
    "SIMCom SIM800L R14.18": {
        "answers": {
            "AT+CREG?": ["+CREG: 0,2", "+CREG: 0,2", "+CREG: 0,1"],
            "AT+CEREG?": ERROR,
            "AT+CESQ": ERROR,
            'AT+CPINR="SIM PIN"': ERROR,
            "AT+CCID": "89999010000000000017",
            "AT+CGACT=1,1": said(
                '*PSUTTZ: 2020,12,9,12,57,4,"+12",0', "DST: 0", '+CIEV: 10,"00101","Test","Test", 0, 0', "OK"
            ),
            "AT+CGPADDR=1": ['+CGPADDR: 1,"0.0.0.0"', '+CGPADDR: 1,"10.44.68.152"'],
        },
        "begins": ["RDY", "+CFUN: 1", "+CPIN: READY", "Call Ready", "SMS Ready"],
        "known": {"registered": True, "ip": "10.44.68.152", "signalLevel": 58},
    },
    # Restarts while the SIM card is asked for, and then wants a PIN.
    "SIMCom SIM808 R14.18": {
        "answers": {
            "AT+CPIN?": [ERROR, "+CPIN: SIM PIN", "+CPIN: READY"],
            'AT+CPINR="SIM PIN"': ERROR,
            "AT+CEREG?": ERROR,
        },
        "begins": ["RDY", "+CFUN: 1", "+CPIN: SIM PIN"],
        "pin": "1234",
        "known": {"registered": True, "simReady": True},
    },
    "SIMCom SIM7000E on NB-IoT": {
        "answers": {
            "AT+CREG?": "+CREG: 0,0",
            "AT+CGREG?": "+CGREG: 0,1",
            "AT+CEREG?": "+CEREG: 0,1",
            "AT+COPS?": '+COPS: 0,0,"001 01 Test",9',
        },
        "known": {"registered": True, "operator": "001 01 Test"},
    },
    "SIMCom SIM7600G-H": {
        "answers": {
            "AT+CSQ": "+CSQ: 31,99",
            "AT+CREG?": "+CREG: 0,1",
            "AT+CEREG?": "+CEREG: 0,1",
            "AT+COPS?": '+COPS: 0,0,"Test",7',
            "AT+CCID": ERROR,
            "AT+ICCID": ERROR,
            "AT+CICCID": "+ICCID: 89999010000000000017",
        },
        "begins": ["+CPIN: READY", "SMS DONE", "PB DONE", '+CMTI: "SM",4'],
        "known": {"registered": True, "operator": "Test", "signalLevel": 100},
    },
    "SIMCom SIM7670G": {
        "answers": {"AT+CREG?": "+CREG: 0,6", "AT+CSQ": ["+CSQ: 99,99", "+CSQ: 21,0"], "AT+CESQ": ERROR},
        "begins": ["QCRDY", "+CPIN: READY", "SMS DONE"],
        "known": {"registered": True, "signalLevel": 68},
    },
    # Calls a card that it has not looked at yet a failure.
    "SIMCom A7670G": {
        "answers": {"AT+CPIN?": [cme("SIM failure"), "+CPIN: READY"]},
        "begins": ["*ATREADY: 1", "+CPIN: READY", "SMS DONE", "PB DONE"],
        "known": {"simReady": True, "registered": True},
    },
    "u-blox SARA-G450": {
        "answers": {"AT+CREG?": "+CREG: 0,0", "AT+CEREG?": ERROR, "AT+CGREG?": "+CGREG: 0,1", "AT+CESQ": ERROR},
        "begins": ["+UUPSDD: 0"],
        "known": {"registered": True},
    },
    "u-blox SARA-R410M": {
        "answers": {
            "AT+CREG?": "+CREG: 0,5",
            "AT+CEREG?": "+CEREG: 0,5",
            "AT+CCID": "+CCID: 89999010000000000017",
            "AT+CSQ": "+CSQ: 99,99",
            "AT+CESQ": "+CESQ: 99,99,255,255,26,50",
        },
        "known": {"registered": True, "signalLevel": 52},
    },
    # Says 3, operation not allowed, until the card is ready.
    "u-blox SARA-R500S": {
        "answers": {"AT+CPIN?": [cme(3), "+CPIN: READY"]},
        "known": {"simReady": True, "registered": True},
    },
    "Quectel BG96": {
        "answers": {
            "AT+CREG?": "+CREG: 0,3",
            "AT+CEREG?": "+CEREG: 0,5",
            "AT+CCID": '+CCID: "89999010000000000017",""',
            "AT+CGPADDR=1": "+CGPADDR: 1,10.157.140.5",
        },
        "known": {"registered": True, "ip": "10.157.140.5"},
    },
    "Quectel EG25-G": {
        "answers": {"AT+CCID": ERROR, "AT+ICCID": ERROR, "AT+QCCID": "+QCCID: 8999901000000000001F"},
        "begins": ["RDY", "+CPIN: READY", "+QUSIM: 1", "+CFUN: 4", "+QIND: SMS DONE"],
        "known": {"registered": True},
    },
    "Quectel BC660K-GL": {
        "answers": {"AT+CPIN?": [ERROR, ERROR, "+CPIN: READY"], "AT+CREG?": ERROR, "AT+CGREG?": ERROR},
        "begins": ["+CFUN: 1", "+CPIN: NOT READY"],
        "known": {"simReady": True, "registered": True},
    },
    # An IPv6 address beside the other; the numbers of 5G come last.
    "Fibocom FM350-GL": {
        "answers": {
            "AT+CSQ": "+CSQ: 99,99",
            "AT+CESQ": "+CESQ: 17,99,255,255,4,55,75,52,57",
            "AT+CREG?": ERROR,
            "AT+CEREG?": "+CEREG: 0,1",
            "AT+CGACT=1,1": said("+CGEV: ME PDN ACT 1", "OK"),
            "AT+CGPADDR=1": [
                "",
                '+CGPADDR: 1,"11.24.224.123","0.0.0.0.0.0.0.0.0.0.0.0.108.65.63.134.1"',
            ],
        },
        "known": {"registered": True, "signalLevel": 45, "ip": "11.24.224.123"},
    },
    "Sierra Wireless EM9191": {
        "answers": {
            "AT+COPS?": '+COPS: 0,2,"00101",13',
            "AT+CREG?": '+CREG: 2,1,"1206","19E4A03",13',
            "AT+CGREG?": "+CGREG: 2,0",
            "AT+CEREG?": '+CEREG: 2,1,"1206","19E4A03",13',
            "AT+CSQ": "+CSQ: 21,99",
        },
        "known": {"registered": True, "operator": "00101", "signalLevel": 68},
    },
    # Refuses in words of its own what it does not know, and tells of itself all the time.
    "Huawei E1752": {
        "answers": {
            "ATE0": b"ATE0\r\r\nOK\r\n",
            "AT+CSQ": b"\r\n^BOOT:35323129,0,0,0,26\r\n\r\n+CSQ: 9,99\r\n\r\n^RSSI:9\r\n\r\nOK\r\n",
            "AT+CESQ": said("COMMAND NOT SUPPORT"),
            "AT+CEREG?": said("COMMAND NOT SUPPORT"),
            "AT+CEREG=1": said("COMMAND NOT SUPPORT"),
        },
        "begins": ["^BOOT:35323129,0,0,0,26"],
        "known": {"registered": True, "signalLevel": 29},
    },
    # The phone is busy, it says, for as long as it starts.
    "Siemens MC35": {
        "answers": {
            "AT+CPIN?": [cme(258), cme(258), "+CPIN: READY"],
            "AT+CSQ": [cme(258), "+CSQ: 15,99"],
            "AT+CEREG?": ERROR,
            "AT+CESQ": ERROR,
        },
        "known": {"simReady": True, "registered": True, "signalLevel": 48},
    },
    "Nordic nRF9160": {
        "answers": {
            "AT+CSQ": ERROR,
            "AT+CESQ": "+CESQ: 99,99,255,255,31,62",
            "AT+CREG?": ERROR,
            "AT+CGREG?": ERROR,
            "AT+CEREG?": '+CEREG: 5,5,"002F","0012BEEF",7',
        },
        "known": {"registered": True, "signalLevel": 64},
    },
}

# How a SIM card's own number is asked for and told; {} stands for its last digit.
CARD_NUMBERS = {
    "u-blox SARA-R4": ("AT+CCID", "+CCID: 8999901000000000001{}"),
    "SIMCom SIM800L": ("AT+CCID", "8999901000000000001{}"),
    "Quectel BG96": ("AT+CCID", '+CCID: "8999901000000000001{}",""'),
    "Sierra Wireless WP7702": ("AT+CCID", "+CCID: 8999901000000000001{},89033240817620069918070003435626"),
    "Luat Air724": ("AT+ICCID", "+ICCID: 898604981022C025418{}"),
    "SIMCom SIM7600": ("AT+CICCID", "+ICCID: 898600700907A601912{}"),
    "Quectel EC2x": ("AT+QCCID", "+QCCID: 899990100000000000{}F"),
    "Telit": ("AT#CCID", "#CCID: 8999901000000000001{}"),
    "Huawei": ("AT^ICCID?", "^ICCID: 9899901000000000001{}"),
}

# Other words for a message that was refused.
REFUSALS = {"Fibocom G510": "+CMGS ERROR: 38", "Telit GL865": "+CMS ERROR: 500"}
