// The settings of a line, as people name them.

import { t } from "../texts.js";

export const BAUD_RATES = [1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200];

/** Character formats as in setting serial, with their short names. */
export const CHAR_FORMATS = [
  [5, "8N1–2"],
  [4, "8N1"],
  [0, "8E1"],
  [1, "8O1"],
  [2, "8S1"],
  [3, "8M1 (8N2)"],
];

export const formatName = (format) => CHAR_FORMATS.find(([value]) => value === format)?.[1] ?? String(format);

export const modeName = (mode) => (mode === 1 ? "ASCII" : "RTU");

/** 9600 8N1 RTU. */
export const lineName = ({ baudRate, charFormat, frameMode }) =>
  t("line", { rate: baudRate, format: formatName(charFormat), mode: modeName(frameMode) });
