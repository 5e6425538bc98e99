// Sorts hls.js errors into the kinds that `session.ts` decides upon.
//
// Not here: hls.js itself; the names below are the values of its ErrorTypes and ErrorDetails.

import type { Failure } from "./session.ts";

export interface PlayerError {
  type: string;
  details: string;
  response?: { code?: number | undefined } | undefined;
}

export function classify(error: PlayerError): Failure {
  const { details } = error;
  if (details === "manifestIncompatibleCodecsError" || details === "bufferAddCodecError") {
    return "codec";
  }
  if (details === "levelParsingError" || details === "manifestParsingError") {
    return "playlist";
  }
  // A buffer made for a picture alone cannot take sound that joins later, nor the other way round:
  // no recovery helps, the source must be attached anew.
  if (details === "bufferAppendError") {
    return "playlist";
  }
  if (error.type === "mediaError" || error.type === "muxError") {
    return "media";
  }
  const code = error.response?.code;
  return code === 404 || code === 410 ? "missing" : "network";
}
