// Exchanges on the bus: asked, waited for, and told in words.

import { get, post } from "../api.js";
import { has, t } from "../texts.js";

const WAIT_MS = 5000;

export const FUNCTIONS = [1, 2, 3, 4, 5, 6, 15, 16];
export const isRead = (func) => func <= 4;
export const isList = (func) => func === 15 || func === 16;

/** Ask on the bus and wait for what comes of it, as GET /api/modbus/resp/ tells it. ApiError. */
export async function exchange(request, options) {
  const { tid } = await post("modbus/req/", request, options);
  for (;;) {
    const result = await get(`modbus/resp/?tid=${tid}&wait=${WAIT_MS}`, options);
    if (result.status !== "PENDING") return result;
  }
}

export const functionName = (func) => (has("func." + func) ? t("func." + func) : t("func", { func }));

/** Why an exchange failed, in a word or two. */
export function causeName({ errorCode, cause, exception }) {
  const code = errorCode ?? cause;
  return code === "EXCEPTION" ? t("cause.EXCEPTION", { code: exception }) : has("cause." + code) ? t("cause." + code) : code;
}

/** Why an exchange failed and what to look at. */
export function causeWords({ errorCode, cause, exception, heardUid }) {
  const code = errorCode ?? cause;
  if (code === "EXCEPTION") return has("exception." + exception) ? t("exception." + exception) : t("exception", { code: exception });
  return has("why." + code) ? t("why." + code, { uid: heardUid ?? "?" }) : "";
}
