// Uploads files with tus-js-client, all at a time, and never gives up. Prints a line of JSON for each upload that was made
// ({"path","made"}) and for each that the server has acknowledged ({"path","done","sha256"}).
// Usage: node tusclient.cjs <tus-js-client directory> <endpoint> <API key> <files as JSON: [{path,size,seed,chunk,parallel,stream}]>
const { Readable } = require("node:stream");
const [, , library, endpoint, key, text] = process.argv;
const tus = require(library);

// The same bytes as content in uploads.go.
function content(seed, size) {
  const b = Buffer.alloc(size);
  let x = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  for (let i = 0; i < size; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    b[i] = x >>> 24;
  }
  return b;
}

let why = "";
setTimeout(() => {
  console.error("too slow; the last error:", why);
  process.exit(1);
}, 150_000).unref();

const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);

for (const f of JSON.parse(text)) {
  const body = content(f.seed, f.size);
  let last = null;
  let told = "";
  const upload = new tus.Upload(f.stream ? Readable.from([body]) : body, {
    endpoint,
    headers: { Authorization: `Bearer ${key}` },
    metadata: { site: "www", path: f.path },
    chunkSize: f.chunk || Number.POSITIVE_INFINITY,
    parallelUploads: f.parallel || 1,
    uploadLengthDeferred: Boolean(f.stream),
    uploadDataDuringCreation: !f.stream && body.length <= 1 << 20,
    retryDelays: Array(5000).fill(100),
    onShouldRetry: (err) => {
      why = `${f.path}: ${err}`;
      const status = err.originalResponse ? err.originalResponse.getStatus() : 0;
      return status === 0 || status === 400 || status === 408 || status === 409 || status === 410 || status === 423 || status === 429 || status >= 500;
    },
    onAfterResponse: (_, res) => {
      last = res;
      if (upload.url && upload.url !== told) {
        told = upload.url;
        say({ path: f.path, made: told });
      }
    },
    onError: (err) => {
      console.error(f.path, String(err));
      process.exit(1);
    },
    onSuccess: () => say({ path: f.path, done: true, sha256: last.getHeader("Perigee-SHA256") }),
  });
  upload.start();
}
