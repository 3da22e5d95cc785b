// Uploads one made-up file with tus-js-client and prints what came of it as a line of JSON.
// Usage: node tusclient.cjs <tus-js-client directory> <endpoint> <options as JSON>
// Options: path, size, chunk (0: one request), parallel (how many at a time), stream (the length is told at the end)
const crypto = require("node:crypto");
const { Readable } = require("node:stream");
const [, , library, endpoint, text] = process.argv;
const tus = require(library);
const o = JSON.parse(text);

const body = crypto.randomBytes(o.size);
let errors = 0;
let last = null;
const upload = new tus.Upload(o.stream ? Readable.from([body]) : body, {
  endpoint,
  metadata: { site: "www", path: o.path, filetype: "application/x-made-up" },
  chunkSize: o.chunk || Number.POSITIVE_INFINITY,
  parallelUploads: o.parallel || 1,
  uploadLengthDeferred: Boolean(o.stream),
  uploadDataDuringCreation: !o.stream && body.length <= 4 << 20,
  retryDelays: Array(200).fill(50),
  onShouldRetry: () => {
    errors++;
    return true;
  },
  onAfterResponse: (_, res) => {
    last = res;
  },
  onError: (err) => {
    console.error(String(err));
    process.exit(1);
  },
  onSuccess: () => {
    const sha256 = crypto.createHash("sha256").update(body).digest("hex");
    console.log(JSON.stringify({ sha256, errors, url: last.getHeader("Perigee-URL"), version: last.getHeader("Perigee-Version") }));
  },
});
upload.start();
