/** Pictures, as PICTURE metadata blocks of FLAC (RFC 9639, section 8.8). */
import { InvalidField } from "./errors.js";
import { utf8Fault, utf8Text } from "./text.js";

/**
 * A picture that belongs to the audio. A media type of "-->" says that the data are an address.
 * @typedef {object} Picture
 * @property {number} kind as ID3v2 numbers them; 3: front cover
 * @property {string} mediaType such as image/jpeg
 * @property {string} description
 * @property {number} width pixels, 0: not known
 * @property {number} height
 * @property {number} depth bits per pixel
 * @property {number} nColours of a palette
 * @property {Uint8Array} data
 */

const NOT_ASCII = "ordinal not in range(128)";

/**
 * Return the picture of a block. Raises InvalidField.
 * @param {Uint8Array} content
 * @returns {Picture}
 */
export function parsePicture(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  let at = 0;
  const number = (/** @type {string} */ what) => {
    if (content.length < at + 4) throw new InvalidField(`picture: its ${what} is cut off`);
    at += 4;
    return view.getUint32(at - 4);
  };
  const taken = (/** @type {string} */ what) => {
    const length = number(what);
    const left = content.length - at;
    if (length > left) {
      const fault = `its ${what} has a length of ${length}, but ${left} bytes are left`;
      throw new InvalidField(`picture: ${fault}`);
    }
    at += length;
    return content.subarray(at - length, at);
  };
  const kind = number("type");
  const mediaType = taken("media type");
  const description = taken("description");
  if (content.length < at + 16) throw new InvalidField("picture: its sizes are cut off");
  const [width, height, depth, nColours] = Array.from({ length: 4 }, () => number("sizes"));
  const data = taken("data");
  if (at !== content.length) {
    throw new InvalidField(`picture: ${content.length - at} bytes follow its data`);
  }
  const fault = mediaType.some((byte) => byte > 0x7f) ? NOT_ASCII : utf8Fault(description);
  if (fault) throw new InvalidField(`picture: its media type or description: ${fault}`);
  return {
    kind,
    mediaType: utf8Text(mediaType),
    description: utf8Text(description),
    width,
    height,
    depth,
    nColours,
    data,
  };
}
