// The settings as the device's OpenAPI document describes them: what each field takes, and whether a value fits.

import { t } from "./texts.js";

let loaded = null;

/** {key: schema} of all settings, references resolved. */
export async function settingsSchema() {
  loaded ??= fetch("/api/openapi.json").then((response) => response.json());
  try {
    const { schemas } = (await loaded).components;
    const whole = (schema) => (schema.$ref ? { ...schemas[schema.$ref.split("/").pop()], ...rest(schema) } : schema);
    return Object.fromEntries(Object.entries(schemas.Changes.properties).map(([key, schema]) => [key, whole(schema)]));
  } catch (error) {
    loaded = null;
    throw error;
  }
}

const rest = ({ $ref, ...others }) => others;

export const isSecret = (schema) => schema.anyOf?.[0]?.enum?.[0] === "***";

/** What a field takes, where null and "***" are left out. */
export function core(schema) {
  const inner = (schema.anyOf ?? []).filter((one) => one.type !== "null" && one.enum?.[0] !== "***");
  return inner.length ? core(inner[0]) : schema;
}

/** Why a value does not fit, in words; undefined where it does. The device checks the rest. */
export function misfit(schema, value) {
  const kind = core(schema);
  if (value === null || value === "***") return undefined;
  if (kind.type === "integer" || kind.type === "number") {
    const whole = kind.type === "number" || Number.isInteger(value);
    const fits = typeof value === "number" && whole && value >= kind.minimum && value <= kind.maximum;
    return fits || kind.enum ? undefined : t("bad.range", { low: kind.minimum, high: kind.maximum });
  }
  if (kind.type === "string" && !kind.enum) {
    const length = [...value].length;
    if (length < kind.minLength || length > kind.maxLength) return t("bad.length", { low: kind.minLength, high: kind.maxLength });
    return new RegExp(kind.pattern, "u").test(value) ? undefined : t("bad.form");
  }
  if (kind.type === "array") {
    if (value.length > kind.maxItems) return t("bad.items", { high: kind.maxItems });
    if (kind.items.type !== "object") return value.map((item) => misfit(kind.items, item)).find(Boolean);
  }
  return undefined;
}

/** What a field takes, in a few words. */
export function limits(schema) {
  const kind = core(schema);
  if (kind.enum || kind.type === "boolean") return "";
  return kind.minimum !== undefined ? `${kind.minimum}…${kind.maximum}` : "";
}
