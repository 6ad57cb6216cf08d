/** The first bytes of a file, and what text-mode transfers do to them (NCX.md, section 2). */
import { BadSignature, TextModeDamage } from "./errors.js";
import { HEADER } from "./fields.js";
import { hex } from "./text.js";

const SIGNATURE = [0x8e, 0x4e, 0x43, 0x58, 0x0d, 0x0a, 0x1a];
const ADVICE = "transfer the original again in binary mode";

/** @type {[number[], string][]} what damage makes of the first byte */
const FIRST_BYTES = [
  [[0x8e], ""],
  [[0x0e], "the high bit of every byte was stripped"],
  [[0xc2, 0x8e], "the bytes were recoded to UTF-8"],
  [[0xef, 0xbf, 0xbd], "the bytes were recoded to UTF-8"],
  [[0x3f], "the bytes were recoded to ASCII"],
];
/** @type {[number[], string][]} and of CR LF */
const LINE_ENDS = [
  [[0x0d, 0x0a], ""],
  [[0x0a], "CR LF was changed to LF"],
  [[0x0d], "CR LF was changed to CR"],
  [[0x0d, 0x0d, 0x0a], "LF was changed to CR LF"],
];
const DAMAGED_FORMS = FIRST_BYTES.flatMap(([first, recoded]) =>
  LINE_ENDS.map(([lineEnd, translated]) => ({
    form: [...first, 0x4e, 0x43, 0x58, ...lineEnd, 0x1a],
    cause: [recoded, translated].filter(Boolean).join(" and "),
  })),
).filter(({ cause }) => cause);
const LONGEST_FORM = Math.max(...DAMAGED_FORMS.map(({ form }) => form.length));

/**
 * Step over the signature; raise BadSignature, TextModeDamage or Truncated.
 * @param {import("./cursor.js").Cursor} cursor
 */
export function readSignature(cursor) {
  const { source } = cursor;
  source.need(SIGNATURE.length);
  const head = source.view(0, Math.min(SIGNATURE.length, source.length)).slice();
  if (head.every((byte, i) => byte === SIGNATURE[i])) {
    cursor.raw(HEADER.signature, SIGNATURE.length);
    return;
  }
  source.need(LONGEST_FORM);
  for (const { form, cause } of DAMAGED_FORMS) {
    if (form.length <= source.length && form.every((byte, i) => byte === source.byte(i))) {
      const fault = `the file went through a text-mode transfer (${cause}): ${ADVICE}`;
      throw cursor.error(TextModeDamage, fault);
    }
  }
  const expected = hex(Uint8Array.from(SIGNATURE), " ");
  const found = `starts with ${hex(head, " ")}, expected ${expected}`;
  throw cursor.error(BadSignature, `not an .ncx file: ${found}`);
}
