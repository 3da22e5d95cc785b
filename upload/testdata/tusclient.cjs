// Uploads one made-up file with tus-js-client and prints what came of it as a line of JSON.
// Usage: node tusclient.cjs <tus-js-client directory> <endpoint> <path> <size> <chunk size, 0 for one request>
const crypto = require("node:crypto");
const [, , library, endpoint, path, size, chunk] = process.argv;
const tus = require(library);

const body = crypto.randomBytes(Number(size));
let errors = 0;
let last = null;
const upload = new tus.Upload(body, {
  endpoint,
  metadata: { site: "www", path, filetype: "application/x-made-up" },
  chunkSize: Number(chunk) || Number.POSITIVE_INFINITY,
  uploadDataDuringCreation: body.length <= 4 << 20,
  retryDelays: Array(60).fill(50),
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
