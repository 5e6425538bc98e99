// hls.js ships no types for its light build (no alternate audio, subtitles, DRM, ads): the API
// that this page uses is the same.
declare module "hls.js/light" {
  export * from "hls.js";
  export { default } from "hls.js";
}
