/** Attachments, between header and packet 0: more tags, pictures (NCX.md, section 3). */
import { Cursor } from "./cursor.js";
import { FormatError, InvalidField, LimitExceeded, Truncated } from "./errors.js";
import { ATTACHED_BYTES, ATTACHED_TAG, ATTACHMENT } from "./fields.js";
import { MAX_ATTACHED_TAGS, MAX_ATTACHMENTS } from "./fields.js";
import { parsePicture } from "./pictures.js";
import { Source } from "./source.js";
import { checkTags, readTag } from "./tags.js";
import { unpackVarint } from "./varints.js";

const TAGS_KIND = 1;
const PICTURE_KIND = 2;

/** @typedef {import("./tags.js").Tag} Tag */
/** @typedef {{kind: number, content: Uint8Array}} Attachment */

/**
 * Return what extension 0x83 says. Raises InvalidField or LimitExceeded.
 * @param {Uint8Array} content
 */
export function parseAttachedBytes(content) {
  const [nBytes, end] = unpackVarint(content, 0, ATTACHED_BYTES.name);
  if (end !== content.length) {
    throw new InvalidField(`${ATTACHED_BYTES.name}: ${content.length - end} bytes follow it`);
  }
  const fault = ATTACHED_BYTES.fault(nBytes);
  if (fault) throw new LimitExceeded(fault);
  return Number(nBytes);
}

/**
 * Read the attachments at the source's start. Raises the FormatError of damage.
 * @param {Source} source
 * @param {number} nBytes of all
 * @returns {Promise<{tags: Tag[], attachments: Attachment[]}>}
 */
export async function readAttachments(source, nBytes) {
  const end = source.offset + nBytes;
  /** @type {Tag[]} */
  let tags = [];
  /** @type {Attachment[]} */
  const attachments = [];
  for (let number = 0; source.offset < end; number++) {
    const { kind, content, parsed } = await source.parse(() => readOne(source, number, end));
    if (parsed) tags = parsed;
    else attachments.push({ kind, content });
  }
  return { tags, attachments };
}

/**
 * Read one attachment and drop its bytes.
 * @param {Source} source
 * @param {number} number
 * @param {number} end of all, in the file
 */
function readOne(source, number, end) {
  const cursor = new Cursor(source, `attachment ${number}`);
  if (!source.need(1)) throw cursor.error(Truncated, "the file ends here");
  cursor.end = end - source.offset;
  if (number >= MAX_ATTACHMENTS) {
    throw cursor.error(LimitExceeded, `more than ${MAX_ATTACHMENTS} attachments`, 0);
  }
  const kind = cursor.number(ATTACHMENT.kind);
  const content = cursor.blob(ATTACHMENT.content);
  cursor.verify(ATTACHMENT.crc, cursor.at);
  cursor.number(ATTACHMENT.crc);
  const parsed = kind === TAGS_KIND && number === 0 ? parseTags(cursor, content) : null;
  if (!parsed) check(cursor, kind, content);
  source.drop(cursor.at);
  return { kind, content, parsed };
}

/**
 * @param {Cursor} cursor
 * @param {number} kind
 * @param {Uint8Array} content
 */
function check(cursor, kind, content) {
  if (kind === TAGS_KIND) {
    throw cursor.error(InvalidField, "an attachment of tags that is not the first", 0);
  }
  if (kind === PICTURE_KIND) placed(cursor, () => parsePicture(content));
}

/**
 * Return what a function does, its error with the structure's place.
 * @template T
 * @param {Cursor} cursor
 * @param {() => T} action
 * @returns {T}
 */
export function placed(cursor, action) {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    const refusal = /** @type {typeof FormatError} */ (error.constructor);
    throw cursor.error(refusal, error.message, 0);
  }
}

/**
 * Return the tags of an attachment, which has at least one.
 * @param {Cursor} cursor
 * @param {Uint8Array} content
 */
function parseTags(cursor, content) {
  const inside = new Cursor(Source.of(content, cursor.source.name), `${cursor.label}, its`);
  inside.end = content.length;
  /** @type {Tag[]} */
  const found = [];
  while (inside.at < content.length || !found.length) {
    if (found.length === MAX_ATTACHED_TAGS) {
      throw inside.error(LimitExceeded, `more than ${MAX_ATTACHED_TAGS} tags`);
    }
    found.push(readTag(inside, ATTACHED_TAG));
  }
  placed(cursor, () => checkTags(found));
  return found;
}

/**
 * Return the pictures among attachments.
 * @param {Attachment[]} attachments
 */
export function picturesOf(attachments) {
  return attachments
    .filter(({ kind }) => kind === PICTURE_KIND)
    .map(({ content }) => parsePicture(content));
}
