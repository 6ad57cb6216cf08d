/** The errors of files and models that cannot be used, by the names that the library has. */

/** Base of all errors that are about the input rather than a fault of the decoder. */
export class NcodecError extends Error {
  /**
   * Return the same error, whose message first names what it is in: a file, a packet.
   * @param {string} name
   * @returns {NcodecError}
   */
  within(name) {
    return new /** @type {typeof NcodecError} */ (this.constructor)(`${name}: ${this.message}`);
  }

  /** The class, such as "Truncated", also where the code was made smaller. */
  get name() {
    return /** @type {typeof NcodecError} */ (this.constructor).code;
  }

  static code = "NcodecError";
}

/** Bytes that are not a valid .ncx file. One subclass per way to fail. */
export class FormatError extends NcodecError {
  static code = "FormatError";
}

/** The first bytes are not those of an .ncx file. */
export class BadSignature extends FormatError {
  static code = "BadSignature";
}

/** The signature shows that the file went through a text-mode transfer. */
export class TextModeDamage extends BadSignature {
  static code = "TextModeDamage";
}

/** The file needs a newer version of the format. */
export class UnsupportedVersion extends FormatError {
  static code = "UnsupportedVersion";
}

/** The file ends before a structure that it announced is complete. */
export class Truncated extends FormatError {
  static code = "Truncated";
}

/** A CRC does not match the bytes that it covers. */
export class ChecksumMismatch extends FormatError {
  static code = "ChecksumMismatch";
}

/** A length or count is over the limit that the format sets. */
export class LimitExceeded extends FormatError {
  static code = "LimitExceeded";
}

/** A field holds a value that the format does not allow. */
export class InvalidField extends FormatError {
  static code = "InvalidField";
}

/** No packet or trailer starts where one must. */
export class LostSync extends FormatError {
  static code = "LostSync";
}

/** A packet's payload cannot be decoded by the entropy coder that the header names. */
export class PayloadError extends FormatError {
  static code = "PayloadError";
}

/** The decoded codes are not those that were encoded. */
export class DigestMismatch extends FormatError {
  static code = "DigestMismatch";
}

/** A codec or entropy model that cannot be used. */
export class ModelError extends NcodecError {
  static code = "ModelError";

  /** @param {string} name of the file that was made with it */
  within(name) {
    const message = `${name}: made with ${this.message}`;
    return new /** @type {typeof ModelError} */ (this.constructor)(message);
  }
}

/** The model that a file names is not there. */
export class ModelMissing extends ModelError {
  static code = "ModelMissing";
}

/** A model of that name is there, but its weights are not those the file was made with. */
export class ModelMismatch extends ModelError {
  static code = "ModelMismatch";
}

/** A model file that is damaged or not one of ncodec's. */
export class ModelInvalid extends ModelError {
  static code = "ModelInvalid";
}
