/** The player's decoder: all that a page or a program needs. See docs/WEB.md. */
export * from "./ncx/errors.js";
export { ARCHITECTURES, Header } from "./ncx/header.js";
export { packetOffsets } from "./ncx/trailer.js";
export { Reader } from "./ncx/reader.js";
export { readIndex, readPacket } from "./ncx/ranges.js";
export { ranges } from "./ncx/source.js";
export { openAddress } from "./ncx/http.js";
export { codesOf, decode, Decoder } from "./codec/decoder.js";
export { Kernel } from "./codec/kernel.js";
export { Models } from "./codec/models.js";
export { Track } from "./codec/track.js";
